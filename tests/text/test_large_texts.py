"""Lines of 100 MB and a million empty lines, from the file to the tokens, in a process whose memory is looked at.

`FAULTS_MEGABYTES=10` makes the lines shorter.
"""

from __future__ import annotations

import multiprocessing
import os
import resource

import pytest

MEGABYTES = int(os.environ.get("FAULTS_MEGABYTES", "100"))
# Beyond what the text itself takes: libraries, and what the tokenizer keeps of a few pieces.
LIBRARIES = 1100
SECONDS = 3000
WORDS = "the mean of the array is computed along a given axis and rows with missing values are dropped "
TEXTS = {
    "a line of words": lambda size: (WORDS * (size // len(WORDS) + 1))[:size],
    "a line without a space": lambda size: (WORDS.replace(" ", "") * (size // 50))[:size],
    "a line of one letter": lambda size: "a" * size,
    "a million empty lines": lambda size: "\n" * 500_000 + WORDS.strip() + "\n" * 500_000 + WORDS.strip(),
}
NUM_DOCUMENTS = {"a million empty lines": 2}


def measured(connection, path):
    """Read a file, train a tokenizer on it, and tokenize it; what came of it, and the most memory in MB."""
    from bort_kedro.datasets.text_sources import TextFilesDataset
    from bort_kedro.text.tokenization import DocumentEncoder, tokenize_texts
    from bort_kedro.text.tokenizer import train_tokenizer

    texts = TextFilesDataset([path]).load()["text"].tolist()
    tokenizer = train_tokenizer([*texts, WORDS * 3], vocabulary_size=264, max_positions=64)
    blocks = tokenize_texts(texts, DocumentEncoder(tokenizer, sequence_length=128))
    text = tokenizer.decode(blocks.ids[1:127].tolist()).lstrip()
    connection.send((len(texts), text, texts[0][:40], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


@pytest.mark.nightly
@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("kind", TEXTS)
def test_a_huge_line_becomes_tokens_in_little_more_memory_than_it_takes(tmp_path, kind):
    text = TEXTS[kind](MEGABYTES * 2**20)
    (tmp_path / "huge.txt").write_text(text)
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=measured, args=(theirs, str(tmp_path / "huge.txt")))
    process.start()
    assert mine.poll(SECONDS)
    num_documents, decoded, begins, megabytes = mine.recv()
    process.join()
    assert num_documents == NUM_DOCUMENTS.get(kind, 1)
    assert begins in decoded
    # The text as it is read, cut and trained on, and its ids.
    assert megabytes < LIBRARIES + 10 * len(text) / 2**20, f"{kind}: {megabytes:.0f} MB"

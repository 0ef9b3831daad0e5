import pandas as pd
import pytest

from bort_kedro.errors import CorpusError
from bort_kedro.params import CorpusParams
from bort_kedro.pipelines.corpus.nodes import make_tokenizer, split_documents, tokenize_documents

WORDS = ["mean", "array", "axis", "sum", "shape", "value", "index", "row", "column", "matrix"]


@pytest.fixture
def corpus():
    return CorpusParams(
        seed=0,
        splits={"validation": 0.1, "test": 0.1, "tasks": 0.2},
        tokenizer={"pretrained": None, "vocabulary_size": 280},
        sequence_length=8,
        blocks_cross_documents=False,
        max_positions=16,
    )


@pytest.fixture
def raw_corpus():
    rows = [
        (f"d{n}", "numpy", " ".join(f"the {WORDS[(n + k) % 10]} of the {WORDS[(n * k) % 10]}" for k in range(4)))
        for n in range(20)
    ]
    return pd.DataFrame(rows, columns=["document_id", "source", "text"])


def test_manifest_counts_what_was_read(raw_corpus, corpus):
    raw_corpus.attrs["versions"] = {"numpy": "2.4"}
    documents, manifest = split_documents(raw_corpus, corpus)
    assert manifest["versions"] == {"numpy": "2.4"}
    assert (manifest["documents"], manifest["words"]) == (20, 20 * 20)
    assert manifest["documents_by_split"] == {"train": 12, "validation": 2, "test": 2, "tasks": 4}
    assert documents["text"].tolist() == raw_corpus["text"].tolist()


def test_manifest_hash_follows_the_text(raw_corpus, corpus):
    _, before = split_documents(raw_corpus, corpus)
    _, same = split_documents(raw_corpus.copy(), corpus)
    raw_corpus.loc[3, "text"] += "."
    _, after = split_documents(raw_corpus, corpus)
    assert before["sha256"] == same["sha256"] != after["sha256"]


def test_blocks_hold_every_token_of_the_pretraining_splits_and_none_of_the_tasks(raw_corpus, corpus):
    documents, _ = split_documents(raw_corpus, corpus)
    tokenizer = make_tokenizer(documents, corpus)
    tokens = tokenize_documents(documents, tokenizer, corpus)
    assert set(tokens.splits) == {"train", "validation", "test"}
    for split, blocks in tokens.splits.items():
        texts = documents.loc[documents["split"] == split, "text"]
        expected = [i for text in texts for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
        inner = [int(i) for n in range(len(blocks)) for i in blocks[n][1:-1]]
        assert inner == expected
        assert all(blocks[n][0] == 0 and blocks[n][-1] == 2 for n in range(len(blocks)))
        assert blocks.lengths.max() <= 8


def test_no_block_crosses_documents(raw_corpus, corpus):
    documents, _ = split_documents(raw_corpus, corpus)
    tokenizer = make_tokenizer(documents, corpus)
    blocks = tokenize_documents(documents, tokenizer, corpus).splits["train"]
    texts = documents.loc[documents["split"] == "train", "text"]
    expected = sum(-(-len(tokenizer(text, add_special_tokens=False)["input_ids"]) // 6) for text in texts)
    assert len(blocks) == expected


def test_blocks_cross_documents_when_told_to(raw_corpus, corpus):
    documents, _ = split_documents(raw_corpus, corpus)
    tokenizer = make_tokenizer(documents, corpus)
    joined = corpus.model_copy(update={"blocks_cross_documents": True})
    blocks = tokenize_documents(documents, tokenizer, joined).splits["train"]
    texts = documents.loc[documents["split"] == "train", "text"]
    total = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    assert len(blocks) == -(-total // 6)
    assert blocks.lengths.min() >= 7


def test_a_corpus_smaller_than_one_block_says_how_many_tokens_it_has(raw_corpus, corpus):
    documents, _ = split_documents(raw_corpus, corpus)
    tokenizer = make_tokenizer(documents, corpus)
    documents["text"] = "the"
    large = corpus.model_copy(update={"sequence_length": 400})
    with pytest.raises(CorpusError) as caught:
        tokenize_documents(documents, tokenizer, large)
    assert "The training split has 36 tokens, fewer than one block of 400" in str(caught.value)
    assert "params:corpus.sequence_length" in str(caught.value)

"""Token preparation by the corpus stage's own functions, against the bare tokenizer on the same texts."""

from __future__ import annotations

import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.configured import raw_parameters
from benchmarks.texts import PACKAGES, embedded_text
from bort_kedro.datasets.text_sources import TextFilesDataset
from bort_kedro.datasets.token_blocks import TokenBlocksDataset
from bort_kedro.pipelines.corpus.nodes import split_documents, tokenize_documents
from bort_kedro.text.settings import CorpusSettings

BARE = ("encode_batch", "encode_batch_fast")
FILES = 8


def default_corpus() -> CorpusSettings:
    """The corpus parameters of ``conf/base``, but that no document is kept for tasks: all of the text is tokenised."""
    from bort_kedro.configuration import check_parameters

    corpus = check_parameters(raw_parameters()).corpus
    return corpus.model_copy(update={"splits": corpus.splits.model_copy(update={"tasks": 0.0})})


def time_preparation(num_rounds: int, packages: list[str] | None = None) -> dict[str, Any]:
    """Prepare the embedded corpus from files to blocks on the disk, in turns with the bare tokenizer.

    Args:
        num_rounds: Rounds kept; one more is run first and thrown away.
        packages: Whose documentation is the text; those of the embedded corpus unless given.

    Returns:
        ``rounds``: for each, seconds of each step of the preparation under ``parts``, and of each of `BARE`;
        ``documents`` and ``characters`` of the text, ``tokens`` and ``blocks`` made of it.
    """
    from bort_kedro.text.tokenizer import train_tokenizer

    corpus = default_corpus()
    with tempfile.TemporaryDirectory() as folder:
        _write_files(embedded_text(packages or PACKAGES), Path(folder))
        # What the files give is the same text for all.
        texts = _read(Path(folder))["text"].tolist()
        tokenizer = train_tokenizer(
            texts, vocabulary_size=corpus.tokenizer.vocabulary_size, max_positions=corpus.max_positions
        )
        systems = {
            "parts": partial(_prepare, Path(folder), tokenizer, corpus),
            **{name: partial(_bare, tokenizer, texts, name) for name in BARE},
        }
        names = list(systems)
        rounds = []
        for number in range(num_rounds + 1):
            first = number % len(names)
            rounds.append({name: systems[name]() for name in names[first:] + names[:first]})
        tokens = TokenBlocksDataset(filepath=str(Path(folder) / "tokens")).load()
        splits = list(tokens.splits.values())
        return {
            "rounds": rounds[1:],
            "documents": len(texts),
            "characters": sum(len(text) for text in texts),
            "tokens": sum(len(split.ids) for split in splits),
            "blocks": sum(len(split) for split in splits),
        }


def _write_files(texts: pd.DataFrame, folder: Path) -> None:
    for number in range(FILES):
        lines = (json.dumps({"text": text}) + "\n" for text in texts["text"].iloc[number::FILES])
        (folder / f"part-{number}.jsonl").write_text("".join(lines), "utf-8")


def _read(folder: Path) -> pd.DataFrame:
    return TextFilesDataset([str(folder / "*.jsonl")]).load()


def _prepare(folder: Path, tokenizer: Any, corpus: CorpusSettings) -> dict[str, float]:
    began = time.perf_counter()
    raw_corpus = _read(folder)
    read = time.perf_counter()
    documents, _ = split_documents(raw_corpus, corpus)
    split = time.perf_counter()
    tokens = tokenize_documents(documents, tokenizer, corpus)
    tokenized = time.perf_counter()
    TokenBlocksDataset(filepath=str(folder / "tokens")).save(tokens)
    written = time.perf_counter()
    return {
        "read": read - began,
        "split": split - read,
        "tokenise and pack": tokenized - split,
        "write": written - tokenized,
    }


def _bare(tokenizer: Any, texts: list[str], name: str) -> float:
    encode = getattr(tokenizer.backend_tokenizer, name)
    began = time.perf_counter()
    encodings = encode(texts, add_special_tokens=False)
    seconds = time.perf_counter() - began
    # Given back outside the time, as it is no part of encoding.
    del encodings
    return seconds

"""Nodes of the corpus stage."""

from __future__ import annotations

import hashlib
from itertools import chain
from typing import Any

import pandas as pd

from bort_kedro.core.document_splits import assign_splits
from bort_kedro.core.tokens import TokenBlocks, Tokens, cut_document
from bort_kedro.errors import CorpusError
from bort_kedro.params import CorpusParams
from bort_kedro.progress import track

PRETRAINING_SPLITS = ("train", "validation", "test")
# Documents that the tokenizer takes at a time, in parallel.
DOCUMENTS_PER_CALL = 500


def split_documents(raw_corpus: pd.DataFrame, corpus: CorpusParams) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Give every document its split; the manifest says what was read."""
    documents = raw_corpus.assign(
        split=assign_splits(raw_corpus["document_id"].tolist(), shares=corpus.splits.model_dump(), seed=corpus.seed)
    )
    digest = hashlib.sha256()
    for document in documents.itertuples():
        digest.update(f"{document.document_id}\0{document.split}\0{document.text}\0".encode())
    manifest = {
        "versions": raw_corpus.attrs.get("versions", {}),
        "documents": len(documents),
        "words": int(documents["text"].str.split().str.len().sum()),
        "documents_by_source": documents["source"].value_counts(sort=False).to_dict(),
        "documents_by_split": documents["split"].value_counts(sort=False).to_dict(),
        "sha256": digest.hexdigest(),
    }
    documents.attrs.clear()
    return documents, manifest


def make_tokenizer(corpus_documents: pd.DataFrame, corpus: CorpusParams) -> Any:
    """Train the tokenizer on the training split, or open the one named."""
    from bort_kedro.models.tokenizer import open_tokenizer, train_tokenizer

    if corpus.tokenizer.pretrained is not None:
        return open_tokenizer(corpus.tokenizer.pretrained, max_positions=corpus.max_positions)
    texts = corpus_documents.loc[corpus_documents["split"] == "train", "text"]
    return train_tokenizer(texts, vocabulary_size=corpus.tokenizer.vocabulary_size, max_positions=corpus.max_positions)


def tokenize_documents(corpus_documents: pd.DataFrame, tokenizer: Any, corpus: CorpusParams) -> Tokens:
    """Cut the documents of the pretraining splits into blocks; none crosses documents unless told to."""
    from bort_kedro.models.pretrained import vocabulary_of
    from bort_kedro.models.tokenizer import special_frame

    vocabulary = vocabulary_of(tokenizer)
    before, after = special_frame(tokenizer)
    block_tokens = corpus.sequence_length - len(before) - len(after)
    splits = {}
    for split in PRETRAINING_SPLITS:
        texts = corpus_documents.loc[corpus_documents["split"] == split, "text"].tolist()
        chunks = [texts[start : start + DOCUMENTS_PER_CALL] for start in range(0, len(texts), DOCUMENTS_PER_CALL)]
        documents = [
            ids
            for chunk in track(chunks, f"tokenizing the {split} split", total=len(chunks))
            for ids in tokenizer(chunk, add_special_tokens=False, verbose=False)["input_ids"]
        ]
        if corpus.blocks_cross_documents:
            documents = [list(chain.from_iterable(documents))]
        blocks = [
            [*before, *piece, *after] for ids in documents for piece in cut_document(ids, block_tokens=block_tokens)
        ]
        splits[split] = TokenBlocks.from_blocks(blocks, vocabulary_size=vocabulary.size)
    num_tokens = len(splits["train"].ids)
    if num_tokens < corpus.sequence_length:
        raise CorpusError(
            f"The training split has {num_tokens} tokens, fewer than one block of {corpus.sequence_length}. "
            "Give more text in the catalog entry `raw_corpus`, or lower params:corpus.sequence_length."
        )
    return Tokens(vocabulary, splits)

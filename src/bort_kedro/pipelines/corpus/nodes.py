"""Nodes of the corpus stage."""

import hashlib
from typing import Any

import pandas as pd

from bort_kedro.errors import CorpusError, TokenizerError
from bort_kedro.frozen import JsonObject
from bort_kedro.progress import track
from bort_kedro.search.settings import SearchSettings
from bort_kedro.text.settings import CorpusSettings
from bort_kedro.text.splits import assign_splits
from bort_kedro.text.tokens import Tokens

PRETRAINING_SPLITS = ("train", "validation", "test")
HELD_OUT_SPLITS = ("validation", "test")


def split_documents(raw_corpus: pd.DataFrame, corpus: CorpusSettings) -> tuple[pd.DataFrame, JsonObject]:
    """Give every document its split; the manifest says what was read."""
    documents = raw_corpus.assign(
        split=assign_splits(raw_corpus["document_id"].tolist(), shares=corpus.splits.model_dump(), seed=corpus.seed)
    )
    digest = hashlib.sha256()
    # As lists: each string of a column is made anew whenever the column is gone through.
    ids, splits, texts = (documents[name].tolist() for name in ("document_id", "split", "text"))
    for document_id, split, text in zip(ids, splits, texts, strict=True):
        digest.update(f"{document_id}\0{split}\0{text}\0".encode())
    manifest = {
        "versions": raw_corpus.attrs.get("versions", {}),
        "settings": corpus.model_dump(mode="json"),
        "documents": len(documents),
        "words": sum(len(text.split()) for text in texts),
        "documents_by_source": documents["source"].value_counts(sort=False).to_dict(),
        "documents_by_split": documents["split"].value_counts(sort=False).to_dict(),
        "sha256": digest.hexdigest(),
    }
    documents.attrs.clear()
    return documents, manifest


def make_tokenizer(
    corpus_documents: pd.DataFrame, corpus: CorpusSettings, search: SearchSettings
) -> tuple[Any, JsonObject]:
    """Open the maximum point's tokenizer or that named, or train one; then drop ids that the corpus does not use."""
    from bort_kedro.text.trimming import count_ids, size_report, trim_tokenizer, trimming_report

    train = corpus_documents.loc[corpus_documents["split"] == "train", "text"].tolist()
    whole = _whole_tokenizer(train, corpus, search.encoder)
    if corpus.tokenizer.min_count is None:
        return whole, size_report(whole, whole)
    counts = count_ids(whole, train)
    trimmed = trim_tokenizer(whole, counts, min_count=corpus.tokenizer.min_count)
    held_out = corpus_documents.loc[corpus_documents["split"].isin(HELD_OUT_SPLITS), "text"].tolist()
    return trimmed, trimming_report(whole, trimmed, train_counts=counts, train_texts=train, held_out_texts=held_out)


def _whole_tokenizer(train: list[str], corpus: CorpusSettings, encoder: str | None) -> Any:
    from bort_kedro.text.tokenizer import open_tokenizer, train_tokenizer

    if encoder is not None:
        try:
            return open_tokenizer(encoder, max_positions=corpus.max_positions)
        except TokenizerError as fault:
            raise TokenizerError(f"All encoders take the tokenizer of params:search.maximum_point. {fault}") from fault
    if corpus.tokenizer.pretrained is not None:
        return open_tokenizer(corpus.tokenizer.pretrained, max_positions=corpus.max_positions)
    return train_tokenizer(train, vocabulary_size=corpus.tokenizer.vocabulary_size, max_positions=corpus.max_positions)


def tokenize_documents(corpus_documents: pd.DataFrame, tokenizer: Any, corpus: CorpusSettings) -> Tokens:
    """Cut the documents of the pretraining splits into blocks."""
    from bort_kedro.text.tokenization import DocumentEncoder, require_known, tokenize_texts, word_starts

    encoder = DocumentEncoder(tokenizer, sequence_length=corpus.sequence_length, packing=corpus.packing)
    splits = {}
    for split in PRETRAINING_SPLITS:
        texts = corpus_documents.loc[corpus_documents["split"] == split, "text"].tolist()
        splits[split] = tokenize_texts(track(texts, f"tokenizing the {split} split", total=len(texts)), encoder)
    num_tokens = len(splits["train"].ids)
    if num_tokens < corpus.sequence_length:
        raise CorpusError(
            f"The training split has {num_tokens} tokens, fewer than one block of {corpus.sequence_length}. "
            "Give more text in the catalog entry `raw_corpus`, or lower params:corpus.sequence_length."
        )
    require_known(splits["train"], tokenizer)
    return Tokens(encoder.vocabulary, splits, word_starts=word_starts(tokenizer))

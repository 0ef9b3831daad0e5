"""The texts of the distillation experiment: documents of several corpora, cut by one tokenizer or by a trimmed one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.configured import raw_parameters
from bort_kedro.configuration import check_parameters
from bort_kedro.params import Parameters
from bort_kedro.pipelines.corpus.nodes import split_documents, tokenize_documents
from bort_kedro.text.tokens import Tokens

VOCABULARY_SIZE = 4096
# Drawn of each corpus, so that a student sees its training split about once and its teacher a little more.
CHARACTERS = 1_000_000
# A trimmed vocabulary keeps the ids that the training split uses so often.
MIN_COUNT = 10
# Of the two parts of the loss under a teacher; conf/base runs none.
PUBLISHED = {"masked_lm_weight": 0.1, "logits": {"weight": 0.5, "temperature": 2.0}}


def base_parameters() -> Parameters:
    """Those of ``conf/base``, with the published distillation.

    The documents of the built-in tasks, of which none is made, join the test split.
    """
    raw = raw_parameters(pretrain_distill={"distillation": PUBLISHED})
    splits = raw["corpus"]["splits"]
    splits["test"], splits["tasks"] = splits["test"] + splits["tasks"], 0.0
    for training in (raw["pretrain_distill"]["student"], raw["pretrain_distill"]["teacher"]):
        # At these sizes a second thread gains little, and one leaves less to chance.
        training["num_threads"] = 1
    return check_parameters(raw)


@dataclass(frozen=True)
class Corpus:
    """Documents with their splits.

    Args:
        name: For readers.
        documents: As `split_documents` gives them.
        read_characters: Of the whole text, from which the documents were drawn.
        sha256: Of documents and splits.
    """

    name: str
    documents: pd.DataFrame
    read_characters: int
    sha256: str

    def texts(self, split: str) -> list[str]:
        """Of one split."""
        return list(self.documents.loc[self.documents["split"] == split, "text"])


def draw_corpus(name: str, text: pd.DataFrame, parameters: Parameters, *, characters: int) -> Corpus:
    """Whole documents in random order until there are so many characters, in their splits."""
    lengths = text["text"].str.len().to_numpy()
    order = np.random.default_rng(parameters.corpus.seed).permutation(len(text))
    before = np.cumsum(lengths[order]) - lengths[order]
    drawn = text.iloc[np.sort(order[before < characters])].reset_index(drop=True)
    documents, manifest = split_documents(drawn, parameters.corpus)
    return Corpus(name, documents, int(lengths.sum()), manifest["sha256"])


@dataclass(frozen=True)
class Text:
    """A corpus under one tokenizer."""

    tokenizer: Any
    tokens: Tokens


def text_of(corpus: Corpus, tokenizer: Any, parameters: Parameters) -> Text:
    """What the corpus stage makes of the documents with this tokenizer."""
    tokens = tokenize_documents(corpus.documents, tokenizer, parameters.corpus)
    cut = f"{parameters.corpus.sequence_length} {parameters.corpus.packing}"
    fingerprint = f"{corpus.sha256} {tokens.vocabulary.fingerprint} {cut}"
    return Text(tokenizer, replace(tokens, fingerprint=fingerprint))

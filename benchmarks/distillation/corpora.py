"""The texts of the distillation experiment, as the corpus and the tasks stage make them with ``conf/base``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.configured import raw_parameters
from bort_kedro.configuration import check_parameters
from bort_kedro.params import Parameters
from bort_kedro.pipelines.corpus.nodes import make_tokenizer, split_documents, tokenize_documents
from bort_kedro.pipelines.tasks.nodes import builder_of
from bort_kedro.text.tokens import Tokens

# Drawn of each corpus; the embedded one is smaller.
CHARACTERS = 5_000_000
TASKS = ("order", "library")
# Of T, trained further before a student has its layers or learns of it; the default run spends the time on the student.
FURTHER = {"optimization": {"num_steps": 700, "learning_rate": 1e-3, "seed": 1}}
# Of the rates of conf/base, so that a student is fine-tuned once for each task.
TASK_RATES = [2e-3]


def base_parameters(**distillation: Any) -> Parameters:
    """Those of ``conf/base``, on one thread: trainings run side by side, and one leaves less to chance.

    Args:
        distillation: Under ``pretrain_distill.distillation``, in the place of those of the file.
    """
    one = {"num_threads": 1}
    return check_parameters(
        raw_parameters(
            search={"training": one, "maximum_point_threads": 1},
            pretrain_distill={"teacher": {**one, **FURTHER}, "student": one, "distillation": distillation},
            finetune={"method": "plain", "training": {**one, "learning_rates": TASK_RATES}},
        )
    )


@dataclass(frozen=True)
class Corpus:
    """A text in splits, its tokens under a tokenizer of its own, and the built-in tasks made of it.

    Args:
        name: For readers.
        num_documents: Drawn.
        characters: Of them.
        read_characters: Of the whole text.
        tokenizer: Trained on the train split.
        tokens: Of all splits but the tasks'.
        examples: By name of the task.
    """

    name: str
    num_documents: int
    characters: int
    read_characters: int
    tokenizer: Any
    tokens: Tokens
    examples: dict[str, pd.DataFrame]


def draw_corpus(
    name: str, text: pd.DataFrame, parameters: Parameters, *, characters: int, tasks: Sequence[str] = TASKS
) -> Corpus:
    """Whole documents in random order until there are so many characters."""
    lengths = text["text"].str.len().to_numpy()
    order = np.random.default_rng(parameters.corpus.seed).permutation(len(text))
    before = np.cumsum(lengths[order]) - lengths[order]
    drawn = text.iloc[np.sort(order[before < characters])].reset_index(drop=True)
    documents, manifest = split_documents(drawn, parameters.corpus)
    tokenizer, _ = make_tokenizer(documents, parameters.corpus, parameters.search)
    tokens = tokenize_documents(documents, tokenizer, parameters.corpus)
    settings = parameters.corpus
    cut = f"{manifest['sha256']} {tokens.vocabulary.fingerprint} {settings.sequence_length} {settings.packing}"
    return Corpus(
        name,
        len(drawn),
        int(drawn["text"].str.len().sum()),
        int(lengths.sum()),
        tokenizer,
        replace(tokens, fingerprint=cut),
        {task: builder_of(task)(documents, parameters.finetune)[0] for task in tasks},
    )

"""Nodes of the finetune stage; each is made for one task, whose name its errors and progress carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from bort_kedro.core.builtin_tasks import Document, TaskExample, TaskSettings
from bort_kedro.core.builtin_tasks import build_examples as build
from bort_kedro.params import BuiltinTasksParams, FinetuneTrainingParams


def builder_of(task: str) -> Callable[[pd.DataFrame, BuiltinTasksParams], pd.DataFrame]:
    """The node function that builds the examples of one built-in task."""

    def build_examples(corpus_documents: pd.DataFrame, builtin_tasks: BuiltinTasksParams) -> pd.DataFrame:
        """Label sentences of documents that no training of the encoder has seen."""
        kept = corpus_documents[corpus_documents["split"] == "tasks"]
        documents = [Document(*row) for row in zip(kept.document_id, kept.source, kept.text, strict=True)]
        examples = build(task, documents, TaskSettings(**builtin_tasks.model_dump()))
        return pd.DataFrame(examples, columns=list(TaskExample.__dataclass_fields__))

    return build_examples


def finetuner_of(
    task: str,
) -> Callable[[pd.DataFrame, Any, Any, FinetuneTrainingParams], tuple[Any, pd.DataFrame, pd.DataFrame, dict[str, Any]]]:
    """The node function that fine-tunes the student on one task."""

    def finetune_task(
        examples: pd.DataFrame, student_encoder: Any, training_states: Any, training: FinetuneTrainingParams
    ) -> tuple[Any, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
        """Train a classifier for each setting of the grid and predict with the best on dev."""
        from bort_kedro.models.pretrained import Pretrained
        from bort_kedro.training.classification import FinetuningSettings, finetune

        result = finetune(
            student_encoder,
            examples,
            FinetuningSettings(**training.model_dump()),
            states=training_states,
            task=task,
        )
        model = Pretrained(result.model, student_encoder.tokenizer)
        return model, pd.DataFrame(result.history), result.predictions, result.report

    return finetune_task

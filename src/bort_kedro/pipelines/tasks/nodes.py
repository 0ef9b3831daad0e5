"""Nodes of the tasks stage; each is made for one task, whose name its errors carry."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pandas as pd

from bort_kedro.errors import LONGEST_SAID, shortened
from bort_kedro.frozen import JsonObject
from bort_kedro.params import FinetuneParams
from bort_kedro.params.finetune import task_of
from bort_kedro.tasks.builtin import Document, TaskExample
from bort_kedro.tasks.builtin import build_examples as build
from bort_kedro.tasks.description import SPLITS, Form
from bort_kedro.tasks.reading.choose import read_task
from bort_kedro.tasks.reading.folder import TaskFolder
from bort_kedro.tasks.splits import ExamplesReport, divide_splits
from bort_kedro.tasks.table import Task, find_task

LOGGER = logging.getLogger(__name__)
Examples = tuple[pd.DataFrame, JsonObject]


def builder_of(name: str) -> Callable[[pd.DataFrame, FinetuneParams], Examples]:
    """The node function that builds the examples of one built-in task."""

    def build_examples(corpus_documents: pd.DataFrame, finetune: FinetuneParams) -> Examples:
        """Label sentences of documents that no training of the encoder has seen."""
        builtin_tasks = finetune.builtin_tasks
        kept = corpus_documents[corpus_documents["split"] == "tasks"]
        # Only documentation says what it documents.
        arguments = kept["arguments"] if "arguments" in kept else [""] * len(kept)
        rows = zip(kept["document_id"], kept["source"], kept["text"], arguments, strict=True)
        documents = [
            Document(document_id, source, text, frozenset(names.split())) for document_id, source, text, names in rows
        ]
        built = build(name, documents, builtin_tasks)
        examples = pd.DataFrame(built, columns=list(TaskExample.__dataclass_fields__))
        numbers = [str(row) for row in range(len(examples))]
        examples = examples.assign(part="", group=numbers, index=numbers, option=None)
        form = find_task(name).form
        whose = dict.fromkeys(SPLITS, "built-in")
        divided, report = divide_splits(examples, form=form, seed=builtin_tasks.seed, task=name, whose=whose)
        return divided, report.to_json()

    return build_examples


def reader_of(name: str) -> Callable[[TaskFolder, FinetuneParams], Examples]:
    """The node function that reads the examples of one task."""

    def read_examples(task_files: TaskFolder, finetune: FinetuneParams) -> Examples:
        """Read the official files, or the hub's, and keep a labelled split that no method sees."""
        task = task_of(name, finetune)
        reading = read_task(task, task_files, finetune)
        examples, report = divide_splits(
            reading.examples, form=task.form, seed=finetune.split_seed, task=name, whose=_whose(task, finetune)
        )
        read = {
            "files": {split: str(path) for split, path in reading.files.items()},
            "num_rows_read": reading.num_rows,
            "num_rows_skipped": reading.num_skipped,
            "first_faults": tuple(reading.first_faults),
        }
        if task.form == Form.CLASSIFICATION and not task.labels:
            _tell_of_labels_of_train_alone(name, report)
        return examples, report.model_copy(update=read).to_json()

    return read_examples


def _tell_of_labels_of_train_alone(name: str, report: ExamplesReport) -> None:
    """Say on which labels nothing is scored: a misspelt one becomes a label of its own."""
    train = report.splits["train"]
    scored = {label for split in ("dev", "test") if split in report.splits for label in report.splits[split].labels}
    alone = [
        f"{label!r} ({count:,} of {train.num_rows:,} rows)"
        for label, count in train.labels.items()
        if label not in scored
    ]
    if alone:
        LOGGER.warning(
            "Task `%s`: of the labels found in train, dev and test have no %s. If that is a misspelling, mend it; to "
            "have all but some labels refused, name those as `own_tasks.%s.labels` in params:finetune.",
            name,
            shortened(", ".join(alone), LONGEST_SAID),
            name,
        )


def _whose(task: Task, finetune: FinetuneParams) -> dict[str, str]:
    """By split, whether its files are the official ones; of MNLI's two files of a split both must be."""
    replaced = {key.partition("_")[0] for key in finetune.files.get(task.name, ())}
    return {split: "user's" if task.benchmark == "own" or split in replaced else "official" for split in SPLITS}

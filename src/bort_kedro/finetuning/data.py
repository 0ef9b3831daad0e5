"""A task's examples as texts, and as the ids of one encoder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from bort_kedro.errors import TaskError
from bort_kedro.finetuning.encoding import EncodedExamples, TaskEncoder
from bort_kedro.finetuning.objectives import answers_of
from bort_kedro.tasks.labels import fault_of_found, label_text, output_columns
from bort_kedro.tasks.metrics import score_rows
from bort_kedro.tasks.table import Form
from bort_kedro.tasks.tags import labels_found, single_labels
from bort_kedro.tasks.units import units_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.tasks.table import Task
    from bort_kedro.tasks.units import Unit

LABELLED_SPLITS = ("train", "dev", "test")
SUBMISSION = "submission"
COLUMNS = ("split", "part", "group", "index", "text", "text_pair", "option", "label")


@dataclass(frozen=True)
class TaskData:
    """The examples of a task, checked.

    Args:
        task: A row of the table of tasks.
        labels: In the order of the classifier's outputs; those of the task, or those found in train.
        tables: The rows of each split that has any, in the schema of `COLUMNS`.
    """

    task: Task
    labels: tuple[str, ...]
    tables: dict[str, pd.DataFrame]

    @cached_property
    def units(self) -> dict[str, list[Unit]]:
        """The units of each split."""
        is_choice = self.task.form == Form.MULTIPLE_CHOICE
        return {split: units_of(table, is_choice) for split, table in self.tables.items()}

    def encoded(self, pretrained: Pretrained, *, max_tokens: int) -> EncodedTask:
        """As the ids of one encoder.

        Raises:
            ConfigurationError: If the encoder takes only shorter inputs.
        """
        encoder = TaskEncoder(pretrained, self.task, self.labels, max_tokens=max_tokens)
        splits = {split: encoder(units, list(self.tables[split]["label"])) for split, units in self.units.items()}
        return EncodedTask(self.task, self.labels, self.tables, splits, encoder)


@dataclass(frozen=True)
class EncodedTask:
    """The splits of a task as ids, with the tables they come from and the encoder of further texts."""

    task: Task
    labels: tuple[str, ...]
    tables: dict[str, pd.DataFrame]
    splits: dict[str, EncodedExamples]
    encoder: TaskEncoder

    @property
    def truncated_share(self) -> float:
        """Share of all rows that lost tokens."""
        return sum(s.num_truncated for s in self.splits.values()) / sum(map(len, self.splits.values()))

    def score(self, split: str, outputs: NDArray[np.float64], metric: str | None = None) -> float:
        """A metric of what a model says of a split; the task's first one unless named."""
        answers = answers_of(self.task.form, self.labels, outputs, self.splits[split].target_starts)
        return score_rows(self.task, metric or self.task.metrics[0], self.tables[split], answers)

    def predictions(self, outputs: dict[str, NDArray[np.float64]]) -> pd.DataFrame:
        """A table of what a model says of some splits, rows in the order of the examples.

        Returns:
            Columns ``split``, ``part``, ``group``, ``index`` (the official one), ``option``, ``label``,
            ``prediction``, and ``probability_<label>`` for each label, or ``output`` of a regression or an option;
            of tagged words the tags alone.
        """
        tables = [
            answered_table(self.task, self.labels, self.tables[split], values, self.splits[split].target_starts)
            for split, values in outputs.items()
        ]
        return pd.concat(tables, ignore_index=True)


def answered_table(
    task: Task, labels: Sequence[str], table: pd.DataFrame, outputs: NDArray[np.float64], starts: NDArray[np.int64]
) -> pd.DataFrame:
    """Rows of examples with what is said of them, see `EncodedTask.predictions`."""
    kept = table[["split", "part", "group", "index", "option", "label"]].reset_index(drop=True)
    kept["prediction"] = answers_of(task.form, labels, outputs, starts)
    columns = output_columns(task.form, labels)
    return pd.concat([kept, pd.DataFrame(outputs, columns=columns)], axis=1) if columns else kept


def check_examples(examples: pd.DataFrame, task: Task) -> TaskData:
    """Check that the examples of a task can be learned from.

    Args:
        examples: Columns `COLUMNS`; labels are missing in split ``submission`` alone.
        task: A row of the table of tasks.

    Raises:
        TaskError: If a column or a split is missing or empty, a text or label is missing, or a label is unknown.
    """
    where = f"Change the files of task `{task.name}`, or what makes them (params:finetune)."
    missing = [name for name in COLUMNS if name not in examples.columns]
    if missing:
        raise TaskError(
            f"Task `{task.name}`: its examples have no column {', '.join(missing)}. Columns found: "
            f"{', '.join(map(str, examples.columns))}. {where}"
        )
    examples = examples.assign(label=examples["label"].map(label_text)).astype(object)
    # What was saved and loaded has NaN where nothing is, and so has what was mapped.
    examples = examples.where(examples.notna(), None)
    faults = []
    unknown_splits = sorted(set(map(str, examples["split"].dropna())) - {*LABELLED_SPLITS, SUBMISSION})
    if unknown_splits:
        allowed = ", ".join((*LABELLED_SPLITS, SUBMISSION))
        faults.append(f"unknown split {', '.join(map(repr, unknown_splits))}; allowed: {allowed}")
    is_labelled = examples["split"] != SUBMISSION
    for column, rows in (("split", examples), ("text", examples), ("label", examples[is_labelled])):
        empty = rows.index[rows[column].isna()].tolist()
        if empty:
            faults.append(f"column `{column}` is empty in {len(empty)} rows (first: row {empty[0]})")
    tables = dict(iter(examples.groupby("split", sort=False)))
    needed = () if task.is_diagnostic else LABELLED_SPLITS
    faults += [f"split `{split}` has no example" for split in needed if split not in tables]
    if not tables:
        faults.append("there is no example")
    found = {split: set(single_labels(task.form, table["label"].dropna())) for split, table in tables.items()}
    labels = task.labels or labels_found(task.form, found.get("train", ()))
    if task.form != Form.REGRESSION:
        faults += _label_faults(found, labels)
    if task.form == Form.TOKENS:
        faults += _tag_faults(examples)
    if not task.labels and task.form.has_labels and (alike := fault_of_found(labels)):
        faults.append(alike)
    if faults:
        raise TaskError(f"Task `{task.name}`: {'; '.join(faults)}. {where}")
    kept = {split: tables[split].reset_index(drop=True) for split in (*LABELLED_SPLITS, SUBMISSION) if split in tables}
    return TaskData(task, labels if task.form != Form.REGRESSION else (), kept)


def _tag_faults(examples: pd.DataFrame) -> list[str]:
    """Words and tags must be as many, each parted by blanks."""
    known = examples[examples["label"].notna() & examples["text"].notna()]
    pairs = zip(known.index, known["text"], known["label"], strict=True)
    uneven = [row for row, text, label in pairs if len(text.split()) != len(label.split())]
    return [f"{len(uneven)} rows have not as many tags as words (first: row {uneven[0]})"] if uneven else []


def _label_faults(found: dict[str, set[str]], labels: Sequence[str]) -> list[str]:
    allowed = ", ".join(map(str, labels))
    faults = []
    for split, its_labels in found.items():
        unknown = sorted(map(str, its_labels - set(labels)))
        if unknown and labels:
            faults.append(f"split `{split}` has the label {', '.join(unknown)}, known are: {allowed}")
    if len(found.get("train", (None, None))) == 1:
        faults.append(f"split `train` has one label only, {next(iter(found['train']))}; two are needed to tell apart")
    return faults

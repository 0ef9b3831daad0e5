"""What has been read of a task: its examples in one table, and what was left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from bort_kedro.errors import LONGEST_SAID, TaskError, shortened
from bort_kedro.tasks.description import Form
from bort_kedro.tasks.labels import fault_of_found
from bort_kedro.tasks.records import Record, RowFault
from bort_kedro.tasks.rows import example_rows
from bort_kedro.tasks.tags import labels_found

if TYPE_CHECKING:
    from bort_kedro.tasks.description import SplitSource, Task
    from bort_kedro.tasks.records import ExampleRow

COLUMNS = ("split", "part", "group", "text", "text_pair", "option", "label", "index")
KEPT_FAULTS = 5
HOW = "Mend the row, set `skip_bad_rows` to leave such rows out, or name another file; all in params:finetune."


@dataclass(frozen=True)
class TaskReading:
    """The examples of a task, in its official splits.

    Args:
        examples: Columns `COLUMNS`, all text or None. The official test split has labels or None.
        labels: In the order of the classifier's outputs: the task's own, or those found in train, sorted.
        num_rows: Rows of ``examples`` by split, or by split and part.
        num_skipped: Rows left out, by file.
    """

    examples: pd.DataFrame
    labels: tuple[str, ...]
    files: dict[str, str]
    num_rows: dict[str, int]
    num_skipped: dict[str, int]
    first_faults: list[str]


@dataclass
class ReadingInProgress:
    """Collects the rows of a task, from files or from the hub.

    Malformed rows are left out and counted, or else the first ends the reading.
    """

    task: Task
    skip_bad_rows: bool
    _rows: list[tuple[str | None, ...]] = field(default_factory=list)
    _files: dict[str, str] = field(default_factory=dict)
    _num_rows: Counter[str] = field(default_factory=Counter)
    _num_skipped: Counter[str] = field(default_factory=Counter)
    _first_faults: list[str] = field(default_factory=list)
    _questions: set[tuple[str, str]] = field(default_factory=set)
    _labels: tuple[str, ...] | None = None

    def begin(self, source: SplitSource, place: str) -> None:
        """Say where the rows of a split that follow come from."""
        self._files[source.key] = place
        self._num_rows[source.key] += 0

    def add(self, source: SplitSource, record: Record, *, file: str, place: str) -> None:
        """Add the examples of a record, or handle it as malformed.

        Raises:
            TaskError: If it is malformed and such rows are not to be left out.
        """
        try:
            rows = example_rows(self.task, record, is_labelled=is_labelled(source), labels=self._labels)
        except RowFault as fault:
            self.refuse(str(fault), file=file, place=place)
            return
        questions = {(source.key, row.group) for row in rows} if self.task.form == Form.MULTIPLE_CHOICE else set()
        if questions & self._questions:
            # Options of two questions would run together.
            self.refuse(f"the question {rows[0].group!r} stands in it before", file=file, place=place)
            return
        self._questions |= questions
        self._num_rows[source.key] += len(rows)
        self._rows += [_table_row(source, row) for row in rows]

    def refuse(self, fault: str, *, file: str, place: str, is_known: bool = False) -> None:
        """Leave a malformed row out, or end the reading.

        Defects of official files that are known, since their own readers pass over them, too, are always left out.

        Raises:
            TaskError: If such rows are not to be left out.
        """
        text = f"{place}, {fault}" if fault.startswith("column ") else f"{place}: {fault}"
        if not (self.skip_bad_rows or is_known):
            raise TaskError(f"{text}. {HOW}")
        self._num_skipped[file] += 1
        if len(self._first_faults) < KEPT_FAULTS:
            self._first_faults.append(shortened(text, LONGEST_SAID))

    def end(self, source: SplitSource) -> None:
        """Close a part of a split; labels that train has are then all that may follow.

        Raises:
            TaskError: If it has no example, or too few labels to be learned.
        """
        place = self._files[source.key]
        if not self._num_rows[source.key]:
            skipped = f" ({self._num_skipped.total()} rows were left out)" if self._num_skipped else ""
            raise TaskError(f"{place}: no example in it{skipped}. Name another under `files` in params:finetune.")
        if source.split == "train" and self.task.form.has_labels and not self.task.labels:
            self._labels = labels_found(self.task.form, (str(row[COLUMNS.index("label")]) for row in self._rows))
            if len(self._labels) < 2:
                raise TaskError(
                    f"{place}: every example has the label {self._labels[0]!r}, two are needed. Name "
                    "another file, or the labels, in params:finetune."
                )
            if fault := fault_of_found(self._labels):
                raise TaskError(f"{place}: {fault}, under `own_tasks.{self.task.name}` in params:finetune.")

    def reading(self) -> TaskReading:
        """All that was read."""
        table = pd.DataFrame(self._rows, columns=list(COLUMNS), dtype=object)
        return TaskReading(
            examples=table.where(table.notna(), None),
            labels=self.task.labels or self._labels or (),
            files=self._files,
            num_rows=dict(self._num_rows),
            num_skipped=dict(self._num_skipped),
            first_faults=self._first_faults,
        )


def is_labelled(source: SplitSource) -> bool:
    """True for splits that must have labels: a test split may have none."""
    return source.split != "test"


def _table_row(source: SplitSource, row: ExampleRow) -> tuple[str | None, ...]:
    # The parts of a split count their rows alike, and groups must not run together.
    group = f"{source.part}/{row.group}" if source.part else row.group
    return (source.split, source.part, group, row.text, row.text_pair, row.option, row.label, row.index)

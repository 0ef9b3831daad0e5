"""Labels and beliefs that somebody recorded for the texts of a task: a teacher that is a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bort_kedro.errors import TaskError
from bort_kedro.tasks.description import RIGHT, Form, SplitSource, Task
from bort_kedro.tasks.labels import label_text, output_columns
from bort_kedro.tasks.reading.folder import read_file
from bort_kedro.tasks.reading.reading import ReadingInProgress
from bort_kedro.tasks.records import Record, RowFault, row_fault
from bort_kedro.tasks.rows import example_rows

if TYPE_CHECKING:
    from bort_kedro.tasks.records import ExampleRow
    from bort_kedro.tasks.settings import RecordedLabelsSettings

# Beliefs must sum to one but for rounding.
ROUNDING = 1e-3
# Of a task that is made rather than read, such as a built-in one.
COLUMNS = {"text": ("text",), "label": ("label",)}
# Every row has a label, as every row of train has.
LABELLED = SplitSource("train", (), "")


@dataclass(frozen=True)
class RecordedReading:
    """What a file says of the texts of a task.

    Args:
        table: A row for each row of an example: ``group`` (options of a question share one), ``text``, ``text_pair``,
            ``option``, and the columns of `tasks.labels.output_columns`.
    """

    table: pd.DataFrame
    num_skipped: int
    first_faults: list[str]


def read_recorded_labels(
    task: Task, labels: Sequence[str], settings: RecordedLabelsSettings, *, skip_bad_rows: bool
) -> RecordedReading:
    """Read labels or beliefs.

    A row has the columns of a row of the task's own files, but that its label may be what is believed: an object from
    labels to probabilities, or a list of them in the order of the labels; of multiple choice a list, one an option.
    Malformed rows are left out and counted, or else the first is an error.

    Raises:
        TaskError: If the file is missing, or a row has an unknown label, beliefs that are none, or another label than
            an earlier row with the same texts.
    """
    place = f"params:finetune.teacher.recorded.{task.name}"
    path = Path(settings.file.path)
    if not path.exists():
        raise TaskError(
            f"Task `{task.name}`: the file of recorded labels {path} is not there (seen from {Path.cwd()}). Change "
            f"{place}.file."
        )
    named: dict[str, tuple[str, ...]] = {
        role: (names,) if isinstance(names, str) else names for role, names in settings.columns.items()
    }
    described = replace(task, columns={**(task.columns if task.sources else COLUMNS), **named})
    progress = RecordedInProgress(described, skip_bad_rows, labels=tuple(labels))
    read_file(progress, LABELLED, path, settings.file, columns_at=f"{place}.columns")
    reading = progress.recorded()
    if reading.table.empty:
        raise TaskError(f"{path}: no row in it that can be used. Change {place}.file.")
    return reading


@dataclass
class RecordedInProgress(ReadingInProgress):
    """Collects what a file says of the texts of a task, which has the columns of this file."""

    labels: tuple[str, ...] = field(kw_only=True)
    _said: dict[tuple[tuple[str, str | None], ...], tuple[str, list[list[float]]]] = field(default_factory=dict)
    _recorded: list[tuple[str | float | None, ...]] = field(default_factory=list)

    def add(self, source: SplitSource, record: Record, *, file: str, place: str) -> None:
        """Add what a record says, or handle it as malformed.

        Raises:
            TaskError: If it is malformed and such rows are not to be left out.
        """
        try:
            said = self._read(record)
        except RowFault as fault:
            self.refuse(str(fault), file=file, place=place)
            return
        for rows, outputs in said:
            texts = tuple((row.text, row.text_pair) for row in rows)
            where, before = self._said.setdefault(texts, (place, outputs))
            if before != outputs:
                self.refuse(f"another label than in {where}, of the same text", file=file, place=place)
            elif where == place:
                group = str(len(self._said))
                self._recorded += [
                    (group, row.text, row.text_pair, row.option, *its) for row, its in zip(rows, outputs, strict=True)
                ]

    def recorded(self) -> RecordedReading:
        """All that was read."""
        columns = ["group", "text", "text_pair", "option", *output_columns(self.task.form, self.labels)]
        return RecordedReading(
            pd.DataFrame(self._recorded, columns=columns), self._num_skipped.total(), self._first_faults
        )

    def _read(self, record: Record) -> list[tuple[list[ExampleRow], list[list[float]]]]:
        """The examples of a record, each with the (rows, C) that are said of it."""
        column = record.columns.get("label", ("label",))[0]
        told, is_choice = record.fields.get(column), self.task.form == Form.MULTIPLE_CHOICE
        has_beliefs = isinstance(told, Mapping | list)
        fields = {**record.fields, column: None} if has_beliefs else record.fields
        rows = example_rows(
            self.task, replace(record, fields=fields), is_labelled=not has_beliefs, labels=self.labels or None
        )
        examples = [[row] for row in rows]
        if is_choice:
            examples = [list(its) for _, its in groupby(rows, key=lambda row: row.group)]
        if not has_beliefs:
            return [(its, self._of_labels(its)) for its in examples]
        if self.task.form == Form.REGRESSION or len(examples) != 1:
            raise row_fault(column, told, "a number" if self.task.form == Form.REGRESSION else "labels")
        shares = beliefs_of(column, told, self._names(examples[0]))
        return [(examples[0], [[share] for share in shares] if is_choice else [shares])]

    def _of_labels(self, rows: list[ExampleRow]) -> list[list[float]]:
        """What the labels of an example say of its rows, as beliefs."""
        if self.task.form == Form.REGRESSION:
            return [[float(str(row.label))] for row in rows]
        if self.task.form == Form.CLASSIFICATION:
            return [[float(row.label == label) for label in self.labels] for row in rows]
        num_right = sum(row.label == RIGHT for row in rows)
        return [[(row.label == RIGHT) / num_right] for row in rows]

    def _names(self, rows: list[ExampleRow]) -> dict[str, int]:
        """Places of the beliefs by what is believed: a label, however it is spelled, or the number of an option."""
        if self.task.form == Form.MULTIPLE_CHOICE:
            return {str(place): place for place in range(len(rows))}
        places = {label: place for place, label in enumerate(self.labels)}
        return places | {its: places[label] for its, label in self.task.spellings.items() if label in places}


def beliefs_of(column: str, told: Any, places: Mapping[str, int]) -> list[float]:
    """Probabilities in the order of the places of their names, made to sum to one.

    They are told as a list, or as a map from names, of which those left out have none.

    Raises:
        RowFault: If a name is unknown, there are more or fewer, or they are no probabilities.
    """
    shares: list[Any] = [0.0] * len(set(places.values()))
    if isinstance(told, Mapping):
        for name, share in told.items():
            if label_text(name) not in places:
                raise row_fault(column, name, f"one of {', '.join(map(repr, places))}")
            shares[places[label_text(name)]] = share
    elif len(told) == len(shares):
        shares = list(told)
    else:
        raise row_fault(column, told, f"{len(shares)} probabilities")
    are_numbers = all(isinstance(share, int | float) and not isinstance(share, bool) for share in shares)
    if not are_numbers or not all(0 <= share <= 2 for share in shares) or not abs(sum(shares) - 1) <= ROUNDING:
        raise row_fault(column, told, "probabilities, none below 0, that sum to 1")
    return [share / sum(shares) for share in shares]

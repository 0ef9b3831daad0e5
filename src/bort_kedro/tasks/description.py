"""What there is to say of a task; `tasks.table` says it of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict

from bort_kedro.frozen import Written

SPLITS = ("train", "dev", "test")
WRONG, RIGHT = "wrong", "right"
# Layouts of `tasks.layouts` that mark spans.
MARKING_LAYOUTS = ("wic", "wsc", "record")


class Form(StrEnum):
    """What is asked of an example."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    MULTIPLE_CHOICE = "multiple_choice"
    TOKENS = "token_classification"

    @property
    def has_labels(self) -> bool:
        """True where a model chooses among labels, which a task names or its train split shows."""
        return self in (Form.CLASSIFICATION, Form.TOKENS)


class Truncation(StrEnum):
    """Which text loses tokens where both do not fit."""

    LONGEST_FIRST = "longest_first"
    TEXT = "text"
    TEXT_PAIR = "text_pair"
    AROUND_SPANS = "around_spans"


@dataclass(frozen=True)
class SourceFile:
    """One way in which the examples of a split lie on disk.

    Args:
        path: Within the task's folder; a folder for RACE. An own task's: from the project's folder, or absolute.
        header: Names of the columns where the file has no header row.
        trailing: Names of further columns, which a row has all or none of, as in STS-B's own files.
        format: ``tsv``, ``csv``, ``jsonl`` or ``conll``, where the suffix does not say it.
        id_file: Table of ids in the same folder; only rows whose ids stand in it are read, or only the others.
        in_id_file: Which of the two.
    """

    path: str
    header: tuple[Written, ...] = ()
    trailing: tuple[Written, ...] = ()
    format: Literal["", "tsv", "csv", "jsonl", "conll"] = ""
    id_file: str = ""
    in_id_file: bool = False
    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        names = (*self.header, *self.trailing)
        if self.trailing and not self.header:
            raise ValueError("trailing names columns behind those of header, and there is no header")
        if names and self.suffix == ".jsonl":
            raise ValueError("header is for tables; a row of .jsonl names its fields itself")
        if self.trailing and self.suffix == ".conll":
            raise ValueError("trailing is for tables; all rows of .conll have the columns of header")
        if len(set(names)) < len(names):
            raise ValueError(f"header and trailing name a column more than once ({', '.join(names)})")

    @property
    def suffix(self) -> str:
        """Of the format that it is read in, such as ``.tsv``."""
        return f".{self.format}" if self.format else Path(self.path).suffix


@dataclass(frozen=True)
class SplitSource:
    """Where the examples of an official split, or of a part of it, are found.

    Args:
        files: Candidates; the first that exists is read.
        hub_split: Its name on the hub.
        part: Such as ``matched``, or "".
    """

    split: str
    files: tuple[SourceFile, ...]
    hub_split: str
    part: str = ""

    @property
    def key(self) -> str:
        """``dev``, or ``dev_matched``: what names another file for it in parameters."""
        return f"{self.split}_{self.part}" if self.part else self.split


@dataclass(frozen=True)
class PublishedSize:
    """How large the official splits of a task are.

    Args:
        num_dev: Examples; of several dev splits all.
        characters: Of the texts of an example of the train split, on average.
    """

    num_train: int
    num_dev: int
    characters: int


@dataclass(frozen=True)
class Task:
    """One row of the table.

    Args:
        benchmark: GLUE, SuperGLUE, RACE, built-in or own.
        labels: In the order of the classifier's outputs; ("wrong", "right") for multiple choice; of tagged words the
            tags; () for regression, and for own and built-in tasks where they are those found in train.
        metrics: Names in `tasks.metrics.METRICS`; the first chooses among settings on dev.
        scored_with: Diagnostics only: never trained, scored with the model of the first of these that is run.
        folders: Names that the task's folder has in the archives.
        required: Splits without which it cannot be run.
        layout: A name in `tasks.layouts.LAYOUTS`.
        columns: What each text is called in files and on the hub; the first name found is read.
        spellings: What files or the hub write for some labels.
        skips_short_rows: True where the official reader passes over rows with too few fields.
        allows_empty_text: True where official files have examples of which one text is empty.
        submissions: The leaderboard's file for each part of the test split.
        size: Of its official splits, for forecasts before they are there; None where the table does not say it.
    """

    name: str
    title: str
    benchmark: str
    form: Form
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    truncation: Truncation
    scored_with: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    sources: tuple[SplitSource, ...] = ()
    required: tuple[str, ...] = ("train", "dev")
    layout: str = "texts"
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    spellings: Mapping[str, str] = field(default_factory=dict, hash=False)
    skips_short_rows: bool = False
    allows_empty_text: bool = False
    submissions: Mapping[str, str] = field(default_factory=dict, hash=False)
    hub: tuple[str, str] = ("", "")
    size: PublishedSize | None = None

    @property
    def has_marked_spans(self) -> bool:
        """True where its texts hold marks around spans (`tasks.spans`), which nothing may tear apart."""
        return self.layout in MARKING_LAYOUTS

    @property
    def is_diagnostic(self) -> bool:
        """True for tasks that are scored with another task's model."""
        return bool(self.scored_with)

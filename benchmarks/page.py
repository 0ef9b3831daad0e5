"""The one place that writes a benchmark: its page for readers and its figures for programs."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.configured import PROJECT
from bort_kedro.datasets.pending import pending
from bort_kedro.device import describe_device
from bort_kedro.reporting.markdown import MISSING, number
from bort_kedro.statistics import is_missing

FOLDER = PROJECT / "docs" / "benchmarks"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: first column to the left, the others to the right; ``|`` inside a cell is escaped."""
    rule = [":---", *["---:"] * (len(header) - 1)]
    lines = [list(header), rule, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Figure:
    """One figure of the JSON file.

    Args:
        name: What was measured, readable without the page.
        value: In ``unit``; None where there is no value.
        unit: Such as ``ms`` or ``x``.
        target: What it is held against, in the same unit, if anything.
        met: Whether it is met; the caller knows the tolerance.
    """

    name: str
    value: float | None
    unit: str
    target: float | None = None
    met: bool | None = None

    @property
    def met_text(self) -> str:
        """For a table."""
        return {None: MISSING, True: "yes", False: "**no**"}[self.met]


@dataclass(frozen=True)
class Part:
    """A part of a page.

    Args:
        title: Heading; empty for a part that needs none.
        text: Markdown.
        figures: What it states, for programs.
    """

    title: str
    text: str
    figures: Sequence[Figure] = ()

    @property
    def markdown(self) -> str:
        """Heading and text."""
        return f"## {self.title}\n\n{self.text}" if self.title else self.text


def interval_text(low: float | None, high: float | None, digits: int = 1) -> str:
    """Both ends, or a dash."""
    return MISSING if is_missing(low) or is_missing(high) else f"{number(low, digits)} to {number(high, digits)}"


def processor_title(device: Mapping[str, Any]) -> str:
    """Name and instruction sets of a described device's processor; there are several of one name."""
    sets = device["instruction_sets"]
    return f"{device['processor']} with {', '.join(sets)}" if sets else str(device["processor"])


def write_page(
    name: str,
    title: str,
    parts: Sequence[Part],
    conditions: Mapping[str, Any],
    *,
    command: str | None = None,
    setting: str = "",
    packages: Sequence[str] = ("torch", "transformers"),
    files: Mapping[str, str] | None = None,
    folder: Path = FOLDER,
    page_file: Path | None = None,
    is_shown: bool = True,
) -> None:
    """Write ``<name>.md`` and ``<name>.json``, each whole or not at all, and show the page.

    Args:
        name: Of the two files.
        title: Heading of the page.
        parts: Below the opening line, which says when, where and by which command the page was written.
        conditions: Settings under which the figures hold, as values that JSON knows.
        command: Writes the page again; ``make bench-<name>`` unless given.
        setting: Closes the opening line, without its full stop.
        packages: Whose versions the figures depend on; the first is named in the opening line.
        files: Texts to write beside the figures, by their names.
        folder: Of the figures and, unless ``page_file`` is given, of the page.
        page_file: Of a page that stands elsewhere.
        is_shown: Whether the page is printed too.

    Raises:
        ValueError: If a figure is NaN, before any file is written.
        StorageError: If a file cannot be written.
    """
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": describe_device(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "conditions": dict(conditions),
    }
    figures = [asdict(figure) for part in parts for figure in part.figures]
    # NaN is no JSON; better to stop here than in whatever reads the file.
    record = json.dumps({"about": about, "figures": figures}, indent=2, allow_nan=False) + "\n"
    first = packages[0]
    opening = (
        f"Written by `{command or f'make bench-{name}'}` on {about['date']}: {processor_title(about['device'])}, "
        f"{first} {about['versions'][first]}{f', {setting}' if setting else ''}."
    )
    page = "\n\n".join([f"# {title}", opening, *(part.markdown for part in parts)]) + "\n"
    texts = {folder / file: text for file, text in {f"{name}.json": record, **(files or {})}.items()}
    for file, text in {**texts, page_file or folder / f"{name}.md": page}.items():
        with pending(file) as temporary:
            temporary.write_text(text, "utf-8")
    if is_shown:
        print(page)  # noqa: T201

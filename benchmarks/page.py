"""The one place that writes a benchmark: its page for readers and its figures for programs."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bort_kedro.device import describe_device

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FOLDER = Path(__file__).parent.parent / "docs" / "benchmarks"


def figure(
    name: str, value: float | None, unit: str, *, target: float | None = None, met: bool | None = None
) -> dict[str, Any]:
    """One figure of the JSON file.

    Args:
        name: What was measured, readable without the page.
        value: In ``unit``; None where there is no value.
        unit: Such as ``ms`` or ``x``.
        target: What it is held against, in the same unit, if anything.
        met: Whether it is met; the caller knows the tolerance.
    """
    return {"name": name, "value": value, "unit": unit, "target": target, "met": met}


def write_page(
    name: str,
    title: str,
    body: str,
    figures: Sequence[Mapping[str, Any]],
    conditions: Mapping[str, Any],
    *,
    command: str | None = None,
    setting: str = "",
    packages: Sequence[str] = ("torch", "transformers"),
    files: Mapping[str, str] | None = None,
    folder: Path = FOLDER,
    page_file: Path | None = None,
) -> None:
    """Write ``docs/benchmarks/<name>.md`` and ``.json``, and show the page.

    Args:
        name: Of the two files.
        title: Heading of the page.
        body: Markdown below the opening line, which says when, where and by which command it was written.
        figures: From `figure`.
        conditions: Settings under which the figures hold, as values that JSON knows.
        command: Writes the page again; ``make bench-<name>`` unless given.
        setting: Closes the opening line, without its full stop.
        packages: Whose versions the figures depend on; the first is named in the opening line.
        files: Texts to write beside the figures, by their names.
        folder: Of the figures and, unless ``page_file`` is given, of the page.
        page_file: Of a page that stands elsewhere.
    """
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": describe_device(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "conditions": dict(conditions),
    }
    first = packages[0]
    opening = (
        f"Written by `{command or f'make bench-{name}'}` on {about['date']}: {about['device']['processor']}, "
        f"{first} {about['versions'][first]}{f', {setting}' if setting else ''}."
    )
    page = f"# {title}\n\n{opening}\n\n{body}\n"
    # NaN is no JSON; better to stop here than in whatever reads the file.
    record = json.dumps({"about": about, "figures": list(figures)}, indent=2, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in {f"{name}.json": record, **(files or {})}.items():
        (folder / file).write_text(text)
    (page_file or folder / f"{name}.md").write_text(page)
    print(page)  # noqa: T201

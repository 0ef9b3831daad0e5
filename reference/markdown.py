"""What the pages share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def page(title: str, *parts: str) -> str:
    """A page that says how it is written."""
    return "\n\n".join([f"# {title}", *parts, "Written by `make reference`, to be changed there."]) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with each cell on one line; ``|`` inside a cell is escaped."""
    lines = [header, ["---"] * len(header), *([_on_one_line(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: str) -> str:
    """As it is typed; nothing where there is nothing."""
    return f"`{text}`" if text else ""


def _on_one_line(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")

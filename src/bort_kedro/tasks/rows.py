"""Checked rows of examples: no label that the task does not know, no text that is none."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import replace
from typing import TypeGuard

from bort_kedro.errors import TaskError
from bort_kedro.tasks.description import Form, Task
from bort_kedro.tasks.layouts import LAYOUTS
from bort_kedro.tasks.records import ExampleRow, Record, row_fault

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def example_rows(
    task: Task, record: Record, *, is_labelled: bool, labels: Collection[str] | None = None
) -> list[ExampleRow]:
    """The rows of a record, each checked.

    Args:
        task: Its layout, labels and spellings.
        record: A raw record.
        is_labelled: True where every row must have a label.
        labels: Allowed ones where the task itself names none; None means any.

    Returns:
        All rows of a question, or none. A text without questions has none: RACE's archive has two such.

    Raises:
        RowFault: Naming the column, the value and what is allowed.
    """
    rows = LAYOUTS[task.layout](record)
    for row in rows:
        _check_texts(task, row)
    return [replace(row, label=_checked_label(task, row.label, is_labelled, labels)) for row in rows]


def resolve_columns(task: Task, found: Collection[str], *, is_labelled: bool) -> dict[str, tuple[str, ...]]:
    """Which of the names that a column may have is used.

    Args:
        task: Its ``columns``.
        found: Names in the file or record.
        is_labelled: True where there must be labels.

    Returns:
        By role; index, and label where there need be none, only if there are such columns.

    Raises:
        TaskError: If a needed column is missing.
    """
    resolved, missing = {}, []
    for role, names in task.columns.items():
        present = tuple(name for name in names if name in found)
        if role == "options":
            missing += [f"`{name}`" for name in names if name not in present]
        elif not present and (role in ("text", "text_pair") or (role == "label" and is_labelled)):
            missing.append(" or ".join(f"`{name}`" for name in dict.fromkeys(names)))
        if present:
            resolved[role] = present if role == "options" else present[:1]
    if missing:
        raise TaskError(f"no column {', '.join(missing)}. Columns found: {', '.join(f'`{name}`' for name in found)}")
    return resolved


def _checked_label(task: Task, raw: object, is_labelled: bool, labels: Collection[str] | None) -> str | None:
    column = _named(task, "label")
    if raw is None and not is_labelled:
        return None
    if not isinstance(raw, str) or not _is_text(raw):
        raise row_fault(column, raw, "a label that is not empty")
    if task.form == Form.REGRESSION:
        return _checked_number(raw, column)
    label, allowed = task.spellings.get(raw, raw), task.labels or labels
    if allowed is not None and label not in allowed:
        raise row_fault(column, raw, f"one of {', '.join(map(repr, allowed))}")
    return label


def _checked_number(raw: str, column: str) -> str:
    # Python also reads `1_000`, `infinity` and digits of other scripts as numbers.
    if not re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", raw) or not math.isfinite(float(raw)):
        raise row_fault(column, raw, "a number")
    return raw


def _check_texts(task: Task, row: ExampleRow) -> None:
    for role, text in (("text", row.text), ("text_pair", row.text_pair), ("option", row.option)):
        if text is not None and not (_is_whole(text) if task.allows_empty_text else _is_text(text)):
            raise row_fault(_named(task, role), text, "a text that is not empty")


def _named(task: Task, role: str) -> str:
    return task.columns.get(role, (role,))[0]


def _is_whole(text: object) -> TypeGuard[str]:
    """True for a text; JSON can spell half characters, which no tokenizer takes."""
    return isinstance(text, str) and not _HALF_CHARACTER.search(text)


def _is_text(text: object) -> TypeGuard[str]:
    return _is_whole(text) and bool(text.strip())

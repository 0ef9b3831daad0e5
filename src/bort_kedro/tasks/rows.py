"""Checked rows of examples: no label that the task does not know, no text that is none."""

from collections.abc import Collection
from dataclasses import replace

from bort_kedro.errors import TaskError
from bort_kedro.tasks.description import Form, Task
from bort_kedro.tasks.labels import alike, is_no_number, number_of
from bort_kedro.tasks.layouts import LAYOUTS
from bort_kedro.tasks.records import ExampleRow, Record, filled_field, is_filled, row_fault, text_field


def example_rows(
    task: Task, record: Record, *, is_labelled: bool, labels: Collection[str] | None = None
) -> list[ExampleRow]:
    """The rows of a record, each checked.

    Where the task itself names no labels, others may be allowed; None means any.

    Returns:
        All rows of a question, or none. A text without questions has none: RACE's archive has two such.

    Raises:
        RowFault: Naming the column, the value and what is allowed.
    """
    _check_texts(task, record)
    rows = LAYOUTS[task.layout](record)
    return [replace(row, label=_checked_label(task, record, row.label, is_labelled, labels)) for row in rows]


def resolve_columns(task: Task, found: Collection[str], *, is_labelled: bool) -> dict[str, tuple[str, ...]]:
    """Which of the names that a column may have is used, by role; index, and label where there need be none, only if
    there are such columns.

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


def _check_texts(task: Task, record: Record) -> None:
    """Check what the columns of the file hold, before a layout puts them together."""
    check = text_field if task.allows_empty_text else filled_field
    for role in ("text", "text_pair", "options") if task.form != Form.TOKENS else ():
        for name in record.columns.get(role, ()):
            check(record.fields, name)


def _checked_label(
    task: Task, record: Record, raw: object, is_labelled: bool, labels: Collection[str] | None
) -> str | None:
    column = record.columns.get("label", ("label",))[0]
    if raw is None and not is_labelled:
        return None
    if not is_filled(raw):
        raise row_fault(column, record.fields.get(column, raw), "a label that is not empty")
    if task.form == Form.REGRESSION:
        if number_of(raw) is None:
            raise row_fault(column, raw, "a number")
        return raw
    allowed = task.labels or labels
    if task.form == Form.TOKENS:
        for tag in raw.split():
            _require_known(column, tag, allowed)
        return raw
    label = task.spellings.get(raw, raw)
    if allowed is None and is_no_number(label):
        raise row_fault(column, raw, "a label (where this is one, name it in `labels`)")
    _require_known(column, label, allowed)
    return label


def _require_known(column: str, label: str, allowed: Collection[str] | None) -> None:
    if allowed is not None and label not in allowed:
        near = alike(label, allowed)
        hint = f" ({near!r} is spelled otherwise: write both alike, and in YAML in quotes)" if near else ""
        raise row_fault(column, label, f"one of {', '.join(map(repr, allowed))}{hint}")

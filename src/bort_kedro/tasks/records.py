"""Raw records of files and of the hub, and the rows of examples that they become."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

from bort_kedro.errors import TaskError
from bort_kedro.text.prose import half_character, is_whole


class RowFault(TaskError):
    """What is wrong with a record; a reader completes it with file and line."""


Kind = TypeVar("Kind")


@dataclass(frozen=True)
class ExampleRow:
    """One row of the table of examples, but for its split.

    Args:
        group: The question, where several rows belong to one; else the row itself.
        option: The option's own text, None where there are none.
        index: The official index of the row, or of its question, as submissions give it.
    """

    group: str
    text: str
    text_pair: str | None
    option: str | None
    label: str | None
    index: str


@dataclass(frozen=True)
class Record:
    """A raw record.

    Args:
        columns: The name in ``fields`` of each role that the task's columns have; `options` has several.
        number: Of the record in its file, from 0: its index where the file has none.
    """

    fields: Mapping[str, Any]
    columns: Mapping[str, tuple[str, ...]]
    number: int

    def get(self, role: str) -> Any:
        """The field of a role, None if the file has no such column."""
        return self.fields[self.columns[role][0]] if role in self.columns else None

    @property
    def index(self) -> str:
        """The official index, or the record's number."""
        names = self.columns.get("index")
        value = self.fields.get(names[0]) if names else None
        return str(self.number if value is None else value)


def row_fault(column: str, value: object, expected: str) -> RowFault:
    """A fault of one field, its value cut to 80 characters."""
    return RowFault(f"column `{column}`: {repr(value)[:80]}, expected {expected}")


def is_filled(text: object) -> TypeGuard[str]:
    """True for a text of more than white space."""
    return is_whole(text) and bool(text.strip())


# Each of these raises a `RowFault` where the field is not there, or is something else.


def text_field(fields: object, name: str) -> str:
    """A text of a JSON object."""
    text = _field(fields, name, str, "a text")
    if half := half_character(text):
        raise row_fault(name, text, f"a text of whole characters; it has {half}")
    return text


def filled_field(fields: object, name: str) -> str:
    """A text of a JSON object, of more than white space."""
    text = text_field(fields, name)
    if not is_filled(text):
        raise row_fault(name, text, "a text that is not empty")
    return text


def number_field(fields: object, name: str) -> int:
    """A whole number of a JSON object."""
    number = _field(fields, name, int, "a whole number")
    # True and False are whole numbers to Python.
    if isinstance(number, bool):
        raise row_fault(name, number, "a whole number")
    return int(number)


def list_field(fields: object, name: str) -> list[Any]:
    """A list of a JSON object."""
    return list(_field(fields, name, list, "a list"))


def choices_field(fields: object, name: str) -> list[Any]:
    """A list of a JSON object, of what a question is answered with, which is something."""
    choices = list_field(fields, name)
    if not choices:
        raise row_fault(name, choices, "something to choose among")
    return choices


def object_field(fields: object, name: str) -> Mapping[str, Any]:
    """An object within a JSON object."""
    return _field(fields, name, dict, "an object")


def _field(fields: object, name: str, kind: type[Kind], expected: str) -> Kind:
    value = fields.get(name) if isinstance(fields, Mapping) else fields
    if not isinstance(fields, Mapping) or not isinstance(value, kind):
        raise row_fault(name, value, expected)
    return value

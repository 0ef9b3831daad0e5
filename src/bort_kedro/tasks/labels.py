"""Labels as texts, and which two of them a reader would take for one."""

import json
import math
import re
from collections.abc import Collection, Sequence
from typing import Any

from bort_kedro.tasks.description import Form

# Python also reads `1_000`, `infinity` and digits of other scripts as numbers.
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
# What programs write for a number that is not there, or is none.
_NO_NUMBER = re.compile(r"[-+]?(nan|inf|infinity)", re.IGNORECASE)


def label_text(value: Any) -> Any:
    """The text of a label of a file, of JSON, or of a table, without white space around it.

    JSON may have true, false and numbers; 1 and 1.0 are one number to it, and become ``1``. None for an empty one and
    for NaN; other values are as they are.
    """
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, bool | int | float):
        return json.dumps(value).removesuffix(".0")
    return value.strip() or None if isinstance(value, str) else value


def output_columns(form: Form, labels: Sequence[str]) -> list[str]:
    """(C,) names of the columns of a table that say what is believed of a row; none where words are tagged."""
    if form == Form.TOKENS:
        return []
    return [f"probability_{label}" for label in labels] if form == Form.CLASSIFICATION else ["output"]


def number_of(text: str) -> float | None:
    """The finite number that a text is, or None."""
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


def is_no_number(text: str) -> bool:
    """True for what programs write in place of a number, such as ``nan``."""
    return _NO_NUMBER.fullmatch(text) is not None


def alike(label: str, others: Collection[str]) -> str | None:
    """Another label that is the same number, or the same word but for capitals; None where there is none."""
    return next((other for other in others if other != label and _likeness(other) == _likeness(label)), None)


def fault_of_found(labels: Collection[str]) -> str:
    """What speaks against labels that were found and that nobody has named; "" where nothing does."""
    found = sorted(labels)
    first = next((label for label in found if alike(label, found)), None)
    if first is None:
        return ""
    return (
        f"the labels {first!r} and {alike(first, found)!r} differ in spelling alone; write them alike, or name all "
        "labels if they are two"
    )


def _likeness(label: str) -> str | float:
    number = number_of(label)
    return label.casefold() if number is None else number

"""One example as a method of fine-tuning sees it: the rows that are answered together."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

Row = tuple[str, str | None]


@dataclass(frozen=True)
class Unit:
    """One row, or one for each option of a multiple-choice question.

    Args:
        rows: ``(text, text_pair)`` of each row, at least one; ``text_pair`` is None where there is one text alone.
        made_of: The one that it was made similar to, if any, by the way of ``made_by``; neither tells two apart.
    """

    rows: tuple[Row, ...]
    made_of: Unit | None = field(default=None, compare=False, repr=False)
    made_by: str = field(default="", compare=False, repr=False)


def units_of(examples: pd.DataFrame, is_multiple_choice: bool) -> list[Unit]:
    """The units of a table of examples, in its order; of multiple choice, neighbouring rows of one ``group`` are the
    options of one question, else each row is a unit of its own."""
    pairs = [pair if isinstance(pair, str) else None for pair in examples["text_pair"]]
    rows = list(zip(examples["text"], pairs, strict=True))
    if not is_multiple_choice:
        return [Unit((row,)) for row in rows]
    grouped = groupby(zip(examples["group"], rows, strict=True), key=lambda pair: pair[0])
    return [Unit(tuple(row for _, row in members)) for _, members in grouped]

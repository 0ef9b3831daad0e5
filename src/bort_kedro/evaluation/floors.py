"""What any model must beat to be worth its training: a list of floors, each of which answers the same rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bort_kedro.evaluation.scores import constant_answers
from bort_kedro.evaluation.tagged_words import matched_tags, memorised_tags, pattern_of
from bort_kedro.evaluation.tfidf import Fitted, Tables, tfidf_answers
from bort_kedro.frozen import FrozenModel
from bort_kedro.tasks.description import Form

if TYPE_CHECKING:
    import pandas as pd

    from bort_kedro.tasks.description import Task

SCORED_SPLITS = ("test", "dev")
# Of the rows that are answered, so that another table of answers can be held against them.
ROW_COLUMNS = ("split", "part", "group", "option", "label")


@dataclass(frozen=True)
class Floor:
    """A way to answer that costs next to nothing.

    Args:
        answer: From the task, the splits that may be learned from and those to answer.
        is_of: Whether it answers a task.
    """

    title: str
    words: str
    answer: Callable[[Task, Tables, Tables], Fitted]
    is_of: Callable[[Task], bool] = lambda task: True


def _constant(task: Task, taught: Tables, asked: Tables) -> Fitted:
    """Of each split the best there is for it, which no method could know."""
    return Fitted({split: constant_answers(task, table) for split, table in asked.items()})


FLOORS = {
    "constant": Floor("Constant answer", "the best constant answer", _constant),
    "tfidf": Floor("TF-IDF", "TF-IDF with a linear model", tfidf_answers, lambda task: task.form != Form.TOKENS),
    "memorised": Floor(
        "Memorised words",
        "each word's most frequent tag in train",
        memorised_tags,
        lambda task: task.form == Form.TOKENS,
    ),
    "pattern": Floor(
        "Regular expression", "a regular expression", matched_tags, lambda task: pattern_of(task) is not None
    ),
}


def floors_among(found: Iterable[Collection[str]]) -> dict[str, Floor]:
    """The floors that some tasks have, from the names of those of each task."""
    names = {name for each in found for name in each}
    return {name: floor for name, floor in FLOORS.items() if name in names}


class FloorReport(FrozenModel):
    """What a floor took and was fitted to, as `tfidf.Fitted` says."""

    seconds: float
    strength: float | None
    train_share: float | None


def answer_by_floors(
    task: Task, taught: Tables, asked: Tables, clock: Callable[[], float]
) -> tuple[pd.DataFrame, dict[str, FloorReport]]:
    """The answers of all floors to those of the asked splits that are in `SCORED_SPLITS`.

    A diagnostic is taught by the splits of the task whose model answers it.

    Returns:
        Columns `ROW_COLUMNS`, ``prediction`` and ``method``, the name of the floor; and what each floor took.
    """
    import pandas as pd

    asked = {split: asked[split] for split in SCORED_SPLITS if split in asked}
    tables = [pd.DataFrame(columns=[*ROW_COLUMNS, "prediction", "method"], dtype=object)]
    reports = {}
    able = {name: floor for name, floor in FLOORS.items() if asked and floor.is_of(task)}
    for name, floor in able.items():
        began = clock()
        fitted = floor.answer(task, taught, asked)
        reports[name] = FloorReport(seconds=clock() - began, strength=fitted.strength, train_share=fitted.train_share)
        tables += [
            table[list(ROW_COLUMNS)].assign(prediction=fitted.answers[split], method=name)
            for split, table in asked.items()
        ]
    return pd.concat(tables, ignore_index=True), reports

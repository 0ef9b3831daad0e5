"""Task scores with their errors, beside the floors that every model must beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bort_kedro.frozen import FrozenModel, JsonObject
from bort_kedro.statistics import is_above_noise
from bort_kedro.tasks.metrics import score, score_rows, scored_rows
from bort_kedro.tasks.table import RIGHT, WRONG, Form, Task
from bort_kedro.tasks.tags import everywhere, single_labels

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

# Blocks of units that the jackknife leaves out one by one; fewer where there are fewer units.
JACKKNIFE_BLOCKS = 200
JACKKNIFE_SEED = 0
# How the name of a metric begins in JSON.
METRIC = "metric_"


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error over the examples drawn."""

    value: float
    standard_error: float

    @property
    def is_above_noise(self) -> bool:
        """True if it is above zero by more than two of its standard errors."""
        return is_above_noise(self.value, self.standard_error)


class RivalScore(FrozenModel):
    """Score of another way to answer the same rows, and how far ours is ahead of it, paired by unit."""

    score: float
    lead: float
    lead_standard_error: float

    @property
    def is_beaten(self) -> bool:
        """True if ours is ahead by more than two standard errors."""
        return is_above_noise(self.lead, self.lead_standard_error)


@dataclass(frozen=True)
class Interval:
    """Where a score lies with a probability of ``level``, found from ``num_resamples`` resamples."""

    low: float
    high: float
    level: float
    num_resamples: int


@dataclass(frozen=True)
class TaskScore:
    """Quality of a model on one split.

    Args:
        score: Its first metric.
        num_examples: Units scored.
        interval: Of the score; None of a part, and of a single example.
        floors: That metric of each of `floors.FLOORS`, by name.
    """

    metrics: dict[str, float]
    score: Estimate
    num_examples: int
    interval: Interval | None = None
    floors: dict[str, RivalScore] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """As JSON has it, a metric under ``metric_<name>``; `from_json` gives an equal value back."""
        return {
            "score": self.score.value,
            "standard_error": self.score.standard_error,
            "num_examples": self.num_examples,
            "floors": {name: floor.to_json() for name, floor in self.floors.items()},
            **{f"{METRIC}{name}": value for name, value in self.metrics.items()},
            **({"interval": asdict(self.interval)} if self.interval else {}),
        }

    @classmethod
    def from_json(cls, value: JsonObject) -> TaskScore:
        """The value that `to_json` wrote."""
        return cls(
            {name.removeprefix(METRIC): number for name, number in value.items() if name.startswith(METRIC)},
            Estimate(value["score"], value["standard_error"]),
            value["num_examples"],
            Interval(**value["interval"]) if "interval" in value else None,
            {name: RivalScore.from_json(floor) for name, floor in value["floors"].items()},
        )


def score_answers(
    task: Task,
    table: pd.DataFrame,
    answers: Sequence[str],
    *,
    interval: Interval | None = None,
    floors: Mapping[str, Sequence[str]] | None = None,
) -> TaskScore:
    """Score the answers to one labelled split, and each floor's to the same rows, beside an interval.

    The table has columns ``part``, ``group``, ``option`` and ``label``, and a row for each answer.

    Raises:
        ValueError: If there is nothing to score, or the two differ in length.
    """
    if not len(table) or len(table) != len(answers):
        raise ValueError(
            f"{len(table)} labels and {len(answers)} predictions: expected as many of one as of the other, and at "
            "least one"
        )
    metric, scored = task.metrics[0], scored_rows(task, table, answers)
    return TaskScore(
        metrics={name: score(task.form, name, scored) for name in task.metrics},
        score=estimate(lambda rows: score(task.form, metric, scored.taken(rows)), table),
        num_examples=len(units_in(table)),
        interval=interval,
        floors={name: rival_score(task, table, answers, others) for name, others in (floors or {}).items()},
    )


def rival_score(task: Task, table: pd.DataFrame, answers: Sequence[str], others: Sequence[str]) -> RivalScore:
    """The score of other answers to the same rows, by the task's first metric, and how far ours are ahead."""
    metric, ours, theirs = task.metrics[0], scored_rows(task, table, answers), scored_rows(task, table, others)
    lead = estimate(
        lambda rows: score(task.form, metric, ours.taken(rows)) - score(task.form, metric, theirs.taken(rows)), table
    )
    return RivalScore(score=score(task.form, metric, theirs), lead=lead.value, lead_standard_error=lead.standard_error)


def estimate(statistic: Callable[[NDArray[np.int64]], float], table: pd.DataFrame) -> Estimate:
    """A statistic of all rows, with its standard error by a jackknife over blocks of units.

    Units, whole questions where several rows are answered together, are dealt to K blocks at random, seeded; the
    statistic is taken K times without one block: the root of (K - 1) / K times the summed squares of what it moves
    (Quenouille 1956, Tukey 1958). NaN with a single unit.
    """
    units = units_in(table)
    count = min(JACKKNIFE_BLOCKS, len(units))
    value = statistic(np.arange(len(table)))
    if count < 2:
        return Estimate(value, float("nan"))
    order = np.random.default_rng(JACKKNIFE_SEED).permutation(len(units))
    blocks = [np.concatenate([units[unit] for unit in block]) for block in np.array_split(order, count)]
    left = [statistic(np.setdiff1d(np.arange(len(table)), block)) for block in blocks]
    moved = np.array(left) - np.mean(left)
    return Estimate(value, float(np.sqrt((count - 1) / count * np.sum(moved**2))))


def units_in(table: pd.DataFrame) -> list[NDArray[np.int64]]:
    """Row numbers of each group, groups in the order in which they first occur; parts of a split apart."""
    keys = table["part"].astype(str) + "/" + table["group"].astype(str)
    codes = keys.factorize()[0]
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def constant_answers(task: Task, table: pd.DataFrame) -> list[str]:
    """The best answers that ignore the text: one label for all, one place among the options, or the mean value."""
    labels = table["label"].tolist()
    if task.form == Form.REGRESSION:
        return [f"{np.mean([float(label) for label in labels]):.6g}"] * len(labels)
    if task.form.has_labels:
        counts = Counter(single_labels(task.form, labels))
        # The more frequent ones first; F1 is won by the label that it is the F1 of, however rare.
        candidates = sorted(counts, key=lambda label: (-counts[label], label))
        answers_with = partial(everywhere, task.form, labels)
        return max(map(answers_with, candidates), key=partial(score_rows, task, task.metrics[0], table))
    units = units_in(table)
    hits = Counter(place for rows in units for place, row in enumerate(rows) if labels[row] == RIGHT)
    best = min(hits, key=lambda place: (-hits[place], place), default=0)
    answers = [WRONG] * len(labels)
    for rows in units:
        answers[rows[min(best, len(rows) - 1)]] = RIGHT
    return answers

"""Bootstrap intervals of task scores: between which values a score would lie on other examples of the same kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_kedro.evaluation.scores import Interval, units_in
from bort_kedro.evaluation.settings import BootstrapSettings
from bort_kedro.tasks.metrics import OF_TAG_COUNTS, TRUE, Scored, score, scored_rows
from bort_kedro.tasks.table import Form, Task

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

Statistic = Callable[["NDArray[np.int64]"], float]

# Metrics that are a mean over units where they are no function of a confusion matrix, so that a resample needs no new
# look at the rows.
MEANS_OVER_UNITS = ("accuracy", "exact_match", "f1_tokens", "parity")
# Of a standard error, which needs fewer than the ends of an interval.
FEW_RESAMPLES = BootstrapSettings(level=0.68, num_resamples=200, seed=0)
# Drawn units held in memory at once: 8 MB.
UNITS_AT_ONCE = 1_000_000


def score_interval(
    task: Task, table: pd.DataFrame, answers: Sequence[str], settings: BootstrapSettings
) -> Interval | None:
    """The percentile interval of a task's first metric on one labelled split.

    Units are drawn with replacement: a question with all its rows, a pair of AX-g, else a row. A unit that is drawn
    twice counts as two. Every metric is defined on every resample, as `tasks.metrics` says: a correlation of constants
    and an F1 of nothing are 0. The table has columns ``part``, ``group``, ``option`` and ``label``, and a row for each
    answer.

    Returns:
        None with a single unit, which says nothing of others.
    """
    return bootstrap_interval(*_first_metric(task, table, answers), settings)


def score_standard_error(task: Task, table: pd.DataFrame, answers: Sequence[str]) -> float:
    """Of a task's first metric on one labelled split, for other examples of the same kind; NaN with a single unit."""
    statistic, num_units = _first_metric(task, table, answers)
    return math.nan if num_units < 2 else float(_resampled(statistic, num_units, FEW_RESAMPLES).standard_error)


def _first_metric(task: Task, table: pd.DataFrame, answers: Sequence[str]) -> tuple[Statistic, int]:
    scored, units = scored_rows(task, table, answers), units_in(table)
    return statistic_of_units(task, task.metrics[0], scored, units), len(units)


def statistic_of_units(task: Task, metric: str, scored: Scored, units: Sequence[NDArray[np.int64]]) -> Statistic:
    """What `tasks.metrics.score` says of drawn units, by the quickest way there is.

    scikit-learn takes milliseconds to check its inputs, which for a thousand resamples is the wait that one notices.
    """
    if task.form == Form.CLASSIFICATION and metric in OF_CONFUSION:
        return _of_confusion(metric, scored, units)
    if scored.counts is not None:
        sums = np.array([scored.counts[rows].sum(0) for rows in units])
        return lambda drawn: OF_TAG_COUNTS[metric](sums[drawn].sum(0))
    if metric in MEANS_OVER_UNITS:
        values = np.array([score(task.form, metric, _take_units(scored, [rows])) for rows in units])
        return lambda drawn: float(values[drawn].mean())
    return lambda drawn: score(task.form, metric, _take_units(scored, [units[unit] for unit in drawn]))


def bootstrap_interval(statistic: Statistic, num_units: int, settings: BootstrapSettings) -> Interval | None:
    """The percentile interval of a statistic of units.

    Percentile rather than BCa (our decision): it never leaves the metric's range, it is defined for constant data,
    where BCa is not, and it needs no jackknife, which for thousands of units costs more than the resamples do. It is
    a little narrow for few units.

    Returns:
        None with fewer than two units; low and high are equal where all units are alike.

    References:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    if num_units < 2:
        return None
    found = _resampled(statistic, num_units, settings).confidence_interval
    return Interval(float(found.low), float(found.high), settings.level, settings.num_resamples)


def _resampled(statistic: Statistic, num_units: int, settings: BootstrapSettings) -> Any:
    from scipy.stats import bootstrap

    return bootstrap(
        (np.arange(num_units),),
        statistic,
        n_resamples=settings.num_resamples,
        batch=max(1, UNITS_AT_ONCE // num_units),
        vectorized=False,
        confidence_level=settings.level,
        method="percentile",
        rng=np.random.default_rng(settings.seed),
    )


def _of_confusion(metric: str, scored: Scored, units: Sequence[NDArray[np.int64]]) -> Statistic:
    """A metric of drawn units that depends on how often each label was answered by which."""
    labels, answers, size = _coded(metric, scored)
    cells = labels * size + answers
    unit_of = np.empty(len(cells), dtype=np.int64)
    unit_of[np.concatenate(units)] = np.repeat(np.arange(len(units)), [len(rows) for rows in units])

    def statistic(drawn: NDArray[np.int64]) -> float:
        times = np.bincount(drawn, minlength=len(units))
        counts = np.bincount(cells, weights=times[unit_of], minlength=size * size).astype(np.float64)
        return OF_CONFUSION[metric](counts.reshape(size, size))

    return statistic


def _coded(metric: str, scored: Scored) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Labels and answers as numbers, and how many there are; of the F1 of one label 1 is that label, 0 the others."""
    if metric in ("f1", "f1_answers"):
        positive = scored.label_names[1] if metric == "f1" else TRUE
        return (scored.labels == positive).astype(np.int64), (scored.predictions == positive).astype(np.int64), 2
    names, codes = np.unique(np.concatenate([scored.labels, scored.predictions]), return_inverse=True)
    return codes[: len(scored.labels)], codes[len(scored.labels) :], len(names)


def _accuracy(counts: NDArray[np.float64]) -> float:
    return float(np.trace(counts) / counts.sum())


def _f1_of_second(counts: NDArray[np.float64]) -> float:
    occurring = counts[1].sum() + counts[:, 1].sum()
    return float(2.0 * counts[1, 1] / occurring) if occurring else 0.0


def _macro_f1(counts: NDArray[np.float64]) -> float:
    occurring = counts.sum(0) + counts.sum(1)
    return float(np.mean(2.0 * np.diag(counts)[occurring > 0] / occurring[occurring > 0]))


def _matthews(counts: NDArray[np.float64]) -> float:
    """Gorodkin 2004, which is Matthews' of two labels."""
    labels, answers, total = counts.sum(1), counts.sum(0), counts.sum()
    spread = (total**2 - labels @ labels) * (total**2 - answers @ answers)
    return float((np.trace(counts) * total - labels @ answers) / np.sqrt(spread)) if spread > 0 else 0.0


# Functions of (L, L) counts, labels in rows and answers in columns.
OF_CONFUSION: dict[str, Callable[[NDArray[np.float64]], float]] = {
    "accuracy": _accuracy,
    "f1": _f1_of_second,
    "f1_answers": _f1_of_second,
    "macro_f1": _macro_f1,
    "matthews": _matthews,
}


def _take_units(scored: Scored, units: Sequence[NDArray[np.int64]]) -> Scored:
    """The rows of some units, each a group of its own even if it is there before."""
    groups = np.repeat(np.arange(len(units)), [len(each) for each in units])
    return scored.taken(np.concatenate(units), groups)

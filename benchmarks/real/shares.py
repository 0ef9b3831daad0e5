"""What of the encoder's quality an arm keeps: scores, leads over the constant answer, and how sure both are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bort_kedro.evaluation.intervals import statistic_of_units
from bort_kedro.evaluation.scores import units_in
from bort_kedro.tasks.metrics import scored_rows

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bort_kedro.tasks.table import Task

NUM_RESAMPLES = 1000
LEVEL = 0.95
SEED = 0
# A task counts where the encoder is so many standard errors ahead of the constant answer.
LEAST_LEAD = 4.0


@dataclass(frozen=True)
class Score:
    """A task's first metric.

    Args:
        value: On the test split, mean over the seeds.
        resampled: (R,) on resamples of its units; every score of a task has the same resamples.
    """

    value: float
    resampled: NDArray[np.float64]

    @property
    def standard_error(self) -> float:
        """Over the test examples."""
        return float(self.resampled.std(ddof=1))

    def lead_over(self, other: Score) -> Score:
        """The difference, paired by example."""
        return Score(self.value - other.value, self.resampled - other.resampled)


@dataclass(frozen=True)
class KeptShare:
    """The mean share of the encoder's lead over the constant answer that an arm keeps.

    Args:
        value: Over the tasks that count.
        low: Of the interval that resamples of tasks and of their test examples give.
        high: Its other end.
    """

    value: float
    low: float
    high: float


def scores_of(
    task: Task,
    table: pd.DataFrame,
    answers: Mapping[str, Sequence[Sequence[str]]],
    *,
    num_resamples: int = NUM_RESAMPLES,
) -> dict[str, Score]:
    """Of every arm.

    Args:
        task: Says which metric.
        table: The test split.
        answers: By arm, for each seed one for each row.
        num_resamples: R.
    """
    units = units_in(table)
    draws = np.random.default_rng(SEED).integers(len(units), size=(num_resamples, len(units)))
    everything = np.arange(len(units))
    found = {}
    for arm, of_seeds in answers.items():
        seeds = [statistic_of_units(task, task.metrics[0], scored_rows(task, table, each), units) for each in of_seeds]
        values = np.array([[statistic(drawn) for drawn in (everything, *draws)] for statistic in seeds]).mean(axis=0)
        found[arm] = Score(float(values[0]), values[1:])
    return found


def is_counted(encoder: Score, constant: Score) -> bool:
    """Whether a task tells a good encoder from none."""
    lead = encoder.lead_over(constant)
    return lead.value > LEAST_LEAD * lead.standard_error


def kept_share(arm: Sequence[Score], encoder: Sequence[Score], constant: Sequence[Score]) -> KeptShare | None:
    """Over tasks in one order; None without any.

    Tasks are drawn with replacement, and of each that is drawn a resample of its test examples, the same for arm,
    encoder and constant answer.
    """
    if not arm:
        return None
    own = [score.lead_over(base) for score, base in zip(arm, constant, strict=True)]
    best = [score.lead_over(base) for score, base in zip(encoder, constant, strict=True)]
    shares = np.array([lead.resampled / other.resampled for lead, other in zip(own, best, strict=True)])
    generator = np.random.default_rng(SEED)
    tasks = generator.integers(len(shares), size=shares.T.shape)
    resamples = generator.integers(shares.shape[1], size=shares.T.shape)
    ends = np.percentile(shares[tasks, resamples].mean(axis=1), [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    value = np.mean([lead.value / other.value for lead, other in zip(own, best, strict=True)])
    return KeptShare(float(value), float(ends[0]), float(ends[1]))

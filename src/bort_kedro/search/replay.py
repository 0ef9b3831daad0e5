"""Strategies played against a space whose every error is known: how much each finds, for how many trainings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bort_kedro.search.guarantee import guarantee
from bort_kedro.search.hypervolume import hypervolume
from bort_kedro.search.loop import SearchTrace, run_search
from bort_kedro.search.strategies import Outcome, SearchProblem, Trial, build_strategy

# The middle part of the seeds that a band covers.
BAND = (0.1, 0.9)


@dataclass(frozen=True)
class Recorded:
    """Errors that were measured before; calling it answers trials without training.

    Args:
        errors: (N,) after the full training.
        partial_errors: (N,) after a smaller share of it, by share. A share that is not recorded answers with the
            errors of the full training, which flatters successive halving.
    """

    errors: NDArray[np.floating]
    standard_errors: NDArray[np.floating]
    partial_errors: dict[float, NDArray[np.floating]]

    def __call__(self, trials: Sequence[Trial]) -> Iterable[tuple[Trial, Outcome]]:
        for trial in trials:
            errors = self.partial_errors.get(trial.share, self.errors)
            yield (trial, Outcome(float(errors[trial.index]), trial.share, float(self.standard_errors[trial.index])))


@dataclass(frozen=True)
class Finding:
    """What one strategy found with one budget.

    Args:
        w_share: Largest W found over the largest of the space.
        hypervolume_share: Hypervolume of what was trained over that of the whole space.
        epsilon: The guarantee given before the rest was looked at; the W found is at least 1 - epsilon of the best.
            None where it was not asked for.
    """

    cost: float
    w_share: float
    hypervolume_share: float
    epsilon: float | None


def play(name: str, problem: SearchProblem, recorded: Recorded, *, with_guarantee: bool = True) -> Finding:
    """Run a strategy on recorded errors and compare with the best of the space."""
    trace = run_search(build_strategy(name, problem), recorded)
    return judge(trace, problem, recorded, with_guarantee=with_guarantee)


def judge(trace: SearchTrace, problem: SearchProblem, recorded: Recorded, *, with_guarantee: bool = True) -> Finding:
    """What a search found, as shares of what there was to find; the hypervolume on logarithmic axes."""
    finished = trace.finished
    return Finding(
        cost=trace.cost,
        w_share=w_share(problem, recorded.errors, finished),
        hypervolume_share=hypervolume_share(objectives(problem, recorded.errors), finished),
        epsilon=guarantee(problem, trace.outcomes).epsilon if with_guarantee else None,
    )


def w_share(problem: SearchProblem, errors: NDArray[np.floating], found: Sequence[int]) -> float:
    """Largest W of the candidates found over the largest of all."""
    w = problem.w(list(range(len(problem))), errors)
    return float(w[found].max() / w.max())


def hypervolume_share(points: NDArray[np.floating], found: Sequence[int]) -> float:
    """Hypervolume of the candidates found among (N, 3) points over that of all, with a reference a tenth beyond all."""
    reference = np.full(3, 1.1)
    return hypervolume(points[found], reference) / hypervolume(points, reference)


def objectives(
    problem: SearchProblem, errors: NDArray[np.floating], *, are_sizes_logarithmic: bool = True
) -> NDArray[np.float64]:
    """(N, 3) parameters, cost and error, each scaled to the space's range from 0 to 1."""
    sizes = np.column_stack([problem.parameters, problem.cost])
    points = np.column_stack([np.log(sizes) if are_sizes_logarithmic else sizes, errors])
    spread = np.ptp(points, axis=0)
    return np.asarray((points - points.min(axis=0)) / np.where(spread > 0, spread, 1.0))


def compare(
    names: Sequence[str],
    spaces: Sequence[tuple[SearchProblem, Recorded]],
    *,
    budgets: Sequence[int],
    with_guarantee: bool = True,
) -> pd.DataFrame:
    """Every strategy with every budget, in full trainings, on every space: a problem with its errors for each seed.

    Returns:
        One row each: ``strategy``, ``budget``, ``seed`` (the place in ``spaces``) and the fields of `Finding`.
    """
    rows = [
        {
            "strategy": name,
            "budget": budget,
            "seed": seed,
            **vars(play(name, replace(problem, budget=budget), recorded, with_guarantee=with_guarantee)),
        }
        for name in names
        for budget in budgets
        for seed, (problem, recorded) in enumerate(spaces)
    ]
    return pd.DataFrame(rows)


def bands(findings: pd.DataFrame) -> pd.DataFrame:
    """Mean and band over seeds, in the form that `comparison_figure` draws.

    Returns:
        Columns ``strategy``, ``trainings``, ``statistic`` (``hypervolume`` or ``w``), ``mean``, ``lower``, ``upper``.
    """
    rows = []
    for (strategy, _), group in findings.groupby(["strategy", "budget"], sort=False):
        for statistic, column in (("hypervolume", "hypervolume_share"), ("w", "w_share")):
            values = group[column]
            rows.append(
                {
                    "strategy": strategy,
                    "trainings": float(group["cost"].mean()),
                    "statistic": statistic,
                    "mean": float(values.mean()),
                    "lower": float(values.quantile(BAND[0])),
                    "upper": float(values.quantile(BAND[1])),
                }
            )
    return pd.DataFrame(rows)


def subspaces(
    problem: SearchProblem, recorded: Recorded, *, count: int, size: int
) -> list[tuple[SearchProblem, Recorded]]:
    """Random parts of a space, in its order: more spaces to compare strategies on than were recorded.

    The problem's seed draws the parts; each part's own seed is its number.
    """
    generator = np.random.default_rng(problem.seed)
    parts = []
    for number in range(count):
        kept = np.sort(generator.choice(len(problem), size=size, replace=False))
        part, errors = part_of(problem, recorded, kept)
        parts.append((replace(part, seed=number), errors))
    return parts


def part_of(problem: SearchProblem, recorded: Recorded, kept: NDArray[np.integer]) -> tuple[SearchProblem, Recorded]:
    """Some candidates of a space, by their indices, as a space of their own."""
    sizes = {"parameters": problem.parameters[kept], "cost": problem.cost[kept]}
    part = replace(problem, shapes=problem.shapes[kept], **sizes, first=())
    partial = {share: errors[kept] for share, errors in recorded.partial_errors.items()}
    return part, Recorded(recorded.errors[kept], recorded.standard_errors[kept], partial)

"""What the next training promises, for each answer that a user may ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bort_kedro.search.answers import depths_below_line
from bort_kedro.search.hypervolume import expected_gain, hypervolume
from bort_kedro.search.strategies.base import SearchProblem
from bort_kedro.search.w_coefficient import pareto_front

# The reference point lies this part of the range beyond the worst, so that the extremes of the front count too.
REFERENCE_MARGIN = 0.1


@dataclass(frozen=True)
class Belief:
    """What is believed of N candidates when K of them are known.

    Args:
        meets_cap: (K,) whether they meet the cap on the error; only these can be the answer.
        mean: (N,) the error predicted of each candidate, the median of a log-normal distribution.
        deviation: (N,) its standard deviation as a share of it, above 0.
        worst: An error no better than any seen, T's where there is none.
    """

    problem: SearchProblem
    known: NDArray[np.integer]
    errors: NDArray[np.floating]
    meets_cap: NDArray[np.bool_]
    mean: NDArray[np.floating]
    deviation: NDArray[np.floating]
    worst: float

    def with_pick(self, index: int, *, meets_cap: bool) -> Belief:
        """The same, where a candidate turned out as predicted."""
        return replace(
            self,
            known=np.append(self.known, index),
            errors=np.append(self.errors, self.mean[index]),
            meets_cap=np.append(self.meets_cap, meets_cap),
        )

    @property
    def costs(self) -> NDArray[np.float64]:
        """(N, 2) logarithms of parameters and cost."""
        return np.log(np.column_stack([self.problem.parameters, self.problem.cost]))

    @property
    def reference(self) -> NDArray[np.float64]:
        """(3,) beyond the largest candidate and the worst error seen."""
        low, high = self.costs.min(axis=0), self.costs.max(axis=0)
        spread = self.worst - self.errors.min(initial=self.worst)
        return np.array([*(high + REFERENCE_MARGIN * (high - low)), self.worst + REFERENCE_MARGIN * spread])

    def answers(self) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
        """Those known that can be the answer, and their errors."""
        return self.known[self.meets_cap], self.errors[self.meets_cap]

    def front(self) -> NDArray[np.float64]:
        """(K, 3) log parameters, log cost and error of those."""
        known, errors = self.answers()
        return np.column_stack([self.costs[known], errors])


def w_gain(belief: Belief) -> NDArray[np.float64]:
    """(N,) expected gain of the largest W."""
    problem = belief.problem
    return expected_w_gain(problem.w(np.arange(len(problem)), belief.mean), belief.deviation, largest_w(belief))


def largest_w(belief: Belief) -> float:
    """Of those that can be the answer, 0 where there is none."""
    return float(belief.problem.w(*belief.answers()).max(initial=0.0))


def front_gain(belief: Belief) -> NDArray[np.float64]:
    """(N,) expected gain of the hypervolume of log parameters, log cost and error."""
    spread = belief.mean * belief.deviation
    return expected_gain(belief.costs, belief.mean, spread, belief.front(), belief.reference)


def error_gain(belief: Belief) -> NDArray[np.float64]:
    """(N,) expected amount by which the smallest error falls."""
    best = belief.answers()[1].min(initial=belief.reference[2])
    return expected_shortfall(np.full(len(belief.mean), best), belief.mean, belief.deviation)


def knee_gain(belief: Belief) -> NDArray[np.float64]:
    """(N,) expected amount by which the knee sinks below the line from one end of the front to the other.

    The ends are taken to stay: beyond them no candidate counts for more than at them. A front without two of them has
    no line yet, and its width is what is wanted.
    """
    cost = np.log(belief.problem.cost)
    if (line := _line(belief)) is None:
        return front_gain(belief)
    ends, heights = line
    deepest = max(0.0, float(depths_below_line(ends, heights).max()))
    along = np.clip((cost - ends.min()) / np.ptp(ends), 0.0, 1.0)
    # As low as an error must be to lie deeper, at each place along the line; below the lowest end no more is gained.
    needed = np.maximum(heights.min() + np.ptp(heights) * (1.0 - along - deepest), heights.min())
    lowest = np.full_like(needed, heights.min())
    below, beyond = (expected_shortfall(limit, belief.mean, belief.deviation) for limit in (needed, lowest))
    return np.asarray((below - beyond) / np.ptp(heights), dtype=np.float64)


def _line(belief: Belief) -> NDArray[np.float64] | None:
    """(2, F) log cost and error of the front; None where it has no two ends that differ in both."""
    points = belief.front()
    front = points[pareto_front(points), 1:]
    return front.T if len(front) and np.ptp(front, axis=0).all() else None


# Picks take turns between them. Where the answer is a point of the front, its ends count as well.
ACQUISITIONS: dict[str, tuple[Callable[[Belief], NDArray[np.float64]], ...]] = {
    "largest_w": (w_gain, front_gain),
    "pareto_front": (front_gain,),
    "smallest_error": (error_gain,),
    "knee": (knee_gain, front_gain),
}


# What was found of each answer, in the unit of its first gain; 0 where there is nothing yet.
FOUND: dict[str, Callable[[Belief], float]] = {
    "largest_w": largest_w,
    "pareto_front": lambda belief: hypervolume(belief.front(), belief.reference),
    "smallest_error": lambda belief: float(min(belief.answers()[1], default=0.0)),
    "knee": lambda belief: float(_line(belief) is not None),
}


def probability_below(limit: float, mean: NDArray[np.floating], deviation: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) probability of an error no higher than a limit; the arguments as in `Belief`."""
    from scipy.special import ndtr

    return np.asarray(ndtr(np.log(limit / mean) / deviation), dtype=np.float64)


def expected_shortfall(
    limit: NDArray[np.floating], mean: NDArray[np.floating], deviation: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(N,) expected amount by which an error lies below a limit above 0, or 0 where it does not; see `Belief`."""
    from scipy.special import ndtr

    distance = np.log(limit / mean) / deviation
    expected = limit * ndtr(distance) - mean * np.exp(deviation**2 / 2) * ndtr(distance - deviation)
    # Far above the limit the two differ by rounding alone.
    return np.asarray(np.maximum(expected, 0.0), dtype=np.float64)


def expected_w_gain(
    w: NDArray[np.floating], relative_deviation: NDArray[np.floating], best: float
) -> NDArray[np.float64]:
    """(N,) expected amount by which each candidate's W exceeds the best so far, or 0 where it does not.

    W at the predicted error, the median of its distribution, is proportional to 1 / e; the logarithm of e is taken as
    normal, hence that of W too. The deviation of the predicted error is a share of it, above 0.
    """
    from scipy.stats import norm

    # T's own size and beyond has no W above 0, hence nothing to gain.
    positive, best = np.maximum(w, np.finfo(float).tiny), max(best, np.finfo(float).tiny)
    distance = np.log(positive / best) / relative_deviation
    above = positive * np.exp(relative_deviation**2 / 2) * norm.cdf(distance + relative_deviation)
    return np.asarray(above - best * norm.cdf(distance), dtype=np.float64)

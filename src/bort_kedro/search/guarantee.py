"""How far the choice can be from the best of the space: an upper bound of W for all that was not trained.

The sources promise that the best of an epsilon-partition is within a factor |1 - epsilon| of the best of the
space and give no epsilon for a given partition. Here it is computed (docs/decisions/0006-guarantee.md).
"""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from bort_kedro.frozen import FrozenModel
from bort_kedro.search.error_model import ErrorModel
from bort_kedro.search.strategies import Outcome, SearchProblem
from bort_kedro.search.w_coefficient import size_factor
from bort_kedro.statistics import STANDARD_ERRORS_TO_WIN

# Trainings from which on a regression can be asked how far it misses.
FEWEST_FOR_RESIDUAL = 4
# Trained networks compared pair by pair; their number counts squared.
MOST_COMPARED = 2000


class Guarantee(FrozenModel):
    """What can be said of the candidates that were not trained.

    Args:
        noise: Least deviation, as a share of the error, that a training is taken to have; see `guarantee`. None with
            fewer trainings than `FEWEST_FOR_RESIDUAL`.
        epsilon: The W found is at least (1 - epsilon) times the largest of the space.
        bound: Largest W that an untrained candidate could have; 0 if all were trained, and nobody has it.
        num_comparable: Pairs of trained candidates of which one is at least as large in every parameter.
        num_violations: Those in which the larger one's error is higher by more than twice the noise of the two.
        num_beating_maximum: Trained candidates whose error is lower than T's by more than that.
    """

    noise: float | None
    epsilon: float
    bound: float
    bound_index: int | None
    num_comparable: int
    num_violations: int
    num_beating_maximum: int


def guarantee(problem: SearchProblem, outcomes: Mapping[int, Outcome], *, unranked: Collection[int] = ()) -> Guarantee:
    """Bound W over the whole space from the finished trainings.

    The assumption is the theory's: a network that is at least as large in depth, heads, hidden and intermediate size
    has no higher error. So the error of an untrained candidate is at least the lowest of the trained candidates that
    contain it, and at least that of T, each less twice its noise; the lowest, so that one bad training cannot make the
    bound too tight. T should be the best of all. As it may not be, the lowest of all trained, each less twice its
    noise, stands beside it.

    Parameters and cost are exact. A standard error knows nothing of the luck of a seed, so the noise, T's included, is
    at least the share by which a regression on the shape misses candidates left out of it; with too few to tell, no
    candidate bounds those that it contains. Violations of the assumption are counted. Trainings that failed or ended on
    the unigram plateau, where errors say nothing of the shape, bound nothing and are no part of the space; the W of an
    unranked candidate, such as one over a cap, does not count as found.

    References:
        de Wynter 2020, arXiv 2010.08512, for the order of the errors; the bound is our decision.
    """
    ended = {index for index, outcome in outcomes.items() if outcome.share >= 1.0 or outcome.has_failed}
    finished = np.array(sorted(index for index in ended if outcomes[index].has_learned))
    errors = np.array([outcomes[index].error for index in finished])
    floor = relative_residual(problem.shapes[finished], errors)
    standard_errors = np.array([outcomes[index].standard_error for index in finished])
    noise = np.maximum(standard_errors, floor * errors)
    # Where the residual is unknown, the standard errors are all there is.
    known_floor = floor if np.isfinite(floor) else None
    known_noise = np.maximum(standard_errors, (known_floor or 0.0) * errors)
    maximum_noise = max(problem.maximum.standard_error, (known_floor or 0.0) * problem.maximum.error)
    # A space of T's own size has no W above 0, hence nothing to miss.
    counted = ~np.isin(finished, list(unranked))
    found = max(0.0, float(problem.w(finished[counted], errors[counted]).max(initial=0.0)))
    comparable, violations = _violations(problem.shapes[finished], errors, noise)
    beating = _num_beating(problem.maximum.error, maximum_noise, errors, known_noise)
    highest, whose = 0.0, None
    untrained = np.setdiff1d(np.arange(len(problem)), list(ended))
    if untrained.size:
        lowest = float(_least(errors, known_noise).min())
        if not problem.maximum.is_on_plateau:
            lowest = min(lowest, float(_least(problem.maximum.error, maximum_noise)))
        bounds = _bounds(problem, untrained, finished, _least(errors, noise), lowest)
        place = int(np.argmax(bounds))
        highest, whose = float(bounds[place]), int(untrained[place])
    return Guarantee(
        noise=known_floor,
        epsilon=1.0 - found / highest if highest > found else 0.0,
        bound=highest,
        bound_index=whose,
        num_comparable=comparable,
        num_violations=violations,
        num_beating_maximum=beating,
    )


def relative_residual(shapes: NDArray[np.integer], errors: NDArray[np.floating]) -> float:
    """By how much a regression misses those left out, as a share; infinite where too few were trained to tell."""
    if len(errors) < FEWEST_FOR_RESIDUAL:
        return float("inf")
    return ErrorModel.fit(shapes, errors).relative_residual(shapes, errors)


def _least(error: float | NDArray[np.floating], noise: float | NDArray[np.floating]) -> NDArray[np.float64]:
    """The error less twice its noise, taken on the logarithm, as the regression does, so that it stays above 0."""
    return np.asarray(error * np.exp(-STANDARD_ERRORS_TO_WIN * noise / error), dtype=np.float64)


def _bounds(
    problem: SearchProblem,
    untrained: NDArray[np.integer],
    finished: NDArray[np.integer],
    least: NDArray[np.floating],
    lowest: float,
) -> NDArray[np.float64]:
    """(U,) the largest W of each untrained candidate, whose error is nowhere below ``lowest``."""
    containing = np.full(len(untrained), np.inf)
    shapes = problem.shapes[untrained]
    for index, error in zip(finished, least, strict=True):
        is_contained = (shapes <= problem.shapes[index]).all(axis=1)
        containing[is_contained] = np.minimum(containing[is_contained], error)
    errors = np.maximum(np.where(np.isinf(containing), 0.0, containing), lowest)
    sizes = size_factor(problem.maximum, parameters=problem.parameters[untrained], cost=problem.cost[untrained])
    return np.asarray(sizes * problem.maximum.error / errors, dtype=np.float64)


def _violations(
    shapes: NDArray[np.integer], errors: NDArray[np.floating], noise: NDArray[np.floating]
) -> tuple[int, int]:
    """Pairs of which one contains the other, and those in which the larger one errs more, beyond their noise.

    Of more than `MOST_COMPARED` networks only that many are compared, evenly spaced.
    """
    if len(shapes) > MOST_COMPARED:
        kept = np.linspace(0, len(shapes) - 1, MOST_COMPARED).astype(int)
        shapes, errors, noise = shapes[kept], errors[kept], noise[kept]
    comparable = violations = 0
    for index, shape in enumerate(shapes):
        is_larger = (shapes >= shape).all(axis=1) & (shapes > shape).any(axis=1)
        allowed = STANDARD_ERRORS_TO_WIN * np.hypot(noise, noise[index])
        comparable += int(is_larger.sum())
        violations += int((is_larger & (errors - errors[index] > allowed)).sum())
    return comparable, violations


def _num_beating(
    maximum_error: float, maximum_noise: float, errors: NDArray[np.floating], noise: NDArray[np.floating]
) -> int:
    """Candidates with a lower error than T, beyond their noise."""
    allowed = STANDARD_ERRORS_TO_WIN * np.hypot(noise, maximum_noise)
    return int((maximum_error - errors > allowed).sum())

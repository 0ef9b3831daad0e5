"""The W-coefficient and the Pareto front: which shape is best, and which are not beaten."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bort_kedro.errors import TrainingError


@dataclass(frozen=True)
class MaximumPoint:
    """T: the network that no candidate exceeds in size, and none should beat in error.

    Args:
        cost: i(T), in the unit of the candidates' cost: operations or milliseconds.
        error: e(T), of the same measure as the candidates'.
        is_on_plateau: Whether it learned no more than the most frequent token; it then bounds and teaches nothing.
    """

    parameters: float
    cost: float
    error: float
    standard_error: float = 0.0
    is_on_plateau: bool = False


def require_above_zero(error: float, whose: str) -> float:
    """The error, which W divides by and the regression takes the logarithm of.

    Raises:
        TrainingError: If it is 0: nothing that it is scored on was guessed wrong.
    """
    if error == 0:
        raise TrainingError(
            f"The error of {whose} is exactly 0, allowed is above 0, since W divides by it: what it is scored on is "
            "too easy, or too small, to tell such encoders apart. Set params:search.error_measure to loss, for which "
            "the trainings are kept, or raise params:corpus.splits.validation."
        )
    return error


def size_factor(
    maximum: MaximumPoint, *, parameters: NDArray[np.floating], cost: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(N,) the part of W that is known without training: (p(T) - p(f)) / p(T) * (i(T) - i(f)) / i(T)."""
    saved = (maximum.parameters - parameters) / maximum.parameters
    return np.asarray(saved * (maximum.cost - cost) / maximum.cost, dtype=np.float64)


def w_coefficient(
    maximum: MaximumPoint, *, parameters: NDArray[np.floating], cost: NDArray[np.floating], error: NDArray[np.floating]
) -> NDArray[np.float64]:
    """W(f, T) = (p(T) - p(f)) / p(T) * (i(T) - i(f)) / i(T) * e(T) / e(f), to be maximised, of (N,) candidates f.

    The sources divide by e(f) alone; the constant e(T) changes no ranking and keeps W within [0, 1] wherever T is the
    largest and best, as its definition asks (our reading, docs/decisions/0003-w-coefficient.md). W of an error of 0 is
    infinite.

    References:
        de Wynter 2020, arXiv 2010.08512, definition 8.
    """
    with np.errstate(divide="ignore"):
        return size_factor(maximum, parameters=parameters, cost=cost) * maximum.error / error


def w_standard_error(w: float, error: float, error_standard_error: float) -> float:
    """First-order standard error of W from that of the candidate's error: W is proportional to 1 / e."""
    return w * error_standard_error / error


def pareto_front(objectives: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N,) True for rows of an (N, K) array, all to be minimised, that no other row beats.

    A row beats another if it is no worse anywhere and better somewhere; equal rows do not beat each other.
    A row with a NaN is never on the front.
    """
    front = np.zeros(len(objectives), dtype=bool)
    known = np.flatnonzero(~np.isnan(objectives).any(axis=1))
    # In this order a row can only be beaten by one before it, so the first of those left is on the front.
    left = known[np.lexsort(objectives[known].T[::-1])]
    while left.size:
        first, left = left[0], left[1:]
        front[first] = True
        others = objectives[left]
        is_better_somewhere = (others < objectives[first]).any(axis=1)
        left = left[is_better_somewhere | (others == objectives[first]).all(axis=1)]
    return front


def front_layers(objectives: NDArray[np.floating]) -> NDArray[np.int64]:
    """(N,) 0 for rows on the Pareto front, 1 on that of the rest, and so on; rows with a NaN come behind all."""
    layers = np.full(len(objectives), -1, dtype=np.int64)
    is_known = ~np.isnan(objectives).any(axis=1)
    layer = 0
    while (rest := np.flatnonzero(is_known & (layers < 0))).size:
        layers[rest[pareto_front(objectives[rest])]] = layer
        layer += 1
    layers[~is_known] = layer
    return layers

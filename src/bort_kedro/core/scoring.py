"""The W-coefficient and the Pareto front: which shape is best, and which are not beaten."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def w_coefficient(
    *,
    parameters: NDArray[np.floating],
    operations: NDArray[np.floating],
    error: NDArray[np.floating],
    maximum_parameters: float,
    maximum_operations: float,
    maximum_error: float,
) -> NDArray[np.float64]:
    """W(f, T) = (p(T) - p(f)) / p(T) * (i(T) - i(f)) / i(T) * e(T) / e(f), to be maximised.

    The sources divide by e(f) alone; the constant e(T) changes no ranking and keeps W within [0, 1] wherever
    T is the largest and best, as its definition asks (our reading, docs/decisions/0003-w-coefficient.md).

    Args:
        parameters: (N,) p of each candidate f.
        operations: (N,) i of each candidate.
        error: (N,) e of each candidate, above 0.
        maximum_parameters: p(T), of the maximum point.
        maximum_operations: i(T).
        maximum_error: e(T).

    References:
        de Wynter 2020, arXiv 2010.08512, definition 8.
    """
    return (
        (maximum_parameters - parameters)
        / maximum_parameters
        * (maximum_operations - operations)
        / maximum_operations
        * maximum_error
        / error
    )


def pareto_front(objectives: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N,) True for rows of an (N, K) array, all to be minimised, that no other row beats.

    A row beats another if it is no worse anywhere and better somewhere; equal rows do not beat each other.
    A row with a NaN is never on the front.
    """
    known = ~np.isnan(objectives).any(axis=1)
    front = known.copy()
    for index in np.flatnonzero(known):
        others = objectives[known]
        beats = (others <= objectives[index]).all(axis=1) & (others < objectives[index]).any(axis=1)
        front[index] = not bool(beats.any())
    return np.asarray(front, dtype=bool)


def w_standard_error(w: float, error: float, error_standard_error: float) -> float:
    """First-order standard error of W from that of the candidate's error: W is proportional to 1 / e."""
    return w * error_standard_error / error

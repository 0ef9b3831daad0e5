"""Standard errors and baselines that the reports compare with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    pass


def clustered_standard_error(values: NDArray[np.generic], cluster_of: NDArray[np.integer]) -> float:
    """Standard error of the mean of (N,) values that are independent between clusters only, such as tokens of blocks.

    Linearised ratio estimator: the square root of K / (K - 1) times the summed squares of each cluster's residual
    total, over N. NaN with fewer than two clusters.
    """
    _, compact = np.unique(cluster_of, return_inverse=True)
    count = int(compact.max()) + 1
    if count < 2:
        return float("nan")
    numbers = values.astype(np.float64)
    residuals = np.bincount(compact, weights=numbers - numbers.mean(), minlength=count)
    return float(np.sqrt(count / (count - 1) * np.sum(residuals**2)) / len(numbers))


# A difference counts when it is above this many of its standard errors.
STANDARD_ERRORS_TO_WIN = 2.0


def is_on_plateau(
    error: float | NDArray[np.floating], standard_error: float | NDArray[np.floating], unigram_error: float | None
) -> NDArray[np.bool_]:
    """True where a model learned no more than the most frequent answer: no error that is lower beyond its noise.

    That of always giving it may be unknown (None), and then nothing is on the plateau; no NaN ever is.
    """
    least = np.inf if unigram_error is None else unigram_error
    return np.asarray(error) > least - STANDARD_ERRORS_TO_WIN * np.asarray(standard_error)


def is_above_noise(difference: float, standard_error: float) -> bool:
    """True for a difference above twice its standard error; False where the error is NaN."""
    return bool(difference > STANDARD_ERRORS_TO_WIN * standard_error)


def is_missing(value: float | None) -> bool:
    """True for None and NaN: not measured."""
    return value is None or math.isnan(value)

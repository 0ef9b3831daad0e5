"""How far the probabilities of a model are from how often it is right, and the temperature that brings them nearer.

Dividing all logits by one number changes no answer (Guo et al. 2017, arXiv 1706.04599).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from bort_kedro.frozen import FrozenModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of equal width, as published.
NUM_BINS = 15
# Fewer examples say too little of confidence.
LEAST_EXAMPLES = 50
TEMPERATURES = (0.2, 5.0)
# Below all probabilities in double precision.
LEAST_PROBABILITY = 1e-300


class Calibration(FrozenModel):
    """How well probabilities hold on one split.

    Args:
        temperature: That logits were divided by, fitted on dev.
        error_before: Expected calibration error of the probabilities without it.
        num_questions: That it is taken over: rows, questions of multiple choice or words.
    """

    temperature: float
    error_before: float
    error: float
    num_questions: int


def fit_temperature(
    probabilities: NDArray[np.float64], targets: NDArray[np.floating], starts: NDArray[np.int64]
) -> float:
    """The temperature that makes the true answers likeliest.

    One more question is counted whose true answer is drawn at random: without it a model that is always right would be
    made surer without end.

    Args:
        probabilities: (M,) of all answers, those to one question behind each other.
        targets: (M,) 1 for the true ones, or shares of several.
        starts: (U + 1,) first answer of each question, M at the end.

    Returns:
        In `TEMPERATURES`; 1 with fewer than `LEAST_EXAMPLES` questions.
    """
    from scipy.optimize import minimize_scalar

    if len(starts) - 1 < LEAST_EXAMPLES:
        return 1.0

    counts = np.diff(starts)
    wanted = targets + np.repeat(1 / counts, counts) / len(counts)

    def surprise(log_temperature: float) -> float:
        with_it = at_temperature(probabilities, float(np.exp(log_temperature)), starts)
        return float(-(wanted * np.log(np.maximum(with_it, LEAST_PROBABILITY))).sum())

    bounds = tuple(np.log(TEMPERATURES))
    return float(np.exp(minimize_scalar(surprise, bounds=bounds, method="bounded").x))


def at_temperature(
    probabilities: NDArray[np.float64], temperature: float, starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(M,) the probabilities that the same logits, divided by so much, give; those given at 1."""
    if temperature == 1:
        return probabilities
    logits = np.log(np.maximum(probabilities, LEAST_PROBABILITY)) / temperature
    counts = np.diff(starts)
    shifted = np.exp(logits - np.repeat(np.maximum.reduceat(logits, starts[:-1]), counts))
    shares: NDArray[np.float64] = shifted / np.repeat(np.add.reduceat(shifted, starts[:-1]), counts)
    return shares


def calibration_of(
    probabilities: NDArray[np.float64], targets: NDArray[np.floating], starts: NDArray[np.int64], temperature: float
) -> Calibration:
    """How well probabilities hold that have a temperature in them; arguments as of `fit_temperature`."""
    likeliest = np.array([start + probabilities[start:stop].argmax() for start, stop in pairwise(starts)])

    def error(shares: NDArray[np.float64]) -> float:
        return expected_calibration_error(shares[likeliest], targets[likeliest] > 0)

    return Calibration(
        temperature=temperature,
        error_before=error(at_temperature(probabilities, 1 / temperature, starts)),
        error=error(probabilities),
        num_questions=len(likeliest),
    )


def expected_calibration_error(confidence: NDArray[np.float64], is_right: NDArray[np.bool_]) -> float:
    """How far confidence is from the share of right answers, on average over bins of confidence; (U,) each."""
    bins = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
    gaps = np.bincount(bins, weights=confidence, minlength=NUM_BINS) - np.bincount(
        bins, weights=is_right, minlength=NUM_BINS
    )
    return float(np.abs(gaps).sum() / len(confidence))

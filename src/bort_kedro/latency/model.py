"""From operations to milliseconds: a few measured shapes tell the latency of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bort_kedro.encoders.costs import ShapeArrays, count_operations
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.frozen import FrozenModel

# Terms of the sum by number of measured shapes, from the least number on; names are those of the coefficients.
TERMS = {
    1: ("ms_per_billion_operations",),
    2: ("constant_ms", "ms_per_billion_operations"),
    4: ("constant_ms", "ms_per_layer", "ms_per_billion_multiply_accumulates", "ms_per_billion_other_operations"),
}
BILLION = 1e9
# The fewest measured shapes whose left-out predictions say anything of the model.
FEWEST_FOR_CALIBRATION = 3


@dataclass(frozen=True)
class LatencyModel:
    """Milliseconds of a forward pass of so many tokens as a sum of terms, none of which is negative.

    A constant, one for each layer, one for each multiply-accumulate and one for each other operation; fewer terms where
    fewer shapes were measured (`TERMS`); the names of the coefficients say the units. Least squares of relative
    residuals, so that small shapes count as much as large ones. The form is our decision.
    """

    coefficients: Mapping[str, float]
    sequence_length: int

    @classmethod
    def fit(
        cls,
        shapes: Sequence[BertShape] | NDArray[np.integer],
        latency_ms: NDArray[np.floating],
        *,
        sequence_length: int,
    ) -> LatencyModel:
        """Fit to N shapes, or (N, 4) rows of (D, A, H, I), and their (N,) milliseconds, N being 1 or more."""
        from scipy.optimize import nnls

        names = TERMS[max(number for number in TERMS if number <= len(latency_ms))]
        terms = _terms(shapes, names, sequence_length=sequence_length) / latency_ms[:, None]
        # Equal columns' lengths, since the solver knows one tolerance for all coefficients.
        lengths = np.linalg.norm(terms, axis=0)
        solution, _ = nnls(terms / lengths, np.ones(len(terms)))
        return cls(dict(zip(names, (solution / lengths).tolist(), strict=True)), sequence_length)

    def predict(self, shapes: Sequence[BertShape] | NDArray[np.integer]) -> NDArray[np.float64]:
        """(M,) milliseconds of M shapes, or of (M, 4) rows."""
        terms = _terms(shapes, tuple(self.coefficients), sequence_length=self.sequence_length)
        return np.asarray(terms @ np.array(list(self.coefficients.values())))


class Calibration(FrozenModel):
    """How well a latency model predicts shapes that it was not fitted to.

    All but the last two are of predictions that left the shape itself out, and None with fewer than
    `FEWEST_FOR_CALIBRATION` measured.

    Args:
        rank_correlation: Spearman's, of predicted and measured milliseconds; None also where either is constant.
        median_relative_residual: Median of |predicted - measured| / measured.
        coefficients: Of the model fitted to all, by name, which says the unit.
    """

    rank_correlation: float | None
    median_relative_residual: float | None
    largest_relative_residual: float | None
    num_measured: int
    coefficients: dict[str, float]


def calibrate(
    shapes: Sequence[BertShape] | NDArray[np.integer], latency_ms: NDArray[np.floating], *, sequence_length: int
) -> tuple[NDArray[np.float64], Calibration]:
    """Predict every measured shape, of N or of (N, 4) rows, from the others, and judge the predictions.

    Returns:
        (N,) milliseconds predicted from the others, NaN where there are none; and what they say of the model.
    """
    from scipy.stats import spearmanr

    count = len(latency_ms)
    left_out = np.full(count, np.nan)
    for row in range(count if count > 1 else 0):
        others = [number for number in range(count) if number != row]
        model = LatencyModel.fit(_some(shapes, others), latency_ms[others], sequence_length=sequence_length)
        left_out[row] = model.predict(_some(shapes, [row]))[0]
    residuals = np.abs(left_out - latency_ms) / latency_ms
    is_enough = count >= FEWEST_FOR_CALIBRATION
    is_ranked = is_enough and np.ptp(latency_ms) > 0 and np.ptp(left_out) > 0
    return left_out, Calibration(
        rank_correlation=float(spearmanr(left_out, latency_ms).statistic) if is_ranked else None,
        median_relative_residual=float(np.median(residuals)) if is_enough else None,
        largest_relative_residual=float(residuals.max()) if is_enough else None,
        num_measured=count,
        coefficients=dict(LatencyModel.fit(shapes, latency_ms, sequence_length=sequence_length).coefficients),
    )


def _some(
    shapes: Sequence[BertShape] | NDArray[np.integer], rows: list[int]
) -> Sequence[BertShape] | NDArray[np.integer]:
    return shapes[rows] if isinstance(shapes, np.ndarray) else [shapes[row] for row in rows]


def _terms(
    shapes: Sequence[BertShape] | NDArray[np.integer], names: tuple[str, ...], *, sequence_length: int
) -> NDArray[np.float64]:
    """(N, K) what each coefficient is multiplied with."""
    arrays = ShapeArrays.of(shapes)
    operations = count_operations(arrays, sequence_length=sequence_length)
    columns = {
        "constant_ms": np.ones(len(arrays.num_hidden_layers)),
        "ms_per_layer": arrays.num_hidden_layers,
        "ms_per_billion_operations": operations.total / BILLION,
        "ms_per_billion_multiply_accumulates": operations.multiply_accumulates / BILLION,
        "ms_per_billion_other_operations": operations.other / BILLION,
    }
    return np.column_stack([columns[name] for name in names])

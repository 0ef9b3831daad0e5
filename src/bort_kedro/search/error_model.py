"""What error to expect of a shape that was not trained: ridge regression on the logarithm of the shape."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bort_kedro.errors import TrainingError

if TYPE_CHECKING:
    from sklearn.linear_model import BayesianRidge

# Priors of the precisions of noise and coefficients, as shape and rate of gamma distributions, for a log error of
# unit variance. scikit-learn's own say nothing, and four errors then determine four coefficients with no doubt left.
NOISE_PRIOR = {"alpha_1": 1.0, "alpha_2": 0.3}
COEFFICIENT_PRIOR = {"lambda_1": 1.0, "lambda_2": 3.0}
# Quadratic terms are tried from this many errors per coefficient up; below, their predictions are too sure.
ERRORS_PER_QUADRATIC_COEFFICIENT = 2

# Refitting without each row in turn takes a millisecond a row up to here.
MOST_REFITTED = 500


@dataclass(frozen=True)
class ErrorModel:
    """Bayesian ridge regression of the logarithm of the error on log D, log A, log H and log I.

    The logarithm of the error is regressed, not the error. On made-up laws, leave-one-out predictions are then
    closer for power laws, with a floor or without; as close for an error linear in the log-shape; and worse only
    where small shapes stay on a plateau, which quadratic terms mend. Besides, an extrapolated error stays positive.
    The coefficient of an axis with one value among the trained keeps its prior: stepping off it is uncertain.

    Args:
        regression: Fitted by scikit-learn, on standardised logarithms.
        log_shape_mean: (4,) of the trained shapes.
        log_shape_scale: (4,) their standard deviation, 1 on an axis with one value.
        log_error_scale: Their standard deviation, 1 where there is none.

    References:
        MacKay 1992, "Bayesian interpolation", for the regression; its form is our decision.
    """

    regression: BayesianRidge
    log_shape_mean: NDArray[np.float64]
    log_shape_scale: NDArray[np.float64]
    log_error_mean: float
    log_error_scale: float
    is_quadratic: bool

    @classmethod
    def fit(cls, shapes: NDArray[np.number], errors: NDArray[np.floating]) -> ErrorModel:
        """Fit to N trained shapes, (N, 4) of (D, A, H, I) above 0, with errors (N,) above 0, N being 1 or more.

        With N = 1 the prior alone speaks: the one error for all, with a deviation of 0.45 times itself on the same
        shape, and 1.8 times itself on one with a parameter e times as large.

        Raises:
            TrainingError: If there is no error, or one that has no logarithm.
        """
        _check(errors)
        log_shapes, log_errors = np.log(shapes), np.log(errors)
        linear = cls._fitted(log_shapes, log_errors, is_quadratic=False)
        num_varied = int((np.ptp(log_shapes, axis=0) > 0).sum())
        num_coefficients = 1 + num_varied + num_varied * (num_varied + 1) // 2
        if len(errors) < ERRORS_PER_QUADRATIC_COEFFICIENT * num_coefficients:
            return linear
        quadratic = cls._fitted(log_shapes, log_errors, is_quadratic=True)
        return min(linear, quadratic, key=lambda model: model._leave_one_out_error(log_shapes, log_errors))

    @classmethod
    def _fitted(
        cls, log_shapes: NDArray[np.float64], log_errors: NDArray[np.float64], *, is_quadratic: bool
    ) -> ErrorModel:
        from sklearn.linear_model import BayesianRidge

        model = cls(
            regression=BayesianRidge(**NOISE_PRIOR, **COEFFICIENT_PRIOR),
            log_shape_mean=log_shapes.mean(axis=0),
            log_shape_scale=_scale(log_shapes),
            log_error_mean=float(log_errors.mean()),
            log_error_scale=float(_scale(log_errors)),
            is_quadratic=is_quadratic,
        )
        model.regression.fit(model._features(log_shapes), (log_errors - model.log_error_mean) / model.log_error_scale)
        return model

    def predict(self, shapes: NDArray[np.number]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Expected error (M,) and its standard deviation (M,), noise of a training included, for (M, 4) shapes.

        The deviation is that of the logarithm times the error (first order), and the expected error the exponential
        of the expected logarithm: the median.
        """
        mean, deviation = self.regression.predict(self._features(np.log(shapes)), return_std=True)
        error = np.exp(mean * self.log_error_scale + self.log_error_mean)
        return error, error * deviation * self.log_error_scale

    def relative_residual(self, shapes: NDArray[np.number], errors: NDArray[np.floating]) -> float:
        """Root mean square by which the rows it was fitted to are missed when left out, as a share of the error."""
        mean_square = self._leave_one_out_error(np.log(shapes), np.log(errors))
        return float(np.sqrt(mean_square)) * self.log_error_scale

    def _features(self, log_shapes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(M, 4) standardised logarithms, or (M, 14) with their squares and products."""
        linear = (log_shapes - self.log_shape_mean) / self.log_shape_scale
        if not self.is_quadratic:
            return linear
        pairs = combinations_with_replacement(range(linear.shape[1]), 2)
        return np.column_stack([linear, *(linear[:, first] * linear[:, second] for first, second in pairs)])

    def _leave_one_out_error(self, log_shapes: NDArray[np.float64], log_errors: NDArray[np.float64]) -> float:
        """Mean square of leave-one-out residuals of the log error, for the precisions found with all rows.

        A linear smoother's residual without row i is its residual divided by 1 - leverage of i.
        """
        features = self._features(log_shapes)
        target = (log_errors - self.log_error_mean) / self.log_error_scale
        centred = features - features.mean(axis=0)
        covariance = self.regression.alpha_ * self.regression.sigma_
        leverage = 1 / len(target) + np.einsum("ij,jk,ik->i", centred, covariance, centred)
        return float(np.mean(((target - self.regression.predict(features)) / (1 - leverage)) ** 2))


def leave_one_out(shapes: NDArray[np.number], errors: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) the error of each row of (N, 4) shapes as predicted from all others; NaN if there are no others.

    With more than `MOST_REFITTED` rows, as predicted from all: one among so many hardly pulls the fit its way.
    """
    if len(errors) > MOST_REFITTED:
        return ErrorModel.fit(shapes, errors).predict(shapes)[0]
    predictions = np.full(len(errors), np.nan)
    if len(errors) > 1:
        for row in range(len(errors)):
            others = np.arange(len(errors)) != row
            predictions[row] = ErrorModel.fit(shapes[others], errors[others]).predict(shapes[[row]])[0][0]
    return predictions


def _scale(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation over rows, 1 where all are equal."""
    # Equal values have a standard deviation of rounding errors, and a range of exactly 0.
    return np.where(np.ptp(values, axis=0) > 0, values.std(axis=0), 1.0)


def _check(errors: NDArray[np.floating]) -> None:
    if not len(errors):
        raise TrainingError(
            "The error model was given 0 trained candidates, allowed is 1 or more. Raise budget under params:search."
        )
    wrong = errors[~(np.isfinite(errors) & (errors > 0))]
    if wrong.size:
        raise TrainingError(
            f"The error model was given an error of {wrong[0]} ({wrong.size} of {len(errors)} trained candidates), "
            "allowed are finite numbers above 0, as it takes their logarithms."
        )

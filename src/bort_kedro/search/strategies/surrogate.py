"""Half the budget on representatives, the rest where a regression of the error promises most."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bort_kedro.search.error_model import ErrorModel
from bort_kedro.search.hypervolume import expected_gain
from bort_kedro.search.strategies.base import Outcome, Strategy, Trial
from bort_kedro.search.strategies.partition import representatives

# Part of the representatives in the budget.
REPRESENTATIVE_SHARE = 0.5
# The reference point lies this part of the range beyond the worst, so that the extremes of the front count too.
REFERENCE_MARGIN = 0.1


class Surrogate(Strategy):
    """Train the middle of intervals first; then, pick by pick, whoever promises most.

    A ridge regression of the error on the logarithm of the shape, refitted before every round, predicts the
    untrained; parameters and cost are exact, and T, which is trained anyway, is one of its points unless it is on the
    unigram plateau. Picks widen the
    Pareto front most in expectation (gain of the hypervolume of log parameters, log cost and error); where the
    largest W is asked for, every second one looks for that instead (expected gain of W). Within a round, a candidate
    picked is believed to turn out as predicted while the next is picked. Candidates that failed teach nothing; nor do
    those on the unigram plateau, unless all are on it.

    References:
        de Wynter 2020, arXiv 2010.08512, for the error as a function of the shape; the rest is our decision,
        docs/decisions/0007-strategies.md, which has the figures.
    """

    def ask(self, outcomes: Mapping[int, Outcome]) -> list[Trial]:
        problem = self.problem
        first = representatives(len(problem), budget=max(1, round(REPRESENTATIVE_SHARE * problem.budget)))
        wanted = [Trial(index) for index in first if index not in outcomes]
        if wanted:
            return wanted
        left = min(problem.budget, len(problem)) - len(outcomes)
        count = max(0, min(problem.trials_per_round, left))
        return [Trial(index) for index in sorted(self._picks(outcomes, count))] if count else []

    def _picks(self, outcomes: Mapping[int, Outcome], count: int) -> list[int]:
        tried = sorted(outcomes)
        finite = [index for index in tried if not outcomes[index].has_failed]
        known = [index for index in finite if outcomes[index].has_learned] or finite
        errors = [outcomes[index].error for index in known]
        mean, deviation = self._model(known, errors).predict(self.problem.shapes)
        reference = self._reference(np.array(errors or [self.problem.maximum.error]))
        for number in range(len(tried), len(tried) + count):
            if number % 2 or not self.problem.seeks_w:
                points = np.column_stack([self._costs[known], errors])
                gain = expected_gain(self._costs, mean, deviation, points, reference)
            else:
                best = float(self.problem.w(known, np.array(errors)).max(initial=0.0))
                gain = expected_w_gain(self.problem.w(np.arange(len(mean)), mean), deviation / mean, best)
            gain[tried] = -np.inf
            pick = int(np.argmax(gain))
            for trained in (tried, known):
                trained.append(pick)
            errors.append(float(mean[pick]))
        return tried[len(outcomes) :]

    def _model(self, known: list[int], errors: list[float]) -> ErrorModel:
        shapes, maximum, maximum_shape = self.problem.shapes[known], self.problem.maximum, self.problem.maximum_shape
        if maximum_shape is None or (known and maximum.is_on_plateau):
            return ErrorModel.fit(shapes, np.array(errors))
        return ErrorModel.fit(np.vstack([shapes, maximum_shape]), np.array([*errors, maximum.error]))

    @property
    def _costs(self) -> NDArray[np.float64]:
        """(N, 2) logarithms of parameters and cost."""
        return np.log(np.column_stack([self.problem.parameters, self.problem.cost]))

    def _reference(self, errors: NDArray[np.floating]) -> NDArray[np.float64]:
        """(3,) beyond the largest candidate and the worst error seen."""
        low, high = self._costs.min(axis=0), self._costs.max(axis=0)
        worst = errors.max() + REFERENCE_MARGIN * (errors.max() - errors.min())
        return np.array([*(high + REFERENCE_MARGIN * (high - low)), worst])


def expected_w_gain(
    w: NDArray[np.floating], relative_deviation: NDArray[np.floating], best: float
) -> NDArray[np.float64]:
    """(N,) expected amount by which each candidate's W exceeds the best so far, or 0 where it does not.

    W is proportional to 1 / e; the logarithm of e is taken as normal, hence that of W too.

    Args:
        w: (N,) W at the predicted error, the median of its distribution.
        relative_deviation: (N,) deviation of the predicted error as a share of it, above 0.
        best: Largest W found.
    """
    from scipy.stats import norm

    # T's own size and beyond has no W above 0, hence nothing to gain.
    positive, best = np.maximum(w, np.finfo(float).tiny), max(best, np.finfo(float).tiny)
    distance = np.log(positive / best) / relative_deviation
    above = positive * np.exp(relative_deviation**2 / 2) * norm.cdf(distance + relative_deviation)
    return np.asarray(above - best * norm.cdf(distance), dtype=np.float64)

"""Half the budget on representatives, the rest where a regression of the error promises most of what is asked for."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bort_kedro.search.error_model import ErrorModel
from bort_kedro.search.strategies.acquisition import ACQUISITIONS, FOUND, Belief, probability_below
from bort_kedro.search.strategies.base import Outcome, Strategy, Trial
from bort_kedro.search.strategies.partition import representatives

# Part of the representatives in the budget.
REPRESENTATIVE_SHARE = 0.5


class Surrogate(Strategy):
    """Train the middle of intervals first; then, pick by pick, whoever promises most.

    A ridge regression of the error on the logarithm of the shape, refitted before every round, predicts the
    untrained; parameters and cost are exact, and T, which is trained anyway, is one of its points unless it is on the
    unigram plateau. A pick has the largest expected gain of what is asked for, times the probability that it meets
    `max_error`: of the smallest error; of the hypervolume of the Pareto front (log parameters, log cost, error); or,
    every second pick, of the largest W or the depth of the knee, and of the front's hypervolume in between. Within a
    round, a candidate picked is believed to turn out as predicted while the next is picked. Candidates that failed
    teach nothing; nor do those on the unigram plateau, unless all are on it.

    References:
        de Wynter 2020, arXiv 2010.08512, for the error as a function of the shape; the rest is our decision,
        docs/decisions/0007-strategies.md, which has the figures.
    """

    expects_gain = True

    def choose(self, outcomes: Mapping[int, Outcome]) -> list[Trial]:
        problem = self.problem
        left = max(0, min(problem.budget, len(problem)) - len(outcomes))
        if wanted := self._representatives(outcomes):
            return wanted[:left]
        count = min(problem.trials_per_round, left)
        return [Trial(index) for index in sorted(self._picks(outcomes, count))] if count else []

    def expected_gain(self, outcomes: Mapping[int, Outcome]) -> float | None:
        if self._representatives(outcomes):
            return None
        belief, is_likely = self._belief(outcomes)
        gain = ACQUISITIONS[self.problem.answer][0](belief) * is_likely
        gain[list(outcomes)] = 0.0
        found = FOUND[self.problem.answer](belief)
        return float(gain.max()) / found if found else math.inf

    def _representatives(self, outcomes: Mapping[int, Outcome]) -> list[Trial]:
        """Those that are not known yet."""
        budget = max(1, round(REPRESENTATIVE_SHARE * self.problem.budget))
        chosen = representatives(len(self.problem), budget=budget, first=self.problem.first)
        return [Trial(index) for index in chosen if index not in outcomes]

    def _picks(self, outcomes: Mapping[int, Outcome], count: int) -> list[int]:
        tried = sorted(outcomes)
        belief, is_likely = self._belief(outcomes)
        gains = ACQUISITIONS[self.problem.answer]
        for number in range(len(tried), len(tried) + count):
            gain = gains[number % len(gains)](belief) * is_likely
            gain[tried] = -np.inf
            pick = int(np.argmax(gain))
            tried.append(pick)
            belief = belief.with_pick(pick, meets_cap=bool(is_likely[pick] >= 0.5))
        return tried[len(outcomes) :]

    def _belief(self, outcomes: Mapping[int, Outcome]) -> tuple[Belief, NDArray[np.float64]]:
        """What is believed of all candidates, and (N,) how likely each is to meet the cap on the error."""
        finite = [index for index in sorted(outcomes) if not outcomes[index].has_failed]
        known = [index for index in finite if outcomes[index].has_learned] or finite
        errors = np.array([outcomes[index].error for index in known])
        mean, deviation = self._model(known, errors).predict(self.problem.shapes)
        cap = self.problem.max_error
        belief = Belief(
            self.problem,
            np.array(known, dtype=int),
            errors,
            np.array([cap is None or outcomes[index].capped <= cap for index in known], dtype=bool),
            mean,
            deviation / mean,
            max(errors, default=self.problem.maximum.error),
        )
        return belief, self._probability_of_the_cap(known, outcomes, mean, deviation)

    def _probability_of_the_cap(
        self,
        known: list[int],
        outcomes: Mapping[int, Outcome],
        mean: NDArray[np.floating],
        deviation: NDArray[np.floating],
    ) -> NDArray[np.float64]:
        """(N,) that a candidate meets the cap on the error, which another measure than W's may be limited by."""
        if self.problem.max_error is None or not known:
            return np.ones(len(self.problem))
        if any(outcomes[index].capped_error is not None for index in known):
            capped = np.array([outcomes[index].capped for index in known])
            mean, deviation = ErrorModel.fit(self.problem.shapes[known], capped).predict(self.problem.shapes)
        return probability_below(self.problem.max_error, mean, deviation / mean)

    def _model(self, known: list[int], errors: NDArray[np.floating]) -> ErrorModel:
        shapes, maximum, maximum_shape = self.problem.shapes[known], self.problem.maximum, self.problem.maximum_shape
        if maximum_shape is None or (known and maximum.is_on_plateau):
            return ErrorModel.fit(shapes, errors)
        return ErrorModel.fit(np.vstack([shapes, maximum_shape]), np.array([*errors, maximum.error]))

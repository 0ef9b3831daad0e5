"""Random search, the baseline that any other strategy must beat."""

from collections.abc import Mapping

import numpy as np

from bort_kedro.search.strategies.base import Outcome, Strategy, Trial


class RandomSample(Strategy):
    """As many candidates as the budget allows, drawn without replacement from the seed."""

    def choose(self, outcomes: Mapping[int, Outcome]) -> list[Trial]:
        first = self.problem.first
        order = np.random.default_rng(self.problem.seed).permutation(len(self.problem))
        others = [int(index) for index in order if index not in first]
        drawn = sorted([*first, *others][: self.problem.budget])
        return [Trial(index) for index in drawn if index not in outcomes]

"""Successive halving: many candidates for a few steps, the better ones for more."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bort_kedro.search.strategies.base import Outcome, SearchProblem, Strategy, Trial
from bort_kedro.search.strategies.partition import representatives
from bort_kedro.search.w_coefficient import front_layers

# One candidate in three survives a rung, and trains three times as long (our decision; Jamieson and Talwalkar 2016
# leave the factor open, scikit-learn takes 3 as well).
FACTOR = 3
RUNG_SHARES = (1 / 9, 1 / 3, 1.0)


def rung_sizes(num_candidates: int, *, budget: int) -> list[int]:
    """Candidates on each rung, as many as the budget of full trainings pays for.

    Candidates go on from their checkpoints, so a rung costs only the steps since the one before. A survivor of
    every rung is always kept, and nobody is dropped whom the budget could carry on.
    """
    sizes = [1] * len(RUNG_SHARES)
    increments = np.diff((0.0, *RUNG_SHARES))
    for start in range(num_candidates, 0, -1):
        sizes = [max(1, -(-start // FACTOR**rung)) for rung in range(len(RUNG_SHARES))]
        if float(np.dot(sizes, increments)) <= budget + 1e-9:
            break
    # What is left pays for more survivors, the last rung first.
    while growing := [
        rung
        for rung in range(len(sizes) - 1, 0, -1)
        if sizes[rung] < sizes[rung - 1] and float(np.dot(sizes, increments)) + increments[rung] <= budget + 1e-9
    ]:
        sizes[growing[0]] += 1
    return sizes


class SuccessiveHalving(Strategy):
    """Train evenly spaced candidates for a ninth of the steps, the better third to a third, the best to the end.

    Better is: on an earlier Pareto layer of (parameters, cost, error); within a layer, of larger W. Where the smallest
    error is asked for, it is that alone. Those still on the unigram plateau come last, by error alone (our decision,
    docs/decisions/0007-strategies.md), and those that failed do not go on. One whose end is known from an earlier
    search takes a place on every rung. Only candidates trained to the end are ranked when the search is over.

    References:
        Jamieson and Talwalkar 2016, arXiv 1502.07943, algorithm 1.
    """

    def __init__(self, problem: SearchProblem) -> None:
        super().__init__(problem)
        # The first are trained to the end, and so are on every rung; the others share what is left of the budget.
        first = len(problem.first)
        has_others = first < min(len(problem), problem.budget)
        others = rung_sizes(len(problem) - first, budget=problem.budget - first) if has_others else [0, 0, 0]
        self._sizes = [first + size for size in others]

    def choose(self, outcomes: Mapping[int, Outcome]) -> list[Trial]:
        members = representatives(len(self.problem), budget=self._sizes[0], first=self.problem.first)
        for rung, share in enumerate(RUNG_SHARES):
            wanted = [Trial(index, share) for index in members if _share(outcomes, index) < share]
            if wanted:
                return wanted
            if rung + 1 < len(RUNG_SHARES):
                members = self._survivors(members, outcomes, rung)
        return []

    def _survivors(self, members: list[int], outcomes: Mapping[int, Outcome], rung: int) -> list[int]:
        """The better of a rung's members, after those that are further already: they went on, or were known before."""
        ahead = [index for index in members if _share(outcomes, index) > RUNG_SHARES[rung]]
        members = [index for index in members if index not in ahead and not outcomes[index].has_failed]
        places = max(0, self._sizes[rung + 1] - len(ahead))
        errors = np.array([outcomes[index].error for index in members])
        on_plateau = np.array([outcomes[index].is_on_plateau for index in members], dtype=bool)
        # On the plateau all errors are alike, and the smallest would win for its size alone.
        is_by_error = on_plateau | (self.problem.answer == "smallest_error")
        worth = np.where(is_by_error, errors, -self.problem.w(members, errors))
        layers = np.where(is_by_error, 0, self._layers(members, errors))
        order = np.lexsort((worth, layers, on_plateau))
        return sorted([*ahead, *(members[place] for place in order[:places])])

    def _layers(self, members: list[int], errors: NDArray[np.floating]) -> NDArray[np.int64]:
        costs = self.problem.parameters[members], self.problem.cost[members]
        return front_layers(np.column_stack([*costs, errors]))


def _share(outcomes: Mapping[int, Outcome], index: int) -> float:
    return outcomes[index].share if index in outcomes else 0.0

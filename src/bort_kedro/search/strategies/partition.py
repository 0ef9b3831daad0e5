"""The approximation scheme as published, and its limit of training everything."""

from collections.abc import Collection, Mapping
from heapq import heappop, heappush

from bort_kedro.search.strategies.base import Outcome, Strategy, Trial


def representatives(num_candidates: int, *, budget: int, first: Collection[int] = ()) -> list[int]:
    """The middle of the ordered space, and then, as often as the budget allows, that of the longest interval between.

    So there are as many as the budget, or as candidates; those of a larger budget contain those of a smaller one; and
    the longest interval is about twice the shortest at most (our reading, docs/decisions/0004-partition.md). Those that
    come first are part of the budget, and cut nothing: with one more of them all others stay.
    """
    # By length, the longest first, and of equals the first in order.
    intervals, chosen = [(-num_candidates, 0)], list(first)
    while len(chosen) < min(num_candidates, budget):
        length, start = heappop(intervals)
        middle = start + (-length - 1) // 2
        if middle not in first:
            chosen.append(middle)
        heappush(intervals, (start - middle, start))
        heappush(intervals, (middle + 1 - start + length, middle + 1))
    return sorted(chosen)


class Fptas(Strategy):
    """The representatives of the intervals that the ordered space is cut into.

    "Partitioning the space every epsilon architectures, and picking the best of these, returns an
    epsilon-optimal solution."

    References:
        de Wynter 2020, arXiv 2010.08512, algorithm 1.
    """

    def choose(self, outcomes: Mapping[int, Outcome]) -> list[Trial]:
        wanted = representatives(len(self.problem), budget=self.problem.budget, first=self.problem.first)
        return [Trial(index) for index in wanted if index not in outcomes]


class Exhaustive(Strategy):
    """Train every candidate, whatever the budget."""

    def choose(self, outcomes: Mapping[int, Outcome]) -> list[Trial]:
        return [Trial(index) for index in range(len(self.problem)) if index not in outcomes]

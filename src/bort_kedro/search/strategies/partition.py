"""The approximation scheme as published, and its limit of training everything."""

from __future__ import annotations

from collections.abc import Mapping

from bort_kedro.search.strategies.base import Outcome, Strategy, Trial


def representatives(num_candidates: int, *, budget: int) -> list[int]:
    """The middle of each interval, the ordered space being cut into intervals of equal length.

    The length is the smallest that needs no more than ``budget`` intervals; the last may hold fewer. The
    middle is nearest to both ends (our reading, docs/decisions/0004-partition.md).
    """
    interval = -(-num_candidates // budget)
    starts = range(0, num_candidates, interval)
    return [(start + min(start + interval, num_candidates) - 1) // 2 for start in starts]


class Fptas(Strategy):
    """One representative for each interval of the ordered space.

    "Partitioning the space every epsilon architectures, and picking the best of these, returns an
    epsilon-optimal solution."

    References:
        de Wynter 2020, arXiv 2010.08512, algorithm 1.
    """

    def ask(self, outcomes: Mapping[int, Outcome]) -> list[Trial]:
        wanted = representatives(len(self.problem), budget=self.problem.budget)
        return [Trial(index) for index in wanted if index not in outcomes]


class Exhaustive(Strategy):
    """Train every candidate, whatever the budget."""

    def ask(self, outcomes: Mapping[int, Outcome]) -> list[Trial]:
        return [Trial(index) for index in range(len(self.problem)) if index not in outcomes]

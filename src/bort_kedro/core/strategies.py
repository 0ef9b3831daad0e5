"""Which candidates to train: each strategy sees the ordered space and the errors so far, and asks for more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bort_kedro.errors import ConfigurationError


class Strategy(Protocol):
    """A search over candidates 0 to N - 1, ordered by (parameters, operations)."""

    def ask(self, errors: Mapping[int, float]) -> list[int]:
        """Indices to train next, given the errors of those already trained; empty when the search is over."""


class Fptas:
    """The approximation scheme as published: one representative for each interval of the ordered space.

    "Partitioning the space every epsilon architectures, and picking the best of these, returns an
    epsilon-optimal solution." The middle of each interval represents it (our reading: an interval's two ends
    are then equally near).

    Args:
        num_candidates: N.
        interval: Candidates in each interval; the last one may hold fewer.

    References:
        de Wynter 2020, arXiv 2010.08512, algorithm 1.
    """

    def __init__(self, num_candidates: int, *, interval: int) -> None:
        starts = range(0, num_candidates, interval)
        self._representatives = [(start + min(start + interval, num_candidates) - 1) // 2 for start in starts]

    def ask(self, errors: Mapping[int, float]) -> list[int]:
        return [index for index in self._representatives if index not in errors]


class Exhaustive(Fptas):
    """Train every candidate: intervals of one."""

    def __init__(self, num_candidates: int, *, interval: int) -> None:
        super().__init__(num_candidates, interval=1)


STRATEGIES: dict[str, type[Fptas]] = {"fptas": Fptas, "exhaustive": Exhaustive}


def build_strategy(name: str, *, num_candidates: int, interval: int) -> Strategy:
    """The strategy of that name.

    Raises:
        ConfigurationError: If there is none; the message lists the names.
    """
    if name not in STRATEGIES:
        raise ConfigurationError(
            f"Unknown search strategy `{name}`. Allowed: {', '.join(STRATEGIES)}. Change params:search.strategy."
        )
    return STRATEGIES[name](num_candidates, interval=interval)

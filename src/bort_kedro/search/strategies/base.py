"""What every strategy is given, and what it must answer."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bort_kedro.search.w_coefficient import MaximumPoint, w_coefficient


@dataclass(frozen=True)
class Trial:
    """A wish: train a candidate up to a share of the full short training.

    Args:
        index: Of the candidate in the ordered space.
        share: In (0, 1]; a larger one than before goes on from where the last ended.
    """

    index: int
    share: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """What a trial found.

    Args:
        error: e of the candidate, whichever measure W takes, above 0; infinite where the training failed.
        share: Share of the full training it was measured after; of a failed one, that was asked for.
        capped_error: What `SearchProblem.max_error` limits; None where it is ``error``.
        is_on_plateau: Whether it learned no more than the most frequent token: its error then says nothing of the
            shape, and it is never chosen.
        seconds: That its trainings took, from the start; no part of what was found.
    """

    error: float
    share: float = 1.0
    standard_error: float = 0.0
    is_on_plateau: bool = False
    capped_error: float | None = None
    seconds: float = field(default=0.0, compare=False)

    @property
    def capped(self) -> float:
        """What the cap on the error limits."""
        return self.error if self.capped_error is None else self.capped_error

    @property
    def has_failed(self) -> bool:
        """Whether there is no network to choose, nor an error to learn from."""
        return math.isinf(self.error)

    @property
    def has_learned(self) -> bool:
        """Whether the error says something of the shape."""
        return not (self.is_on_plateau or self.has_failed)


@dataclass(frozen=True)
class SearchProblem:
    """A space of N candidates ordered by (parameters, cost); all but the errors is known exactly.

    Args:
        shapes: (N, 4) of (D, A, H, I).
        parameters: (N,) p of each candidate.
        cost: (N,) i: operations or milliseconds.
        maximum_shape: (D, A, H, I) of T; None where T is no network.
        budget: Full short trainings that a strategy may spend, 1 or more.
        trials_per_round: Trials that are asked for together, by strategies that learn from results.
        answer: What is asked for, a key of `answers.ANSWERS`.
        max_error: The cap that an answer's error must meet; None is no cap. Those on what is known before training
            keep candidates out of the space.
        first: Candidates that the budget goes to before all others, or has gone to; no more than it.
    """

    shapes: NDArray[np.integer]
    parameters: NDArray[np.floating]
    cost: NDArray[np.floating]
    maximum: MaximumPoint
    budget: int
    maximum_shape: tuple[int, ...] | None = None
    seed: int = 0
    trials_per_round: int = 1
    answer: str = "largest_w"
    max_error: float | None = None
    first: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.shapes)

    def w(self, indices: NDArray[np.integer] | list[int], error: NDArray[np.floating]) -> NDArray[np.float64]:
        """W of candidates, given their errors: two arrays of one length."""
        return w_coefficient(self.maximum, parameters=self.parameters[indices], cost=self.cost[indices], error=error)


class Strategy(ABC):
    """A search over candidates 0 to N - 1; it keeps no state between calls but the problem."""

    # Whether `expected_gain` knows any.
    expects_gain: ClassVar[bool] = False

    def __init__(self, problem: SearchProblem) -> None:
        self.problem = problem

    def ask(self, outcomes: Mapping[int, Outcome]) -> list[Trial]:
        """Trials wanted next, given the latest outcome of each candidate tried; empty when the search is over.

        Outcomes may be known of candidates that this strategy did not ask for: an earlier search trained them.
        """
        return [Trial(index) for index in self.problem.first if index not in outcomes] or self.choose(outcomes)

    @abstractmethod
    def choose(self, outcomes: Mapping[int, Outcome]) -> list[Trial]:
        """As `ask`, once the problem's ``first`` are known."""

    def expected_gain(self, outcomes: Mapping[int, Outcome]) -> float | None:
        """How much more of what is asked for the next training promises, as a share of what was found; None: unknown.

        The depth of a knee is itself a share, of the front's range. Infinite where nothing was found yet.
        """
        return None

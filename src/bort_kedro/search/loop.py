"""The search itself: a strategy asks, a callable measures, until nothing more is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bort_kedro.search.strategies import Outcome, Strategy, Trial

# Gives the outcome of each trial of a round, in any order; `search.trained_errors` trains, `replay` looks up.
Measure = Callable[[Sequence[Trial]], Iterable[tuple[Trial, Outcome]]]


@dataclass
class SearchTrace:
    """What was tried, in the order of asking, which no clock and no number of workers changes.

    Args:
        rounds: The trials of each round.
        outcomes: The latest outcome of each candidate tried.
        cost: Full trainings spent: a candidate that went on from a checkpoint counts once.
    """

    rounds: list[list[Trial]] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    cost: float = 0.0

    @property
    def finished(self) -> list[int]:
        """Candidates trained to the end, in rising order; only these can be ranked."""
        found = self.outcomes.items()
        return sorted(index for index, outcome in found if outcome.share >= 1.0 and not outcome.has_failed)


def run_search(strategy: Strategy, measure: Measure, *, known: Sequence[Trial] = ()) -> SearchTrace:
    """Ask and measure until the strategy is content.

    Args:
        strategy: Says whom to try.
        measure: The source of errors.
        known: Trials whose outcomes the strategy is told before it is asked, as of earlier searches: a first round.
    """
    trace = SearchTrace()
    trials = list(known) or strategy.ask(trace.outcomes)
    while trials:
        trace.rounds.append(trials)
        found = dict(measure(trials))
        for trial in trials:
            before = trace.outcomes.get(trial.index)
            trace.cost += trial.share - (before.share if before else 0.0)
            trace.outcomes[trial.index] = found[trial]
        trials = strategy.ask(trace.outcomes)
    return trace

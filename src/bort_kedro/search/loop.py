"""The search itself: a strategy asks, a callable measures, until nothing more is asked or a limit is reached."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bort_kedro.search.strategies import Outcome, Strategy, Trial

# Gives the outcome of each trial of a round, in any order; `search.trained_errors` trains, `replay` looks up.
Measure = Callable[[Sequence[Trial]], Iterable[tuple[Trial, Outcome]]]


@dataclass
class SearchTrace:
    """What was tried, in the order of asking, which no clock and no number of workers changes.

    Args:
        cost: Full trainings spent: a candidate that went on from a checkpoint counts once.
        seconds: Of all trainings but those known before.
        ended_by: The limit that ended the search, in words; None where the strategy asked for no more.
    """

    rounds: list[list[Trial]] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    cost: float = 0.0
    seconds: float = 0.0
    ended_by: str | None = None

    @property
    def finished(self) -> list[int]:
        """Candidates trained to the end, in rising order; only these can be ranked."""
        found = self.outcomes.items()
        return sorted(index for index, outcome in found if outcome.share >= 1.0 and not outcome.has_failed)

    def add(self, trials: list[Trial], found: dict[Trial, Outcome]) -> None:
        """Keep what a round found."""
        self.rounds.append(trials)
        for trial in trials:
            before, now = self.outcomes.get(trial.index), found[trial]
            self.cost += trial.share - (before.share if before else 0.0)
            self.seconds += now.seconds - (before.seconds if before else 0.0)
            self.outcomes[trial.index] = now


@dataclass(frozen=True)
class Limits:
    """What ends a search before its strategy does; a higher limit goes on where the lower one ended it.

    Args:
        max_minutes: Of its trainings, by their recorded seconds, which a repeated search finds again; None is no limit.
        min_expected_gain: Of the next training, see `Strategy.expected_gain`; None is no limit.
    """

    max_minutes: float | None = None
    num_workers: int = 1
    min_expected_gain: float | None = None

    def reached(self, strategy: Strategy, trace: SearchTrace) -> str | None:
        """Which is reached before a further round, in words."""
        minutes = trace.seconds / 60 / self.num_workers
        if self.max_minutes is not None and minutes > self.max_minutes:
            return f"its trainings had taken {minutes:.3g} minutes, over params:search.max_minutes {self.max_minutes:g}"
        gain = None if self.min_expected_gain is None else strategy.expected_gain(trace.outcomes)
        if gain is None or gain >= (self.min_expected_gain or 0.0):
            return None
        return (
            f"the next training promised a gain of {gain:.2g}, under params:search.min_expected_gain "
            f"{self.min_expected_gain:g}"
        )


def run_search(
    strategy: Strategy, measure: Measure, *, known: Sequence[Trial] = (), limits: Limits | None = None
) -> SearchTrace:
    """Ask and measure until the strategy is content or a limit, looked at before every round, is reached.

    The strategy is told the outcomes of known trials, as of earlier searches, before it is asked: a first round.
    """
    trace = SearchTrace()
    if known:
        trace.add(list(known), dict(measure(known)))
        trace.seconds = 0.0
    while trials := strategy.ask(trace.outcomes):
        if limits and (reached := limits.reached(strategy, trace)):
            trace.ended_by = reached
            break
        trace.add(trials, dict(measure(trials)))
    return trace

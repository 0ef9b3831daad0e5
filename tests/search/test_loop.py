import pytest

from bort_kedro.search.loop import Limits, SearchTrace, run_search
from bort_kedro.search.strategies import Outcome, Trial


class Scripted:
    """Asks for rounds that were written down, and keeps what it was shown before each."""

    def __init__(self, *rounds):
        self.rounds, self.shown = list(rounds), []

    def ask(self, outcomes):
        self.shown.append(dict(outcomes))
        return self.rounds[len(self.shown) - 1] if len(self.shown) <= len(self.rounds) else []


def answer(trials):
    return [(trial, outcome_of(trial)) for trial in trials]


def outcome_of(trial):
    return Outcome(error=0.1 * trial.index + (1 - trial.share), share=trial.share)


def test_nothing_asked_costs_nothing():
    assert run_search(Scripted(), answer) == SearchTrace([], {}, 0.0)


def test_a_candidate_that_goes_on_counts_once():
    strategy = Scripted([Trial(0, 0.25), Trial(1, 0.25)], [Trial(1, 0.5)], [Trial(1, 1.0), Trial(2, 1.0)])
    trace = run_search(strategy, answer)
    # A quarter for 0, one for 1 in three parts, one for 2.
    assert trace.cost == pytest.approx(2.25)
    assert trace.outcomes == {0: Outcome(0.75, 0.25), 1: Outcome(0.1, 1.0), 2: Outcome(0.2, 1.0)}


def test_the_strategy_sees_the_latest_outcome_of_each_candidate():
    strategy = Scripted([Trial(3, 0.5)], [Trial(3, 1.0)])
    run_search(strategy, answer)
    assert [{index: outcome.share for index, outcome in shown.items()} for shown in strategy.shown] == [
        {},
        {3: 0.5},
        {3: 1.0},
    ]


def test_rounds_and_outcomes_keep_the_order_of_asking_whatever_the_order_of_answers():
    rounds = [Trial(4), Trial(1), Trial(3)], [Trial(0), Trial(2)]
    traces = [
        run_search(Scripted(*rounds), measure)
        for measure in (answer, lambda trials: reversed(answer(trials)), lambda trials: sorted(answer(trials), key=str))
    ]
    assert traces[0].rounds == list(rounds)
    assert list(traces[0].outcomes) == [4, 1, 3, 0, 2]
    for trace in traces[1:]:
        assert trace == traces[0]
        assert list(trace.outcomes) == list(traces[0].outcomes)


def test_finished_are_those_trained_to_the_end_in_rising_order():
    trace = run_search(Scripted([Trial(5), Trial(2, 1 / 3), Trial(1)], [Trial(4, 0.999)]), answer)
    assert trace.finished == [1, 5]


def test_what_is_known_is_told_before_the_strategy_is_asked():
    strategy = Scripted([Trial(2)])
    trace = run_search(strategy, answer, known=[Trial(4), Trial(0)])
    assert strategy.shown[0] == {4: outcome_of(Trial(4)), 0: outcome_of(Trial(0))}
    assert trace.rounds == [[Trial(4), Trial(0)], [Trial(2)]]
    assert (trace.finished, trace.cost) == ([0, 2, 4], 3.0)


def test_an_answer_that_is_missing_is_not_passed_over():
    with pytest.raises(KeyError):
        run_search(Scripted([Trial(0), Trial(1)]), lambda trials: answer(trials[:1]))


class Promising(Scripted):
    """Promises what was written down, by the number of candidates known."""

    def __init__(self, gains, *rounds):
        super().__init__(*rounds)
        self.gains = gains

    def expected_gain(self, outcomes):
        return self.gains[len(outcomes)]


def in_seconds(seconds):
    """A source whose full trainings take as long; a share of one takes its share."""
    return lambda trials: [
        (trial, Outcome(0.5 + trial.index, trial.share, seconds=seconds * trial.share)) for trial in trials
    ]


@pytest.mark.parametrize(
    ("max_minutes", "num_workers", "num_rounds", "minutes"),
    [
        # Two trainings of a minute in the first round, one in each other.
        (None, 1, 4, None),
        (1.5, 1, 1, "2"),
        # Reached is not passed.
        (2, 1, 2, "3"),
        (1.5, 2, 3, "2"),
        (9, 1, 4, None),
    ],
)
def test_a_search_ends_after_the_round_in_which_its_minutes_are_passed(max_minutes, num_workers, num_rounds, minutes):
    rounds = [Trial(0), Trial(1)], [Trial(2)], [Trial(3)], [Trial(4)]
    trace = run_search(Scripted(*rounds), in_seconds(60.0), limits=Limits(max_minutes, num_workers))
    assert trace.rounds == list(rounds[:num_rounds])
    assert trace.ended_by == (
        minutes and f"its trainings had taken {minutes} minutes, over params:search.max_minutes {max_minutes:g}"
    )


def test_a_training_that_goes_on_takes_the_time_since_it_was_left():
    trace = run_search(Scripted([Trial(0, 1 / 3)], [Trial(0)]), in_seconds(60.0))
    assert trace.seconds == pytest.approx(60.0)


def test_what_was_known_before_has_taken_no_time():
    trace = run_search(
        Scripted([Trial(2)], [Trial(3)]), in_seconds(60.0), known=[Trial(0), Trial(1)], limits=Limits(0.5)
    )
    assert trace.rounds == [[Trial(0), Trial(1)], [Trial(2)]]
    assert trace.seconds == 60.0


def test_a_search_ends_where_the_next_training_promises_too_little():
    rounds = [Trial(0), Trial(1)], [Trial(2)], [Trial(3)]
    gains = {0: None, 2: 0.03, 3: 0.004}
    trace = run_search(Promising(gains, *rounds), answer, limits=Limits(min_expected_gain=0.01))
    assert trace.rounds == list(rounds[:2])
    assert trace.ended_by == ("the next training promised a gain of 0.004, under params:search.min_expected_gain 0.01")
    assert run_search(Promising(gains, *rounds), answer, limits=Limits(min_expected_gain=0.004)).ended_by is None

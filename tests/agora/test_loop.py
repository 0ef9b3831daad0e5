import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora_bounds import max_rounds, max_trials
from bort_kedro.agora.loop import AgoraRun
from bort_kedro.finetuning.rounds import Round


def play(num_settings, max_replays, *rounds_of_scores):
    run = AgoraRun(num_settings, max_replays)
    for scores in rounds_of_scores:
        run = run.record(scores)
    return run


def test_first_round_trains_all_settings_without_points():
    assert AgoraRun(3, 2).next_round() == Round(0, (0, 1, 2), False, (), None)


def test_first_round_drops_the_worst_setting_alone():
    run = play(4, 0, [0.4, 0.1, 0.3, 0.2])
    assert run.rounds[0].dropped == (1,)
    assert run.next_round() == Round(1, (0, 2, 3), False, (1,), 0)


def test_longest_run_of_three_that_kept_its_order_from_the_worst_end_is_dropped():
    # Worst first: 0 1 2 3 4 5, of which 0 goes. Then 1 2 3 5 4: the first three stand as before, 5 and 4 changed.
    run = play(6, 0, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.2, 0.3, 0.4, 0.9, 0.8])
    assert run.rounds[1].settings == (1, 2, 3, 4, 5)
    assert run.rounds[1].ranking == [1, 2, 3, 5, 4]
    assert run.rounds[1].dropped == (1, 2, 3)
    assert run.next_round().settings == (4, 5)


def test_order_kept_at_the_best_end_only_drops_the_worst_alone():
    # Worst first: 0 1 2 3, then 2 1 3: the ranking is another from its first entry on.
    run = play(4, 0, [0.1, 0.2, 0.3, 0.4], [0.6, 0.5, 0.7])
    assert run.rounds[1].dropped == (2,)
    assert run.next_round().settings == (1, 3)


def test_earlier_ranking_is_that_of_the_accepted_round_before_and_not_of_the_first():
    # Rankings 0 1 2 3, then 2 1 3 (drops 2), then 1 3: as in the second round, so all is dropped.
    run = play(4, 0, [0.1, 0.2, 0.3, 0.4], [0.6, 0.5, 0.7], [0.8, 0.9])
    assert [done.dropped for done in run.rounds] == [(0,), (2,), (1, 3)]
    assert run.next_round() is None


def test_a_ranking_that_stays_as_it_was_ends_the_run():
    run = play(3, 0, [0.1, 0.2, 0.3], [0.4, 0.5])
    assert run.rounds[1].dropped == (1, 2)
    assert run.next_round() is None


def test_of_equal_scores_the_later_setting_is_worse():
    assert play(3, 0, [0.5, 0.5, 0.5]).rounds[0].ranking == [2, 1, 0]
    assert play(3, 0, [0.5, 0.5, 0.5]).rounds[0].dropped == (2,)


def test_round_that_did_not_help_is_replayed_with_points_of_its_own_from_the_same_mistakes():
    run = play(3, 2, [0.1, 0.2, 0.5], [0.5, 0.3])
    assert run.rounds[1].dropped == ()
    assert not run.rounds[1].is_accepted
    assert run.next_round() == Round(2, (1, 2), True, (2,), 0)


def test_replay_that_helps_is_accepted_and_its_points_stay():
    # The points of round 1 were thrown away; those of its replay stay beside the next ones.
    run = play(3, 2, [0.1, 0.2, 0.5], [0.5, 0.3], [0.7, 0.6])
    assert run.rounds[2].dropped == (2,)
    assert run.next_round() == Round(3, (1,), False, (2, 3), 2)


def test_round_that_did_not_help_is_accepted_when_no_replay_is_left():
    run = play(3, 1, [0.1, 0.2, 0.5], [0.4, 0.3], [0.3, 0.2])
    assert [done.is_replay for done in run.rounds] == [False, False, True]
    # Replayed once, then accepted: worst first 2 1, where it was 1 2.
    assert run.rounds[2].dropped == (2,)
    assert run.next_round() == Round(3, (1,), False, (2, 3), 2)


def test_ranking_of_a_round_thrown_away_does_not_count():
    # Worst first: 0 1 2 3; then 3 2 1, thrown away; then 1 3 2, which shares only its first entry with 1 2 3.
    run = play(4, 1, [0.1, 0.2, 0.3, 0.4], [0.3, 0.2, 0.1], [0.5, 0.7, 0.6])
    assert run.rounds[2].dropped == (1,)


def test_round_that_only_equals_the_best_did_not_help():
    assert play(2, 1, [0.5, 0.1], [0.5]).next_round().is_replay


def test_replays_are_counted_over_the_whole_run():
    run = play(4, 1, [0.1, 0.2, 0.3, 0.4], [0.1, 0.1, 0.1], [0.9, 0.8, 0.7], [0.1, 0.1])
    assert [done.is_replay for done in run.rounds] == [False, False, True, False]
    assert run.rounds[3].is_accepted


def test_the_best_score_is_that_of_any_round_and_below_all_before_the_first():
    assert play(3, 0, [0.1, 0.5, 0.5], [0.4, 0.3]).best_score == 0.5
    assert play(3, 0, [0.1, 0.2, 0.3], [0.4, 0.6]).best_score == 0.6
    assert AgoraRun(2, 0).best_score == -math.inf


def test_theta_without_settings_is_over_at_once():
    assert AgoraRun(0, 3).next_round() is None


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_score_that_is_not_finite_is_refused(score):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        play(3, 0, [0.1, 0.2, 0.3], [0.1, score])
    assert str(caught.value) == (
        f"the score of setting 2 in round 1 is {score}, which cannot be ranked; give a training that diverged a "
        "score below all others"
    )


def test_another_number_of_scores_is_refused():
    with pytest.raises(ValueError, match=r"^round 0 has 3 settings but 2 scores$"):
        AgoraRun(3, 0).record([0.1, 0.2])


def test_scores_after_the_end_are_refused():
    with pytest.raises(ValueError, match=r"^the run is over after 1 rounds: no setting is left to score$"):
        play(1, 0, [0.1], [0.2])


# Few different scores, so that ties, kept orders and rounds that do not help all come up.
SCORES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@given(st.data(), st.integers(1, 7), st.integers(0, 4))
def test_every_run_ends_within_its_bounds(data, num_settings, max_replays):
    run = AgoraRun(num_settings, max_replays)
    num_trials = num_replays = 0
    gone = set()
    while (upcoming := run.next_round()) is not None:
        assert upcoming.number == len(run.rounds)
        assert list(upcoming.settings) == sorted(set(range(num_settings)) - gone)
        run = run.record([data.draw(SCORES) for _ in upcoming.settings])
        num_trials += len(upcoming.settings)
        num_replays += upcoming.is_replay
        gone.update(run.rounds[-1].dropped)
        assert len(run.rounds) <= max_rounds(num_settings, max_replays)
    assert gone == set(range(num_settings))
    assert num_replays <= max_replays
    assert num_trials <= max_trials(num_settings, max_replays)


@pytest.mark.parametrize("num_settings", [2, 3, 6])
@pytest.mark.parametrize("max_replays", [0, 1, 3])
def test_bounds_are_reached_where_no_round_helps_and_each_ranking_is_turned_round(num_settings, max_replays):
    run = AgoraRun(num_settings, max_replays)
    while (upcoming := run.next_round()) is not None:
        sign = -1.0 if sum(done.is_accepted for done in run.rounds) % 2 else 1.0
        run = run.record([sign * setting - 100.0 * bool(run.rounds) for setting in upcoming.settings])
    assert len(run.rounds) == max_rounds(num_settings, max_replays)
    assert sum(len(done.settings) for done in run.rounds) == max_trials(num_settings, max_replays)


def test_single_setting_needs_one_round():
    assert play(1, 3, [0.5]).next_round() is None
    assert max_trials(1, 3) == 1


def test_points_of_every_accepted_round_stay():
    run = play(3, 0, [0.1, 0.2, 0.3], [0.4, 0.1])
    assert run.next_round().draws == (1, 2)


def test_a_round_helps_by_its_best_trial_whatever_its_worst():
    run = play(3, 1, [0.5, 0.4, 0.3], [0.6, 0.1])
    assert run.rounds[-1].is_accepted

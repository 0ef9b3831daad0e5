import numpy as np
import pandas as pd
import pytest

from bort_kedro.errors import ConfigurationError, TrainingError
from bort_kedro.search.answers import ANSWERS
from bort_kedro.search.selection import choose, sensitivity
from bort_kedro.search.w_coefficient import MaximumPoint

MAXIMUM = MaximumPoint(parameters=100.0, cost=1000.0, error=0.5)
NO_CAPS = {"max_parameters": None, "max_latency_ms": None, "max_error": None}


def candidates(errors, standard_error=0.001):
    """Sizes from 10 to 40 % of T's, latencies from 1 to 4 ms; a NaN is a candidate that was not trained."""
    count = len(errors)
    return pd.DataFrame(
        {
            "num_hidden_layers": range(1, count + 1),
            "num_attention_heads": 1,
            "hidden_size": 8,
            "intermediate_size": 8,
            "parameters": np.linspace(10, 40, count),
            "cost": np.linspace(100, 400, count),
            "latency_ms": np.linspace(1, 4, count),
            "error": errors,
            "loss": [6 * error for error in errors],
            "loss_standard_error": [0.01] * count,
            "error_standard_error": [standard_error if not np.isnan(e) else np.nan for e in errors],
            "has_failed": False,
        }
    )


def choice_of(table, **changes):
    settings = {
        "measure": "error",
        "maximum": MAXIMUM,
        "unigram_error": 0.95,
        "answer": "largest_w",
        "caps": NO_CAPS,
    }
    return choose(table, **settings | changes)


def test_largest_w_is_selected_and_the_second_is_the_runner_up():
    choice = choice_of(candidates([0.9, 0.6, 0.58, 0.57]))
    expected = [0.9 * 0.9 * 0.5 / 0.9, 0.8 * 0.8 * 0.5 / 0.6, 0.7 * 0.7 * 0.5 / 0.58, 0.6 * 0.6 * 0.5 / 0.57]
    np.testing.assert_allclose(choice.table["w"], expected)
    np.testing.assert_allclose(choice.table["w_standard_error"], expected * (0.001 / choice.table["error"]))
    assert (choice.selected, choice.runner_up) == (1, 0)
    assert choice.table["is_selected"].tolist() == [False, True, False, False]
    assert choice.table["meets_caps"].all()
    assert choice.is_distinguishable


def test_untrained_candidates_are_on_no_front_and_meet_no_caps():
    table = choice_of(candidates([np.nan, 0.6, 0.58, np.nan])).table
    assert table["meets_caps"].tolist() == table["is_pareto"].tolist() == [False, True, True, False]


def test_a_choice_of_one_is_told_apart_from_nothing():
    choice = choice_of(candidates([np.nan, 0.6]))
    assert (choice.selected, choice.runner_up, choice.is_distinguishable) == (1, None, True)


def test_two_best_within_their_noise_are_not_told_apart():
    noisy = choice_of(candidates([0.9, 0.6, 0.58], 0.2), unigram_error=2.0)
    assert not noisy.is_distinguishable


def test_untrained_candidates_have_no_w_and_are_not_on_the_front():
    choice = choice_of(candidates([0.9, np.nan, 0.6]))
    assert choice.table["w"].isna().tolist() == [False, True, False]
    assert choice.table["is_pareto"].tolist() == [True, False, True]
    assert choice.table["meets_caps"].tolist() == [True, False, True]
    assert not choice.table["is_on_plateau"].any()


def test_beaten_candidates_are_not_on_the_front():
    assert choice_of(candidates([0.7, 0.8, 0.6, 0.6])).table["is_pareto"].tolist() == [True, False, True, False]


def test_candidates_on_the_unigram_plateau_are_flagged_and_not_ranked():
    choice = choice_of(candidates([0.949, 0.7], 0.001))
    assert choice.table["is_on_plateau"].tolist() == [True, False]
    assert choice.table["is_pareto"].tolist() == [False, True]
    assert choice.selected == 1
    assert choice.runner_up is None
    assert choice.is_distinguishable


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("measure", ["error", "loss"])
def test_no_answer_is_on_the_plateau(answer, measure):
    # The first has by far the largest W, and the smallest loss.
    table = candidates([0.951, 0.9, 0.8, 0.75]).assign(loss=[0.1, 5.0, 4.0, 3.9])
    choice = choice_of(table, answer=answer, measure=measure)
    assert choice.table["is_on_plateau"].tolist() == [True, False, False, False]
    assert choice.selected != 0
    assert choice.runner_up not in {0, None}
    for best in sensitivity(choice.table, maximum=MAXIMUM).values():
        assert 0 not in {best["error"], best["loss"]}


def test_without_a_unigram_error_all_trained_are_ranked():
    choice = choice_of(candidates([0.99, 0.98, np.nan]), unigram_error=None)
    assert choice.table["w"].notna().tolist() == [True, True, False]
    assert not choice.table["is_on_plateau"].any()
    assert choice.selected == 0


def test_nothing_off_the_plateau_stops_the_search_and_says_what_to_change():
    with pytest.raises(TrainingError) as caught:
        choice_of(candidates([0.95, np.nan, 0.951]))
    assert str(caught.value) == (
        "None of the 2 trained candidates is better than the most frequent token, or of a task the best constant "
        "answer (error 0.950), so W would rank noise. Raise num_steps or learning_rate under "
        "params:search.training.optimization, of a task those of params:search.finetuning, or give more text."
    )


def test_the_smallest_error_is_decided_by_the_error_and_so_is_its_runner_up():
    table = candidates([0.9, 0.6, 0.52, 0.5], 0.005)
    by_error = choice_of(table, answer="smallest_error")
    assert (by_error.selected, by_error.runner_up) == (3, 2)
    # 0.02 apart, and twice their noise is 2 * sqrt(2) * 0.005 = 0.014.
    assert by_error.is_distinguishable
    assert not choice_of(table.assign(error_standard_error=0.008), answer="smallest_error").is_distinguishable


def test_the_smallest_error_takes_the_measure_that_w_takes():
    table = candidates([0.9, 0.6, 0.5]).assign(loss=[4.0, 3.0, 3.015])
    choice = choice_of(table, answer="smallest_error", measure="loss")
    assert (choice.selected, choice.runner_up) == (1, 2)
    # 0.015 apart, and twice the noise of the losses is 0.028.
    assert not choice.is_distinguishable


def test_the_knee_is_chosen_on_the_front_and_compared_by_w():
    # Costs 100 to 400: on axes from 0 to 1, log(cost) is 0, 0.5, 0.79, 1, and the error 1, 0.05, 0.025, 0.
    choice = choice_of(candidates([0.9, 0.52, 0.51, 0.5]), answer="knee")
    assert choice.selected == 1
    # W is 0.45, 0.615, 0.48, 0.36.
    assert choice.runner_up == 2


def test_candidates_over_the_caps_are_ranked_but_neither_chosen_nor_on_the_front():
    table = candidates([0.9, 0.6, 0.58, 0.57])
    choice = choice_of(table, caps=NO_CAPS | {"max_parameters": 19.0})
    assert choice.table["meets_caps"].tolist() == [True, False, False, False]
    assert choice.table["is_pareto"].tolist() == [True, False, False, False]
    assert choice.table["w"].notna().all()
    assert (choice.selected, choice.runner_up) == (0, None)
    assert {best["error"] for best in sensitivity(choice.table, maximum=MAXIMUM).values()} == {0}


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_answer_and_its_runner_up_meet_the_caps(answer):
    # Latencies of 1, 2, 3, 4 ms: only the two in the middle meet both.
    choice = choice_of(
        candidates([0.9, 0.6, 0.58, 0.57]), answer=answer, caps=NO_CAPS | {"max_latency_ms": 3.0, "max_error": 0.6}
    )
    assert {choice.selected, choice.runner_up} == {1, 2}


def test_caps_that_no_trained_candidate_meets_stop_the_search_and_name_the_nearest():
    with pytest.raises(ConfigurationError) as caught:
        choice_of(candidates([0.96, np.nan, 0.6, 0.57]), caps=NO_CAPS | {"max_error": 0.5})
    assert str(caught.value) == (
        "None of the 2 trained candidates meets the caps (max_error 0.5). Nearest:\n"
        "  - (4, 1, 8, 8): error 0.57 (over)\n"
        "  - (3, 1, 8, 8): error 0.6 (over)\n"
        "Raise the caps under params:search.caps, train more candidates (params:search.budget) or longer "
        "(params:search.training.optimization.num_steps), or give params:search.space shapes that can meet them."
    )


def test_the_least_noise_counts_where_standard_errors_are_smaller():
    # The two best have W = 0.75^2 * 0.5 / 0.6 = 0.469 and 0.9^2 * 0.5 / 0.9 = 0.45: 0.019 apart. Twice 1 % of each is
    # 0.013 together, twice 2 % is 0.026.
    table = candidates([0.9, 0.6, 0.58])
    assert choice_of(table, least_noise=0.01).is_distinguishable
    assert not choice_of(table, least_noise=0.02).is_distinguishable


def test_choosing_leaves_the_given_table_alone():
    table = candidates([0.9, 0.6])
    before = table.copy()
    choice_of(table)
    pd.testing.assert_frame_equal(table, before)


def test_a_larger_maximum_point_lets_the_error_decide():
    table = candidates([0.9, 0.8, 0.5]).assign(loss=[5.0, 1.0, 4.0])
    maximum = MaximumPoint(parameters=42.0, cost=420.0, error=0.5)
    rows = sensitivity(choice_of(table, maximum=maximum).table, maximum=maximum)
    assert list(rows) == [1, 2, 4, 8, 16]
    # By hand at 1x: (32/42)^2/0.9 = 0.645, (17/42)^2/0.8 = 0.205, (2/42)^2/0.5 = 0.005; at 4x the last leads,
    # (158/168)^2/0.9 = 0.983, (143/168)^2/0.8 = 0.906, (128/168)^2/0.5 = 1.161.
    assert [best["error"] for best in rows.values()] == [0, 0, 2, 2, 2]
    assert [best["loss"] for best in rows.values()] == [1, 1, 1, 1, 1]


def test_sensitivity_of_a_table_without_losses_is_by_the_error_alone():
    table = candidates([0.9, 0.8, 0.5]).drop(columns=["loss", "loss_standard_error"])
    rows = sensitivity(choice_of(table).table, maximum=MAXIMUM)
    assert [list(best) for best in rows.values()] == [["error"]] * 5


def test_loss_ranks_where_it_is_the_measure():
    table = candidates([0.7, 0.6]).assign(loss=[3.0, 5.0])
    by_loss = choice_of(table, measure="loss", maximum=MaximumPoint(100.0, 1000.0, error=2.5))
    np.testing.assert_allclose(by_loss.table["w"], [0.9 * 0.9 * 2.5 / 3.0, 0.6 * 0.6 * 2.5 / 5.0])
    np.testing.assert_allclose(by_loss.table["w_standard_error"], by_loss.table["w"] * 0.01 / table["loss"])
    # By its loss the second is beaten, by its error it is not.
    assert by_loss.table["is_pareto"].tolist() == [True, False]
    assert choice_of(table).table["is_pareto"].tolist() == [True, True]

import numpy as np
import pandas as pd
import pytest

from bort_kedro.core.selection import choose, sensitivity
from bort_kedro.errors import TrainingError

MAXIMUM = {"parameters": 100.0, "operations": 1000.0, "error": 0.5}


def candidates(errors, standard_error=0.001):
    count = len(errors)
    return pd.DataFrame(
        {
            "parameters": np.linspace(10, 40, count),
            "operations": np.linspace(100, 400, count),
            "error": errors,
            "loss": [6 * error for error in errors],
            "loss_standard_error": [0.01] * count,
            "error_standard_error": [standard_error if not np.isnan(e) else np.nan for e in errors],
        }
    )


def test_largest_w_is_selected_and_the_second_is_the_runner_up():
    choice = choose(candidates([0.9, 0.6, 0.58, 0.57]), measure="error", maximum_point=MAXIMUM, unigram_error=0.95)
    expected = [0.9 * 0.9 * 0.5 / 0.9, 0.8 * 0.8 * 0.5 / 0.6, 0.7 * 0.7 * 0.5 / 0.58, 0.6 * 0.6 * 0.5 / 0.57]
    np.testing.assert_allclose(choice.table["w"], expected)
    assert (choice.selected, choice.runner_up) == (1, 0)
    assert choice.table["is_selected"].tolist() == [False, True, False, False]
    assert choice.is_distinguishable


def test_two_best_within_their_noise_are_not_told_apart():
    noisy = choose(candidates([0.9, 0.6, 0.58], 0.2), measure="error", maximum_point=MAXIMUM, unigram_error=2.0)
    assert not noisy.is_distinguishable


def test_untrained_candidates_have_no_w_and_are_not_on_the_front():
    choice = choose(candidates([0.9, np.nan, 0.6]), measure="error", maximum_point=MAXIMUM, unigram_error=0.95)
    assert choice.table["w"].isna().tolist() == [False, True, False]
    assert choice.table["is_pareto"].tolist() == [True, False, True]


def test_candidates_on_the_unigram_plateau_are_flagged_and_not_ranked():
    choice = choose(candidates([0.949, 0.7], 0.001), measure="error", maximum_point=MAXIMUM, unigram_error=0.95)
    assert choice.table["is_on_plateau"].tolist() == [True, False]
    assert choice.selected == 1
    assert choice.runner_up is None


def test_nothing_off_the_plateau_stops_the_search_and_says_what_to_change():
    with pytest.raises(TrainingError) as caught:
        choose(candidates([0.95, 0.951]), measure="error", maximum_point=MAXIMUM, unigram_error=0.95)
    assert "None of the 2 trained candidates" in str(caught.value)
    assert "error 0.950" in str(caught.value)
    assert "params:search.training.optimization" in str(caught.value)


def test_a_larger_maximum_point_lets_the_error_decide():
    table = candidates([0.9, 0.8, 0.5]).assign(loss=[5.0, 1.0, 4.0])
    choice = choose(
        table,
        measure="error",
        maximum_point={"parameters": 42.0, "operations": 420.0, "error": 0.5},
        unigram_error=0.95,
    )
    rows = sensitivity(choice.table, maximum_point={"parameters": 42.0, "operations": 420.0})
    assert [row["multiple"] for row in rows] == [1, 2, 4, 8, 16]
    # By hand at 1x: (32/42)^2/0.9 = 0.645, (17/42)^2/0.8 = 0.205, (2/42)^2/0.5 = 0.005; at 4x the last leads,
    # (158/168)^2/0.9 = 0.983, (143/168)^2/0.8 = 0.906, (128/168)^2/0.5 = 1.161.
    assert [row["by_error"] for row in rows] == [0, 0, 2, 2, 2]
    assert [row["by_loss"] for row in rows] == [1, 1, 1, 1, 1]


def test_loss_ranks_where_it_is_the_measure():
    table = candidates([0.7, 0.6]).assign(loss=[3.0, 5.0])
    maximum = MAXIMUM | {"loss": 2.5}
    by_loss = choose(table, measure="loss", maximum_point=maximum, unigram_error=0.95)
    np.testing.assert_allclose(by_loss.table["w"], [0.9 * 0.9 * 2.5 / 3.0, 0.6 * 0.6 * 2.5 / 5.0])
    np.testing.assert_allclose(by_loss.table["w_standard_error"], by_loss.table["w"] * 0.01 / table["loss"])

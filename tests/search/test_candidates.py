from itertools import product

import numpy as np
import pandas as pd
import pytest

from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.errors import ConfigurationError, TrainingError
from bort_kedro.search.candidates import (
    join_errors,
    maximum_of,
    order,
    outcomes_of,
    predict_errors,
    problem_of,
    spending_of,
    with_end,
)
from bort_kedro.search.loop import SearchTrace
from bort_kedro.search.strategies import Outcome
from bort_kedro.search.w_coefficient import MaximumPoint
from project_parameters import parameters

MAXIMUM_POINT = {
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "hidden_size": 64,
    "intermediate_size": 256,
    "parameters": 1000,
    "cost": 2000.0,
    "error": 0.3,
    "loss": 2.0,
}


def space_of(shapes):
    """Parameters and cost as the product of depth and hidden size, and ten times it."""
    table = pd.DataFrame(shapes, columns=list(SHAPE_COLUMNS))
    size = table["num_hidden_layers"] * table["hidden_size"]
    return table.assign(parameters=size, cost=10.0 * size)


def rows_of(candidates, shares, errors):
    """As a search writes them, a row a trial."""
    return pd.DataFrame(
        {
            "candidate": candidates,
            **dict.fromkeys(SHAPE_COLUMNS, 1),
            "share": shares,
            "num_seeds": 2,
            "error": errors,
            "error_standard_error": [0.01 * error for error in errors],
            "seconds": 1.0,
            "num_tokens": 100,
        }
    )


FOUR = [(1, 2, 8, 8), (2, 2, 8, 8), (2, 2, 8, 8), (4, 2, 8, 8)]


def test_candidates_are_ordered_by_parameters_then_cost_and_numbered_anew():
    table = pd.DataFrame(
        {"parameters": [3, 1, 3, 2], "cost": [5.0, 9.0, 4.0, 1.0], "name": list("abcd")}, index=[7] * 4
    )
    ordered = order(table)
    assert ordered["name"].tolist() == ["b", "d", "c", "a"]
    assert ordered.index.tolist() == [0, 1, 2, 3]


def test_candidates_of_one_size_keep_their_order():
    table = pd.DataFrame({"parameters": [1] * 5, "cost": [2.0] * 5, "name": list("eabdc")})
    assert order(table)["name"].tolist() == list("eabdc")


def test_the_problem_is_the_table_as_arrays_and_the_maximum_point_in_the_measure():
    problem = problem_of(space_of(FOUR), MAXIMUM_POINT, measure="loss", budget=3, seed=5, trials_per_round=2)
    np.testing.assert_array_equal(problem.shapes, FOUR)
    assert problem.parameters.tolist() == [8, 16, 16, 32]
    assert problem.cost.tolist() == [80, 160, 160, 320]
    assert problem.maximum == maximum_of(MAXIMUM_POINT, "loss") == MaximumPoint(1000, 2000.0, 2.0)
    assert problem.maximum_shape == (8, 4, 64, 256)
    assert (problem.budget, problem.seed, problem.trials_per_round, len(problem)) == (3, 5, 2, 4)


def test_a_strategy_is_told_of_the_wish_and_where_those_are_that_are_trained_in_any_case():
    search = parameters().search
    asked = search.changed(
        answer="smallest_error",
        caps=search.caps.changed(max_error=0.4),
        budget=7,
        seed=3,
        # The last of the four, and the second.
        always_train=[list(FOUR[3]), list(FOUR[1])],
    )
    assert spending_of(asked, space_of(FOUR)) == {
        "budget": 7,
        "seed": 3,
        "trials_per_round": search.trials_per_round,
        "answer": "smallest_error",
        "max_error": 0.4,
        "first": (3, 1),
    }
    # Those that are given are known beside the budget, before all others.
    given = spending_of(asked, space_of(FOUR), given={2: {}, 1: {}})
    assert (given["budget"], given["first"]) == (9, (2, 1, 3))
    # Of a recorded table, which may repeat a shape, it is the first.
    assert spending_of(asked, space_of([FOUR[1], FOUR[3], FOUR[3]]))["first"] == (1, 0)


def test_whoever_is_trained_in_any_case_must_be_a_candidate():
    search = parameters().search.changed(always_train=[[1, 1, 16, 16]])
    with pytest.raises(ConfigurationError) as caught:
        spending_of(search, space_of(FOUR))
    assert str(caught.value) == (
        "params:search.always_train has (1, 1, 16, 16), which is none of the 4 candidates: it is over a cap under "
        "params:search.caps, or no row of the recorded table. Allowed are the others. Change "
        "params:search.always_train, or the caps."
    )


@pytest.mark.parametrize("reason", [None, "its trainings had taken 3 minutes"])
def test_the_last_row_says_which_limit_ended_the_search(reason):
    rows = with_end(pd.DataFrame({"candidate": [4, 2]}), SearchTrace(ended_by=reason))
    assert rows["candidate"].tolist() == [4, 2]
    assert rows["ended_by"].dropna().tolist() == ([reason] if reason else [])
    assert rows.index[rows["ended_by"].notna()].tolist() == ([1] if reason else [])


@pytest.mark.parametrize("measure", ["error", "loss"])
def test_a_maximum_point_that_learned_no_more_than_guessing_is_told_apart_by_its_error(measure):
    # The error is 0.3 with a noise of 0.01.
    point = MAXIMUM_POINT | {"error_standard_error": 0.01, "loss_standard_error": 9.0}
    assert maximum_of(point, measure, 0.31).is_on_plateau
    assert not maximum_of(point, measure, 0.33).is_on_plateau
    assert not maximum_of(point, measure).is_on_plateau


def test_a_maximum_point_without_an_error_is_refused():
    with pytest.raises(TrainingError, match=r"^The error of the maximum point is exactly 0, allowed is above 0"):
        maximum_of(MAXIMUM_POINT | {"error": 0.0}, "error")


def test_a_maximum_point_that_is_no_network_has_no_shape():
    problem = problem_of(space_of(FOUR), MAXIMUM_POINT, measure="error", is_network=False, budget=3)
    assert problem.maximum_shape is None
    assert problem.maximum.error == 0.3


def test_only_errors_after_the_full_training_are_joined():
    errors = rows_of([0, 3, 0, 1], [1 / 3, 1.0, 1.0, 1 / 9], [0.8, 0.5, 0.7, 0.9])
    table = join_errors(space_of(FOUR), errors)
    np.testing.assert_array_equal(table["error"], [0.7, np.nan, np.nan, 0.5])
    np.testing.assert_allclose(table["error_standard_error"], [0.007, np.nan, np.nan, 0.005])
    assert table["is_trained"].tolist() == [True, False, False, True]
    assert table["trained_share"].tolist() == [1.0, 1 / 9, 0.0, 1.0]
    # Shapes and sizes are the space's, and the time stays with the trials.
    pd.testing.assert_frame_equal(table[space_of(FOUR).columns], space_of(FOUR))
    assert not {"seconds", "num_tokens", "share"} & set(table)


def test_two_candidates_of_one_shape_stay_apart():
    table = join_errors(space_of(FOUR), rows_of([2], [1.0], [0.5]))
    assert len(table) == 4
    np.testing.assert_array_equal(table["error"], [np.nan, np.nan, 0.5, np.nan])


def test_errors_that_the_space_recorded_are_shown_for_the_trained_only():
    recorded = space_of(FOUR).assign(error=[0.9, 0.8, 0.7, 0.6], error_standard_error=0.1)
    table = join_errors(recorded, rows_of([1], [1.0], [0.8]))
    np.testing.assert_array_equal(table["error"], [np.nan, 0.8, np.nan, np.nan])
    np.testing.assert_array_equal(table["error_standard_error"], [np.nan, 0.008, np.nan, np.nan])


def test_outcomes_of_a_table_are_its_finished_trainings():
    table = join_errors(space_of(FOUR), rows_of([0, 3, 1], [1.0, 1.0, 0.5], [0.7, 0.5, 0.6]))
    table.loc[3, "error_standard_error"] = np.nan
    table["is_on_plateau"] = [True, False, False, False]
    assert outcomes_of(table, "error") == {
        0: Outcome(0.7, 1.0, 0.01 * 0.7, is_on_plateau=True),
        3: Outcome(0.5, 1.0, 0.0),
    }


GRID = list(product([1, 2, 4, 8], [1, 2], [8, 16, 32], [8, 16]))


def planted(trained, *, on_plateau=()):
    """A grid with errors by a power law of the shape, of which some were trained."""
    space = order(space_of(GRID))
    shapes = space[list(SHAPE_COLUMNS)].to_numpy(float)
    errors = np.exp(np.log(shapes) @ [-0.2, -0.03, -0.1, -0.05])
    table = join_errors(space, rows_of(trained, 1.0, errors[trained])).assign(is_on_plateau=False)
    table.loc[list(on_plateau), "is_on_plateau"] = True
    return table, problem_of(space, MAXIMUM_POINT, measure="error", budget=8), errors


def test_a_law_of_the_shape_is_predicted_for_all_and_ranks_those_left_out_perfectly():
    table, problem, errors = planted(list(range(0, 48, 3)))
    predicted, summary = predict_errors(table, problem, measure="error")
    assert summary.to_json() == {"num_candidates": 16, "rank_correlation": pytest.approx(1.0)}
    np.testing.assert_allclose(predicted["predicted"], errors, rtol=0.02)
    np.testing.assert_allclose(predicted["w_predicted"], problem.w(list(range(48)), predicted["predicted"].to_numpy()))
    assert (predicted["predicted_standard_deviation"] > 0).all()
    pd.testing.assert_frame_equal(predicted[table.columns], table)


def test_candidates_on_the_plateau_teach_the_regression_nothing():
    trained = list(range(0, 48, 3))
    table, problem, _ = planted(trained, on_plateau=trained[:4])
    without, _, _ = planted(trained[4:])
    table.loc[trained[:4], "error"] = 5.0
    predicted, summary = predict_errors(table, problem, measure="error")
    expected, expected_summary = predict_errors(without, problem, measure="error")
    assert summary == expected_summary
    assert summary.num_candidates == 12
    np.testing.assert_array_equal(predicted["predicted"], expected["predicted"])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_too_few_errors_predict_nothing(number):
    table, problem, _ = planted(list(range(number)))
    predicted, summary = predict_errors(table, problem, measure="error")
    assert summary.to_json() == {"num_candidates": number, "rank_correlation": None}
    assert predicted[["predicted", "predicted_standard_deviation", "w_predicted"]].isna().all(axis=None)


def test_three_errors_are_enough_to_predict_the_others():
    table, problem, _ = planted([0, 20, 47])
    predicted, summary = predict_errors(table, problem, measure="error")
    assert summary.num_candidates == 3
    assert predicted["predicted"].notna().all()


def test_equal_errors_have_no_rank_correlation():
    table, problem, _ = planted([0, 10, 20, 30])
    table.loc[table["is_trained"], "error"] = 0.5
    predicted, summary = predict_errors(table, problem, measure="error")
    assert summary.to_json() == {"num_candidates": 4, "rank_correlation": None}
    np.testing.assert_allclose(predicted["predicted"], 0.5)

import numpy as np
import pandas as pd
import pytest

from bort_kedro.errors import ConfigurationError
from bort_kedro.search.answers import ANSWERS, excess, knee, largest_w, require_within_caps, smallest_error

NO_CAPS = {"max_parameters": None, "max_latency_ms": None, "max_error": None}


def ranked(cost, error, *, w=None, is_pareto=True):
    """Rows as `choose` hands them on, numbered from 10 to tell labels from places."""
    count = len(cost)
    return pd.DataFrame(
        {"cost": cost, "error": error, "w": w or np.arange(count)[::-1] / count, "is_pareto": is_pareto},
        index=range(10, 10 + count),
    )


def sized(parameters, latency_ms, error):
    count = len(parameters)
    return pd.DataFrame(
        {
            "num_hidden_layers": range(1, count + 1),
            "num_attention_heads": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "parameters": parameters,
            "latency_ms": latency_ms,
            "error": error,
        }
    )


def test_largest_w_is_the_row_label_of_the_largest_w():
    assert largest_w(ranked([1, 2, 3], [0.9, 0.8, 0.7], w=[0.1, 0.5, np.nan]), "error") == 11


def test_the_row_of_the_whole_front_is_the_one_with_the_largest_w():
    table = ranked([1, 2, 3], [0.9, 0.8, 0.7], w=[0.1, 0.2, 0.5])
    assert ANSWERS["pareto_front"](table, "error") == 12


def test_smallest_error_is_taken_whatever_it_costs():
    assert smallest_error(ranked([1, 20, 3], [0.9, 0.5, 0.7]), "error") == 11


def test_of_equal_smallest_errors_the_cheaper_is_taken():
    assert smallest_error(ranked([1, 20, 3, 4], [0.9, 0.5, 0.5, 0.5]), "error") == 12


def test_smallest_error_is_of_the_measure_that_was_asked_for():
    table = ranked([1, 2], [0.9, 0.5]).assign(loss=[1.0, 2.0])
    assert (smallest_error(table, "error"), smallest_error(table, "loss")) == (11, 10)


def test_knee_is_farthest_below_the_line_from_the_cheapest_to_the_best():
    # On axes from 0 to 1, log(cost) is 0, 1/3, 2/3, 1 and the error 1, 0.25, 0.125, 0: the two in the middle lie
    # 1 - 1/3 - 0.25 = 0.417 and 1 - 2/3 - 0.125 = 0.208 below.
    assert knee(ranked([1, 10, 100, 1000], [0.9, 0.6, 0.55, 0.5]), "error") == 11
    # 0 and 1 at the ends; 1 - 1/3 - 0.625 = 0.042 and 1 - 2/3 - 0.1 = 0.233.
    assert knee(ranked([1, 10, 100, 1000], [0.9, 0.75, 0.54, 0.5]), "error") == 12


def test_knee_does_not_depend_on_the_units_of_cost_and_error():
    cost, error = np.array([1.0, 10.0, 100.0, 1000.0]), np.array([0.9, 0.75, 0.54, 0.5])
    assert knee(ranked(1e9 * cost, 7 * error + 3), "error") == knee(ranked(cost, error), "error")


def test_knee_looks_at_the_front_only():
    table = ranked([1, 10, 100, 1000, 2], [0.9, 0.6, 0.55, 0.5, 0.5], is_pareto=[True, True, True, True, False])
    assert knee(table, "error") == 11


def test_a_front_one_wide_on_each_axis_has_a_knee_like_any_other():
    table = ranked([1.0, np.exp(0.5), np.e], [5.0, 4.1, 4.0], w=[0.9, 0.1, 0.2])
    assert knee(table, "error") == 11


@pytest.mark.parametrize(
    ("cost", "error"),
    [([5], [0.5]), ([1, 2], [0.9, 0.5]), ([2, 2, 2], [0.9, 0.5, 0.4]), ([1, 2, 3], [0.5, 0.5, 0.5])],
)
def test_a_front_without_a_bend_has_its_largest_w_for_a_knee(cost, error):
    w = [0.1, 0.7, 0.2][: len(cost)]
    table = ranked(cost, error, w=w)
    assert knee(table, "error") == 10 + int(np.argmax(w))


@pytest.mark.parametrize(
    "error",
    # Above the line from 0.9 to 0.5 at both places in the middle, and on it.
    [[0.9, 0.89, 0.8, 0.5], [0.9, 0.9 - 0.4 / 3, 0.9 - 0.8 / 3, 0.5]],
    ids=["concave", "straight"],
)
def test_a_front_that_bends_the_other_way_has_its_largest_w_for_a_knee(error):
    assert knee(ranked([1, 10, 100, 1000], error, w=[0.1, 0.2, 0.7, 0.3]), "error") == 12
    # One place below the line is enough, however many are above.
    assert knee(ranked([1, 10, 100, 1000], [0.9, 0.89, 0.6, 0.5], w=[0.7, 0.2, 0.1, 0.3]), "error") == 12


def test_excess_is_the_ratio_to_the_cap_missed_most_less_one():
    table = sized([50, 150, 80], [4.0, 4.0, 12.0], [0.5, 0.5, 0.5])
    over = excess(table, {"max_parameters": 100, "max_latency_ms": 8.0, "max_error": None})
    # 50/100 and 4/8; 150/100 and 4/8; 80/100 and 12/8.
    np.testing.assert_allclose(over, [-0.5, 0.5, 0.5])


def test_without_caps_everything_is_allowed():
    table = sized([50, 150], [4.0, np.nan], [0.5, 0.6])
    assert excess(table, NO_CAPS).tolist() == [-np.inf, -np.inf]
    assert require_within_caps(table, NO_CAPS, what="candidates").tolist() == [True, True]


def test_an_unknown_latency_is_not_held_against_a_row():
    table = sized([50, 150, 60], [np.nan, np.nan, 9.0], [0.5, 0.5, 0.5])
    caps = NO_CAPS | {"max_latency_ms": 8.0}
    assert excess(table, caps).tolist()[:2] == [-np.inf, -np.inf]
    assert require_within_caps(table, caps, what="candidates").tolist() == [True, True, False]
    # Its parameters still are.
    assert require_within_caps(table, caps | {"max_parameters": 100}, what="candidates").tolist() == [
        True,
        False,
        False,
    ]


def test_a_column_that_is_missing_is_not_checked():
    table = sized([50, 150], [4.0, 4.0], [0.5, 0.5]).drop(columns="error")
    assert require_within_caps(table, NO_CAPS | {"max_error": 0.1}, what="candidates").tolist() == [True, True]


def test_a_cap_met_exactly_is_met():
    table = sized([100, 101], [8.3, 8.3], [0.3, 0.3])
    caps = {"max_parameters": 100, "max_latency_ms": 8.3, "max_error": 0.3}
    assert require_within_caps(table, caps, what="candidates").tolist() == [True, False]


def test_caps_that_none_meets_name_the_nearest_and_what_they_are_over():
    table = sized([150, 90, 1_234_567, 120], [4.0, 12.5, 4.0, np.nan], [0.5, 0.25, 0.5, 0.5])
    with pytest.raises(ConfigurationError) as caught:
        require_within_caps(
            table, {"max_parameters": 100, "max_latency_ms": 10.0, "max_error": None}, what="candidates"
        )
    assert str(caught.value) == (
        "None of the 4 candidates meets the caps (max_parameters 100, max_latency_ms 10). Nearest:\n"
        "  - (4, 2, 64, 128): parameters 120 (over), latency_ms nan\n"
        "  - (2, 2, 64, 128): parameters 90, latency_ms 12.5 (over)\n"
        "  - (1, 2, 64, 128): parameters 150 (over), latency_ms 4\n"
        "Raise the caps under params:search.caps, or give params:search.space shapes that can meet them."
    )


def test_operations_and_the_size_of_the_file_are_caps_too():
    shape = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
    table = pd.DataFrame([shape, shape | {"num_hidden_layers": 2}]).assign(operations=[100, 200], megabytes=[2.5, 3.0])
    caps = {"max_operations": 150, "max_megabytes": 2.0}
    assert excess(table, caps).tolist() == pytest.approx([0.25, 0.5])
    with pytest.raises(ConfigurationError) as caught:
        require_within_caps(table, caps, what="candidates")
    assert str(caught.value) == (
        "None of the 2 candidates meets the caps (max_operations 150, max_megabytes 2). Nearest:\n"
        "  - (1, 2, 16, 32): operations 100, megabytes 2.5 (over)\n"
        "  - (2, 2, 16, 32): operations 200 (over), megabytes 3 (over)\n"
        "Raise the caps under params:search.caps, or give params:search.space shapes that can meet them."
    )
    assert require_within_caps(table, caps | {"max_megabytes": 2.5}, what="candidates").tolist() == [True, False]


def test_one_candidate_and_one_cap_are_named_alone():
    with pytest.raises(ConfigurationError) as caught:
        require_within_caps(sized([10], [1.0], [0.5]), NO_CAPS | {"max_error": 0.4}, what="trained candidates")
    assert str(caught.value) == (
        "None of the 1 trained candidates meets the caps (max_error 0.4). Nearest:\n"
        "  - (1, 2, 64, 128): error 0.5 (over)\n"
        "Raise the caps under params:search.caps, train more candidates (params:search.budget) or longer "
        "(params:search.training.optimization.num_steps), or give params:search.space shapes that can meet them."
    )


@pytest.mark.parametrize(
    ("caps", "asked", "has", "remedy"),
    [
        ({"max_parameters": 5}, "max_parameters 5", "parameters 10 (over)", ""),
        (
            {"max_error": 0.4},
            "max_error 0.4",
            "error 0.5 (over)",
            "look up more rows (params:search.budget), ",
        ),
    ],
)
def test_caps_that_no_row_of_a_table_meets_are_mended_there(caps, asked, has, remedy):
    with pytest.raises(ConfigurationError) as caught:
        require_within_caps(sized([10], [1.0], [0.5]), NO_CAPS | caps, what="rows looked up", error_source="table")
    assert str(caught.value) == (
        f"None of the 1 rows looked up meets the caps ({asked}). Nearest:\n"
        f"  - (1, 2, 64, 128): {has}\n"
        f"Raise the caps under params:search.caps, {remedy}or change the table, or its `where`, in the catalog entry "
        "`recorded_candidates`."
    )

import json
import time

import numpy as np
import pandas as pd
import pytest

from bort_kedro.datasets.atomic import AtomicCSVDataset
from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.errors import ConfigurationError, TrainingError
from bort_kedro.reporting.report_choice import choice_section
from bort_kedro.reporting.search_plots import pareto_figure, w_figure
from bort_kedro.search.candidates import maximum_of
from bort_kedro.search.conclusion import conclude, notes
from bort_kedro.search.guarantee import Guarantee
from bort_kedro.search.measures import plateau_error
from bort_kedro.search.report import Candidate, SearchReport
from bort_kedro.search.selection import Choice
from bort_kedro.session.result_sections import search_section
from project_parameters import parameters
from search_results import CHOSEN, SECOND, candidate

NO_CAPS = {"max_parameters": None, "max_latency_ms": None, "max_error": None}
SETTINGS = parameters().search.changed(
    strategy="fptas",
    budget=4,
    cost="operations",
    answer="largest_w",
    error_measure="error",
    error_source="training",
    caps=NO_CAPS,
    num_seeds=1,
    hyperparameter_sets=[{}],
)
BASELINES = {"unigram": 0.95, "bigram": 0.9}
MAXIMUM_POINT = {
    "num_hidden_layers": 12,
    "num_attention_heads": 4,
    "hidden_size": 16,
    "intermediate_size": 32,
    "parameters": 100,
    "operations": 1000,
    "latency_ms": 50.0,
    "cost": 1000.0,
    "error": 0.3,
    "error_standard_error": 0.002,
    "loss": 2.0,
    "loss_standard_error": 0.02,
    "seconds": 7.5,
    "num_tokens": 1000,
}
# Six nested candidates of 10, 20, ... 60 parameters and ten times the cost. W is a * 0.3 / e with the size factors a:
# 0.81, 0.64, 0.49, 0.36, 0.25, 0.16.
SHAPES = [
    {"num_hidden_layers": d, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 8} for d in range(1, 7)
]


def toy_space():
    size = 10 * np.arange(1, 7)
    return pd.DataFrame(SHAPES).assign(
        parameters=size, operations=10 * size, latency_ms=size / 2, cost=10.0 * size, latency_source="measured"
    )


def trials(candidates, errors, shares=1.0):
    return pd.DataFrame(
        {
            "candidate": candidates,
            **pd.DataFrame([SHAPES[index] for index in candidates]).to_dict("list"),
            "share": shares,
            "hyperparameter_set": 0,
            "num_seeds": 1,
            "error": errors,
            "error_standard_error": 0.001,
            "loss": [6 * error for error in errors],
            "loss_standard_error": 0.01,
            "seconds": 2.0,
            "num_tokens": 300,
        }
    )


def conclusion(errors, *, space=None, maximum_point=None, encoder=None, baselines=None, **settings):
    settings |= {"maximum_point": encoder} if encoder else {}
    return conclude(
        toy_space() if space is None else space,
        errors,
        MAXIMUM_POINT if maximum_point is None else maximum_point,
        settings=SETTINGS.changed(**settings),
        baseline_errors=BASELINES if baselines is None else baselines,
    )


def test_a_toy_search_ends_with_the_choice_that_paper_and_pencil_give():
    # W: the first 0.81 * 0.3 / 0.9 = 0.27, the second 0.64 * 0.3 / 0.5 = 0.384, the fourth 0.36 * 0.3 / 0.41 = 0.263.
    # The third of a training that the sixth had gives it none.
    table, shape, report = conclusion(
        trials([0, 5, 0, 1, 3], [0.93, 0.35, 0.9, 0.5, 0.41], [1 / 3, 1 / 3, 1.0, 1.0, 1.0])
    )
    expected = [0.27, 0.384, np.nan, 0.36 * 0.3 / 0.41, np.nan, np.nan]
    np.testing.assert_allclose(table["w"], expected)
    assert shape == SHAPES[1]
    assert table["is_selected"].tolist() == [False, True, False, False, False, False]
    assert report.selected.w == pytest.approx(0.384)
    assert report.selected.four() == SHAPES[1]
    assert report.runner_up.four() == SHAPES[0]
    assert report.is_distinguishable is True
    assert [shape.to_json() for shape in report.pareto_front] == [SHAPES[0], SHAPES[1], SHAPES[3]]
    assert (report.num_candidates, report.num_trained, report.num_tried) == (6, 3, 4)
    assert report.trainings_spent == pytest.approx(3.333)
    assert report.num_on_plateau == 0
    # Four candidates of two seconds, the third of a training that the first began with included, and T's.
    assert report.seconds == 15.5
    assert report.num_tokens == 2200
    assert report.notes == ()
    assert report.maximum_point.to_json().items() >= MAXIMUM_POINT.items()
    repeated = ("strategy", "budget", "cost", "answer", "caps", "error_measure", "error_source")
    assert {name: report.to_json()[name] for name in repeated} == SETTINGS.model_dump(include=set(repeated))
    assert report.is_network is True
    assert report.num_better_than_maximum == 0


def test_what_earlier_searches_had_trained_is_counted_and_says_nothing_of_a_candidate():
    errors = trials([0, 1, 3], [0.9, 0.5, 0.41])
    table, _, report = conclusion(errors.assign(was_known=[True, False, True]))
    assert (report.num_known, report.num_tried) == (2, 3)
    assert "was_known" not in table
    assert conclusion(errors)[2].num_known == 0


def test_the_published_scheme_is_told_of_its_own_strategy_alone():
    errors = trials([0, 2, 5], [0.9, 0.5, 0.41])
    optimization = SETTINGS.training.optimization.changed(num_steps=50)
    training = SETTINGS.training.changed(optimization=optimization, batch_tokens=10)
    wish = {"strategy": "fptas", "training": training, "hyperparameter_sets": [{}, {"dropout": 0.0}]}
    _, _, report = conclusion(errors, **wish, budget=None, interval=2, epsilon=1 / 50 / 2**0.5)
    assert report.budget == 3
    published = report.published
    assert (published.interval, published.num_steps, published.num_sets, published.batch_tokens) == (2, 50, 2, 10)
    assert published.epsilon == pytest.approx(1 / (50 * 2**0.5))
    # Six candidates in three intervals, T of 100 parameters: 3 trainings of 2 sets, 50 steps and 10 tokens.
    assert published.promised == pytest.approx(6 + 100 * (1 + 3 * 2 * 50 * 10))
    assert published.planned == pytest.approx(published.promised)
    # Of a budget the interval is what is left for each training; one of four is 1.5 candidates.
    assert conclusion(errors, **wish, budget=4)[2].published.interval == 1.5
    assert conclusion(errors, **wish | {"strategy": "surrogate"}, budget=4)[2].published is None
    assert conclusion(errors, **wish, budget=4, error_source="table")[2].published is None


def test_what_a_table_gave_is_counted_and_is_no_part_of_what_was_spent():
    errors = trials([0, 1, 3], [0.9, 0.5, 0.41])
    table, _, report = conclusion(errors.assign(was_known=[False, True, False], was_given=[True, False, False]))
    assert (report.num_given, report.num_known, report.num_tried, report.trainings_spent) == (1, 1, 3, 2.0)
    assert "was_given" not in table
    assert conclusion(errors)[2].num_given == 0


def test_a_search_that_a_limit_ended_says_so_first():
    errors = trials([0, 1, 3], [0.9, 0.5, 0.41]).assign(ended_by=[None, None, "its trainings had taken 3 minutes"])
    table, _, report = conclusion(errors)
    assert report.notes[0] == (
        "The search ended before its budget was spent: its trainings had taken 3 minutes. A looser limit goes on from "
        "here."
    )
    assert "ended_by" not in table
    assert report.notes[1:] == conclusion(errors.drop(columns="ended_by"))[2].notes
    assert conclusion(errors.assign(ended_by=None))[2].notes == report.notes[1:]


def test_trainings_are_counted_with_every_seed_and_hyperparameter_set():
    errors = trials([0, 5, 1], [0.93, 0.35, 0.5], [1.0, 1 / 3, 1.0])
    repeats = {"num_seeds": 3, "hyperparameter_sets": ({}, {"dropout": 0.1})}
    # Two trainings and a third of one, six times.
    assert conclusion(errors, **repeats)[2].trainings_spent == 14.0
    # A table is looked up once, whatever the parameters of trainings say.
    assert conclusion(errors, **repeats, error_source="table")[2].trainings_spent == pytest.approx(2.333)


def test_the_report_of_a_toy_search_bounds_what_was_missed():
    _, _, report = conclusion(trials([0, 1, 3], [0.9, 0.5, 0.41]))
    # With three trainings T alone bounds: the third has a size factor of 0.49 and could have T's error, 0.3 +- 0.002.
    least = np.exp(-2 * 0.002 / 0.3)
    assert report.guarantee.to_json() == {
        "noise": None,
        "epsilon": pytest.approx(1 - 0.384 * least / 0.49),
        "bound": pytest.approx(0.49 / least),
        "bound_index": 2,
        "bound_shape": SHAPES[2],
        "num_comparable": 3,
        "num_violations": 0,
        "num_beating_maximum": 0,
    }
    _, _, report = conclusion(trials(range(6), [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]))
    assert (report.guarantee.epsilon, report.guarantee.bound_shape) == (0.0, None)


def test_the_report_of_a_toy_search_says_how_the_choice_moves_with_the_maximum_point():
    _, _, report = conclusion(trials([0, 1, 3], [0.9, 0.5, 0.41]))
    # At four times T: (390/400)^2 / 0.9 = 1.056, (380/400)^2 / 0.5 = 1.805, (360/400)^2 / 0.41 = 1.976.
    assert [row.multiple for row in report.sensitivity] == [1, 2, 4, 8, 16]
    assert report.sensitivity[0].to_json() == {"multiple": 1, "by_measure": {"error": SHAPES[1], "loss": SHAPES[1]}}
    assert report.sensitivity[2].to_json() == {"multiple": 4, "by_measure": {"error": SHAPES[3], "loss": SHAPES[3]}}


def test_the_error_model_of_a_toy_search_predicts_the_untrained():
    depth = np.arange(1, 7)
    errors = 0.9 * depth**-0.3
    table, _, report = conclusion(trials([0, 1, 3, 5], errors[[0, 1, 3, 5]]))
    assert report.error_model.to_json() == {"num_candidates": 4, "rank_correlation": pytest.approx(1.0)}
    np.testing.assert_allclose(table["predicted"], errors, rtol=0.05)


def test_every_answer_ends_the_toy_search_as_it_should():
    errors = trials([0, 1, 3, 5], [0.9, 0.5, 0.41, 0.4])
    # On axes from 0 to 1, log(cost) is 0, 0.39, 0.77, 1 and the error 1, 0.2, 0.02, 0: below the line by 0.41, 0.21.
    selected = {name: conclusion(errors, answer=name)[1] for name in ("largest_w", "smallest_error", "knee")}
    assert selected == {"largest_w": SHAPES[1], "smallest_error": SHAPES[5], "knee": SHAPES[1]}
    capped = conclusion(errors, answer="smallest_error", caps=NO_CAPS | {"max_latency_ms": 20.0})
    assert capped[1] == SHAPES[3]
    with pytest.raises(ConfigurationError, match="None of the 4 trained candidates meets the caps"):
        conclusion(errors, caps=NO_CAPS | {"max_error": 0.1})


def test_a_recorded_table_without_baselines_and_losses_is_concluded_likewise():
    recorded = toy_space().assign(error=[0.99, 0.98, 0.97, 0.96, 0.96, 0.96], error_standard_error=np.nan)
    columns = ["candidate", *SHAPE_COLUMNS, "share", "error", "error_standard_error", "seconds", "num_tokens"]
    found = trials([0, 3], [0.99, 0.96])[columns].assign(error_standard_error=0.0)
    point = {
        name: value for name, value in MAXIMUM_POINT.items() if not name.startswith(("loss", "seconds", "num_tokens"))
    }
    point |= {"error_standard_error": float("nan"), "is_network": False}
    table, shape, report = conclusion(found, space=recorded, maximum_point=point, baselines={}, error_source="table")
    assert shape == SHAPES[0]
    np.testing.assert_array_equal(table["error"], [0.99, np.nan, np.nan, 0.96, np.nan, np.nan])
    assert report.sensitivity[0].to_json() == {"multiple": 1, "by_measure": {"error": SHAPES[0]}}
    assert report.maximum_point.error_standard_error is None
    assert (report.error_source, report.is_network) == ("table", False)
    assert SearchReport.from_json(json.loads(json.dumps(report.to_json(), allow_nan=False))) == report


@pytest.mark.parametrize("answer", ["largest_w", "pareto_front", "smallest_error", "knee"])
@pytest.mark.parametrize("measure", ["error", "loss"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 6])
def test_the_report_is_plain_json(answer, measure, number):
    errors = trials(range(number), [0.7, 0.6, 0.5, 0.4, 0.45, 0.35][:number]).assign(loss_standard_error=np.nan)
    _, _, report = conclusion(errors, answer=answer, error_measure=measure)
    assert SearchReport.from_json(json.loads(json.dumps(report.to_json(), allow_nan=False))) == report


def test_two_recorded_candidates_of_one_shape_stay_apart():
    space = toy_space()
    space.loc[2, list(SHAPE_COLUMNS)] = space.loc[1, list(SHAPE_COLUMNS)]
    table, shape, report = conclusion(trials([0, 2], [0.9, 0.35]), space=space)
    assert (len(table), report.num_trained, shape) == (6, 2, SHAPES[1])
    assert table.index[table["is_selected"]].tolist() == [2]


def test_candidates_on_the_plateau_are_counted_and_named():
    _, shape, report = conclusion(trials([0, 1, 3], [0.96, 0.95, 0.5]))
    assert shape == SHAPES[3]
    assert (report.num_on_plateau, report.runner_up) == (2, None)
    assert report.notes == ("No better than the most frequent token, hence not ranked: (1, 2, 8, 8), (2, 2, 8, 8).",)
    with pytest.raises(TrainingError, match="None of the 2 trained candidates"):
        conclusion(trials([0, 1], [0.96, 0.95]))


def failing(candidates, errors, failures, **columns):
    return trials(candidates, errors, **columns).assign(failure=failures)


def test_candidates_that_failed_are_named_with_the_reason_and_are_no_part_of_what_is_known():
    rows = failing([0, 1, 2, 3], [0.9, 0.5, np.nan, 0.41], [None, "set 1, seed 0: gone", "loss is not finite", None])
    table, shape, report = conclusion(rows)
    without, _, plain = conclusion(trials([0, 1, 3], [0.9, 0.5, 0.41]))
    assert shape == SHAPES[1]
    assert (report.num_failed, report.num_trained, report.num_tried) == (1, 3, 4)
    assert report.notes == (
        "Of (2, 2, 8, 8) some trainings failed, and the other hyperparameter sets count: set 1, seed 0: gone.",
        "The training of (3, 2, 8, 8) failed, hence it is not ranked: loss is not finite.",
    )
    assert table["has_failed"].tolist() == [False, False, True, False, False, False]
    assert table.loc[2, ["w", "predicted", "w_predicted"]].isna().all()
    np.testing.assert_array_equal(table["w"], without["w"])
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(table.loc[others, "predicted"], without.loc[others, "predicted"])
    assert report.error_model == plain.error_model
    # The fifth is the largest of those that could still be chosen.
    assert report.guarantee.bound_shape.four() == SHAPES[4]
    assert SearchReport.from_json(json.loads(json.dumps(report.to_json(), allow_nan=False))) == report


def test_a_candidate_that_failed_on_a_lower_rung_is_named_too():
    rows = failing([0, 1, 2], [0.9, 0.5, np.nan], [None, None, "gone"], shares=[1.0, 1.0, 1 / 3])
    table, _, report = conclusion(rows)
    assert (report.num_failed, table.loc[2, "failure"]) == (1, "gone")
    assert table.loc[2, "trained_share"] == pytest.approx(1 / 3)


def test_a_search_in_which_all_trainings_failed_says_so():
    with pytest.raises(TrainingError) as caught:
        conclusion(failing([0, 3], [np.nan, np.nan], ["loss is not finite at step 7", "too small a memory"]))
    assert str(caught.value) == (
        "The trainings of all 2 candidates that were tried have failed, so there is none to choose:\n"
        "  - (1, 2, 8, 8): loss is not finite at step 7\n  - (4, 2, 8, 8): too small a memory\n"
        "Lower learning_rate, or batch_tokens where memory ran out, under params:search.training or its optimization, "
        "or in params:search.hyperparameter_sets; what failed is not trained again until a setting changes."
    )
    with pytest.raises(TrainingError, match=r"The trainings of 1 more have failed:\n  - \(4, 2, 8, 8\): gone$"):
        conclusion(failing([0, 3], [0.96, np.nan], [None, "gone"]))


def test_candidates_better_than_the_maximum_point_are_noted():
    errors = trials([0, 1, 3], [0.9, 0.25, 0.29])
    _, _, report = conclusion(errors)
    assert report.num_better_than_maximum == 2
    assert list(report.notes) == [
        "2 candidate(s) had a lower error than the maximum point once trained further (best 0.250 against 0.300): T is "
        "not the best network of the family yet, as its definition asks; train it longer "
        "(params:search.maximum_point_steps) or choose another maximum point."
    ]
    assert list(conclusion(errors, error_source="table")[2].notes) == [
        "2 row(s) have a lower error than the maximum point (best 0.250 against 0.300): the largest row of the table "
        "is not its best, as the definition of T asks."
    ]


TAUGHT = SETTINGS.distillation.changed(relations=SETTINGS.distillation.relations.changed(weight=1.0))


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        (
            {},
            "choose another maximum point, or measure candidates against this one (params:search.error_measure "
            "divergence).",
        ),
        (
            {"error_measure": "distance", "distillation": TAUGHT},
            "train all of them longer, T's own shape too (params:search.training.optimization.num_steps).",
        ),
    ],
)
def test_what_is_said_of_a_maximum_point_that_is_not_the_best_is_of_use_where_it_was_opened(settings, remedy):
    (note,) = conclusion(trials([0, 1], [0.9, 0.25]), baselines={}, encoder="somewhere/encoder", **settings)[2].notes
    measure = settings.get("error_measure", "error")
    assert note.startswith(f"1 candidate(s) had a lower {measure} than the maximum point")
    assert note.endswith(f"as its definition asks; {remedy}")


def test_an_opened_maximum_point_on_the_plateau_is_not_to_be_trained():
    maximum = MAXIMUM_POINT | {"error": 0.949}
    _, _, report = conclusion(trials([0], [0.5]), maximum_point=maximum, encoder="somewhere/encoder")
    assert report.notes[0].endswith("does without it: choose another params:search.maximum_point.")


def test_of_a_task_the_constant_answer_is_what_must_be_beaten():
    assert plateau_error({"bigram": 0.8, "unigram": 0.95}) == 0.95
    assert plateau_error({"constant": 0.5}) == 0.5
    assert plateau_error({}) is None
    errors = trials([0, 1, 3], [0.5, 0.45, 0.35])
    _, _, report = conclusion(errors, baselines={"constant": 0.5}, error_measure="task", task="order")
    assert report.notes == ("No better than the best constant answer, hence not ranked: (1, 2, 8, 8).",)
    assert report.task == "order"


def test_a_maximum_point_on_the_plateau_is_noted():
    _, _, report = conclusion(trials([0, 1, 3], [0.9, 0.5, 0.41]), maximum_point=MAXIMUM_POINT | {"error": 0.949})
    # What did not learn is no measure of those that did: nothing is said of how many are better.
    assert report.num_better_than_maximum == 0
    (note,) = report.notes
    assert note == (
        "The maximum point is no better than the most frequent token, so it bounds nothing, and the regression does "
        "without it: raise params:search.maximum_point_steps, or change params:search.maximum_point_learning_rate."
    )


def test_a_candidate_is_not_better_than_the_maximum_point_within_its_noise():
    # One of two trainings of T's own shape, 0.29 and 0.31, of which T has the mean and half the difference.
    noisy = MAXIMUM_POINT | {"error_standard_error": 0.01}
    _, _, report = conclusion(trials([0, 1, 3], [0.9, 0.5, 0.29]), maximum_point=noisy)
    assert (report.num_better_than_maximum, report.notes) == (0, ())
    assert conclusion(trials([0, 1, 3], [0.9, 0.5, 0.279]), maximum_point=noisy)[2].num_better_than_maximum == 1


def test_a_candidate_on_the_plateau_is_not_better_than_the_maximum_point():
    # By the loss, which the plateau is not told by: its 0.5 nats are no more than luck.
    errors = trials([0, 1, 3], [0.96, 0.5, 0.41]).assign(loss=[0.5, 3.0, 2.5])
    assert conclusion(errors, error_measure="loss")[2].num_better_than_maximum == 0


def test_candidates_stuck_on_the_plateau_do_not_hide_a_difference():
    # W of 0.347 and 0.304, 12 % apart, by errors that follow the shape; two deep networks never left the plateau.
    errors = (0.7 * np.arange(1.0, 5.0) ** -0.15).tolist()
    found = conclusion(trials(range(4), errors))[2]
    stuck = conclusion(trials(range(6), [*errors, 0.96, 0.96]))[2]
    assert (stuck.selected.four(), stuck.num_on_plateau) == (SHAPES[0], 2)
    assert found.is_distinguishable
    assert stuck.is_distinguishable
    assert stuck.guarantee.noise == found.guarantee.noise


def test_candidates_as_good_as_the_maximum_point_are_not_better():
    _, _, report = conclusion(trials([0, 1, 3], [0.9, 0.3, 0.4]))
    assert (report.num_better_than_maximum, report.notes) == (0, ())


def test_the_luck_of_one_seed_is_the_share_by_which_the_shape_misses_the_errors():
    # The errors go up and down with the depth, so W of 0.384 and 0.270 may be luck; several seeds, or a table, know.
    errors = trials([0, 1, 2, 3], [0.9, 0.5, 0.8, 0.41])
    assert conclusion(errors)[2].is_distinguishable is False
    assert conclusion(errors, num_seeds=3)[2].is_distinguishable is True
    assert conclusion(errors, error_source="table")[2].is_distinguishable is True


def test_a_broken_order_of_errors_is_noted():
    table = pd.DataFrame(
        {
            "error": [0.9],
            "is_on_plateau": [False],
            "is_trained": [True],
            "latency_source": ["measured"],
            "failure": [None],
        }
    )
    bound = Guarantee(
        noise=0.01, epsilon=0.1, bound=0.5, bound_index=0, num_comparable=12, num_violations=3, num_beating_maximum=0
    )
    choice = Choice(table, 0, None, True)
    maximum = maximum_of(MAXIMUM_POINT, "error")
    assert notes(choice, maximum, bound, SETTINGS.changed(error_source="table")) == [
        "In 3 of 12 pairs of rows looked up where one contains the other, the larger one has the higher error, beyond "
        "their noise: the order of errors that the guarantee rests on does not hold for all of this table."
    ]
    assert notes(choice, maximum, bound, SETTINGS) == [
        "In 3 of 12 pairs of trained candidates where one contains the other, the larger one has the higher error, "
        "beyond their noise: the order of errors that the guarantee rests on does not hold for all of this space after "
        "so short a training."
    ]


@pytest.mark.parametrize(("source", "count"), [("modelled", 1), ("measured", 0), ("recorded", 0)])
def test_a_cap_met_by_a_modelled_latency_is_noted(source, count):
    errors = trials([0, 1, 3], [0.9, 0.5, 0.41])
    space = toy_space().assign(latency_source=source)
    _, _, report = conclusion(errors, space=space, caps=NO_CAPS | {"max_latency_ms": 12.5})
    assert (
        list(report.notes)
        == ["The choice meets max_latency_ms 12.5 with 10 ms, but its latency is modelled, not measured."] * count
    )
    assert conclusion(errors, space=space)[2].notes == ()


def test_candidates_over_the_cap_on_the_error_count_as_found_by_nobody():
    # W: 0.384 for the second, 0.263 for the fourth, which alone is under the cap; the third could have 0.49.
    errors = trials([1, 3], [0.5, 0.41])
    _, shape, report = conclusion(errors, caps=NO_CAPS | {"max_error": 0.45})
    assert shape == SHAPES[3]
    bound = report.guarantee.bound
    assert report.guarantee.epsilon == pytest.approx(1 - 0.36 * 0.3 / 0.41 / bound)
    assert conclusion(errors)[2].guarantee.epsilon == pytest.approx(1 - 0.384 / bound)


def test_a_table_whose_rows_are_over_the_cap_on_the_error_is_not_told_to_train():
    with pytest.raises(ConfigurationError) as caught:
        conclusion(trials([1], [0.5]), caps=NO_CAPS | {"max_error": 0.45}, error_source="table", baselines={})
    assert str(caught.value) == (
        "None of the 1 rows looked up meets the caps (max_error 0.45). Nearest:\n"
        "  - (2, 2, 8, 8): error 0.5 (over)\n"
        "Raise the caps under params:search.caps, look up more rows (params:search.budget), or change the table, or "
        "its `where`, in the catalog entry `recorded_candidates`."
    )


def test_a_table_of_thirty_thousand_rows_is_concluded_within_seconds():
    generator = np.random.default_rng(0)
    shapes = np.column_stack([generator.integers(1, high, 30_000) for high in (25, 17, 1025, 4097)])
    size = shapes[:, 0] * shapes[:, 2] * (4.0 * shapes[:, 2] + 2.0 * shapes[:, 3])
    order = np.argsort(size)
    space = pd.DataFrame(shapes[order], columns=list(SHAPE_COLUMNS)).assign(
        parameters=size[order],
        operations=size[order],
        cost=size[order],
        latency_ms=np.sqrt(size[order]),
        latency_source="measured",
    )
    trained = np.sort(generator.choice(30_000, 60, replace=False))
    errors = 0.9 * (size[order][trained] / size.min()) ** -0.04 * np.exp(0.01 * generator.standard_normal(60))
    found = pd.DataFrame({"candidate": trained, "share": 1.0, "error": errors, "error_standard_error": 0.001})
    found = found.assign(seconds=1.0, num_tokens=1)
    largest = float(4 * size.max())
    point = MAXIMUM_POINT | {"parameters": largest, "cost": largest, "error": 0.2}
    started = time.thread_time()
    table, _, report = conclusion(found, space=space, maximum_point=point)
    assert time.thread_time() - started < 10.0
    assert (len(table), report.num_trained) == (30_000, 60)
    assert table.loc[table["is_selected"], "w"].item() == table["w"].max()


def test_empty_cells_of_a_written_table_are_read_as_nothing(tmp_path):
    written = [candidate(CHOSEN, 0.541), candidate(SECOND, None, failure="the loss is not finite", has_failed=True)]
    pd.DataFrame([row.to_json() for row in written]).to_csv(tmp_path / "table.csv", index=False)
    assert Candidate.rows_of(pd.read_csv(tmp_path / "table.csv")) == written


@pytest.mark.slow
def test_a_written_table_with_a_failed_candidate_is_read_wherever_candidates_are_shown(tmp_path):
    reason = "loss is not finite at step 7"
    rows = failing([0, 1, 2, 3], [0.9, 0.5, np.nan, 0.41], [None, None, reason, None])
    table, shape, report = conclusion(rows)
    AtomicCSVDataset(filepath=str(tmp_path / "table.csv"), save_args={"index": False}).save(table)
    read = pd.read_csv(tmp_path / "table.csv")
    rows_read = Candidate.rows_of(read)
    assert [(row.is_trained, row.has_failed, row.failure) for row in rows_read] == [
        *[(True, False, None)] * 2,
        (False, True, reason),
        (True, False, None),
        *[(False, False, None)] * 2,
    ]
    assert rows_read == Candidate.rows_of(table)
    text = choice_section(report, rows_read)
    assert "trained 3 of 6 candidates for a short time; 1 more failed (" in text
    assert f"- The training of (3, 2, 8, 8) failed, hence it is not ranked: {reason}." in text
    assert "| (3, 2, 8, 8) |" not in text
    assert "The best 3 of 3 ranked candidates" in text
    # Neither plot has a point at its 30 parameters, W's none predicted either.
    for figure in (pareto_figure(read, shape, MAXIMUM_POINT), w_figure(read, shape)):
        places = {place for trace in figure.data for place in trace.x}
        assert {10, 20, 40} <= places
        assert 30 not in places
    assert {row[1].removesuffix(" *") for row in search_section(report, rows_read).rows} == {
        *("(1, 2, 8, 8)", "(2, 2, 8, 8)", "(4, 2, 8, 8)")
    }

"""Nodes of the search stage as functions on small frames."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import BertConfig, BertModel

from bort_kedro.datasets.candidate_csv import MADE_COLUMNS, OPTIONAL_COLUMNS, RecordedCandidatesDataset
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.costs import count_operations
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import SHAPE_COLUMNS, BertShape
from bort_kedro.errors import ConfigurationError, FailedTrainingError
from bort_kedro.exports.sizes import exported_bytes
from bort_kedro.latency.model import Calibration
from bort_kedro.latency.shapes import Timing
from bort_kedro.params import FinetuneParams
from bort_kedro.pipelines.search.nodes import (
    enumerate_candidates,
    estimate_costs,
    measure_latency,
    model_latency,
    order_candidates,
    score_baselines,
    take_latency,
)
from bort_kedro.pipelines.search.plot_nodes import plot_choice, plot_search_training
from bort_kedro.pipelines.search.recorded_nodes import (
    compare_strategies,
    order_recorded,
    replay_errors,
    select_recorded,
)
from bort_kedro.pipelines.search.training_nodes import (
    WITHOUT_MAXIMUM_POINT,
    hand_on_candidate,
    measure_errors,
    score_maximum_point,
    train_maximum_point,
)
from bort_kedro.reporting.report_choice import choice_section
from bort_kedro.search.report import Candidate, SearchReport
from bort_kedro.search.settings import SearchSettings
from bort_kedro.search.short_training import ShortTraining
from bort_kedro.search.strategies import STRATEGIES
from bort_kedro.text.tokens import Tokens
from memory_states import NotingObserver
from project_parameters import raw_parameters
from toy_tasks import FILES, examples_of

PROJECT = Path(__file__).resolve().parents[2]
MAXIMUM = BertShape(4, 4, 64, 128)
# Doubling the depth doubles the operations of the layers, so costs are easy to tell.
SHAPES = [BertShape(4, 2, 16, 32), BertShape(1, 2, 16, 32), BertShape(2, 2, 16, 32)]
NO_CAPS = {"max_parameters": None, "max_latency_ms": None, "max_error": None}


def parameters(**changes):
    """The smoke configuration with some values replaced."""
    return SearchSettings(**raw_parameters("smoke", search={"maximum_point": MAXIMUM.to_row()} | changes)["search"])


def frame(shapes, **columns):
    return pd.DataFrame([shape.to_row() for shape in shapes]).assign(**columns)


@pytest.fixture
def costs():
    return frame(SHAPES, parameters=[400, 100, 200], operations=[4000, 1000, 2000], megabytes=[0.9, 0.3, 0.5])


@pytest.fixture
def latency():
    """The deepest was not timed."""
    return frame(SHAPES, latency_ms=[3.5, 1.5, 1.0], latency_source=["modelled", "measured", "measured"])


@pytest.fixture
def timed():
    return frame(
        [SHAPES[1], SHAPES[2], MAXIMUM],
        is_maximum_point=[False, False, True],
        latency_ms=[1.5, 1.0, 12.0],
        latency_modelled_ms=[1.6, 1.1, 11.0],
    )


MAXIMUM_COSTS = MAXIMUM.to_row() | {"parameters": 5000, "operations": 60_000}


def test_candidates_are_every_combination_that_can_be_built():
    space = {"num_hidden_layers": [1, 2], "num_attention_heads": [2, 3], "hidden_size": [16], "intermediate_size": [32]}
    shapes, invalid, maximum = enumerate_candidates(parameters(space=space))
    assert BertShape.from_row(maximum) == parameters().maximum_point.to_shape()
    assert shapes.to_numpy().tolist() == [[1, 2, 16, 32], [2, 2, 16, 32]]
    assert invalid.to_numpy().tolist() == [[1, 3, 16, 32], [2, 3, 16, 32]]
    assert list(shapes) == list(invalid) == list(SHAPE_COLUMNS)


def test_a_shape_that_is_trained_in_any_case_joins_the_candidates_that_lack_it():
    shapes, invalid, _ = enumerate_candidates(
        parameters(space=[[1, 2, 16, 32], [2, 2, 16, 32]], always_train=[[2, 2, 16, 32], [3, 2, 16, 64]])
    )
    assert shapes.to_numpy().tolist() == [[1, 2, 16, 32], [2, 2, 16, 32], [3, 2, 16, 64]]
    assert invalid.empty


@pytest.fixture
def tokens(tiny_blocks, tiny_vocabulary):
    return Tokens(tiny_vocabulary, {"train": tiny_blocks, "validation": tiny_blocks}, "tiny")


def test_costs_of_candidates_and_of_the_maximum_point_are_counted_alike(tokens):
    search = parameters()
    table, maximum, growth = estimate_costs(
        frame([*SHAPES, MAXIMUM]), MAXIMUM.to_row(), tokens, search, max_positions=16
    )
    assert maximum == table.iloc[-1].to_dict()
    counted = count_operations(SHAPES[1], sequence_length=search.latency.sequence_length).total
    assert table["operations"].tolist()[:3] == [4 * counted, counted, 2 * counted]
    assert (
        table["parameters"] == table[["embedding_parameters", "layer_parameters", "head_parameters"]].sum(axis=1)
    ).all()
    assert growth.sentence.startswith("The AB^nC condition holds by degree: ")
    weighed = exported_bytes(MAXIMUM, search.latency.runtime, vocabulary_size=tokens.vocabulary.size, max_positions=16)
    assert maximum["megabytes"] == weighed / 1e6


@pytest.mark.parametrize(
    ("changes", "depths"),
    [
        ({"cost": "operations", "budget": 2, "latency": {"num_measured": 2}}, [1, 2]),
        ({"cost": "measured_latency", "latency": {"num_measured": 1}}, [1, 2, 4]),
        ({"cost": "modelled_latency", "latency": {"num_measured": 9}}, [1, 2, 4]),
    ],
    ids=["as many as asked for", "all where measured latency is the cost", "no more than there are"],
)
def test_representatives_of_the_ordered_space_and_the_maximum_point_are_timed(tokens, tmp_path, costs, changes, depths):
    table = measure_latency(costs, MAXIMUM_COSTS, tokens, TrainingStates(tmp_path, keep=2), parameters(**changes))
    assert table["num_hidden_layers"].tolist() == [*depths, 4]
    assert table["is_maximum_point"].tolist() == [False] * len(depths) + [True]
    assert (table["latency_lower_quartile_ms"] <= table["latency_ms"]).all()
    assert (table["latency_ms"] <= table["latency_upper_quartile_ms"]).all()


@pytest.mark.parametrize(("cost", "depths"), [("exported_latency", [2]), ("measured_latency", [1, 2, 4])])
def test_in_a_runtime_no_more_shapes_are_exported_than_asked_for(tokens, tmp_path, costs, monkeypatch, cost, depths):
    search = parameters(cost=cost, budget=3, latency={"runtime": "onnx_int8", "num_measured": 1, "num_threads": 2})
    asked = {}

    def timed(shapes, states, settings, **others):
        asked.update(others)
        quartiles = {"lower_quartile_ms": 1.0, "upper_quartile_ms": 1.0, "rounds": 3}
        return [Timing(shape=shape, median_ms=1.0, **quartiles) for shape in shapes]

    monkeypatch.setattr("bort_kedro.latency.shapes.time_shapes_once", timed)
    table = measure_latency(costs, MAXIMUM_COSTS, tokens, TrainingStates(tmp_path, keep=2), search)
    assert table["num_hidden_layers"].tolist() == [*depths, 4]
    assert asked["device"] == "cpu"
    assert asked["runtime"].identity["name"] == "onnx_int8"


def brought(shapes, milliseconds):
    return frame(shapes, latency_ms=milliseconds, row=range(2, 2 + len(shapes)))


def test_latencies_that_were_brought_are_taken_and_the_others_modelled_from_them():
    search = parameters(cost="recorded_latency")
    # The second is no candidate and cannot be built, but teaches the model all the same.
    odd = BertShape(3, 2, 16, 32)
    odd_row = pd.DataFrame([[3, 3, 16, 32]], columns=list(SHAPE_COLUMNS))
    table = brought([SHAPES[1], odd], exact_latency([SHAPES[1], odd], search))
    table.loc[1, list(SHAPE_COLUMNS)] = odd_row.iloc[0]
    table.loc[0, "latency_ms"] *= 1.1
    latency = take_latency(table, MAXIMUM_COSTS)
    assert latency["is_maximum_point"].tolist() == [False, False, True]
    modelled, check, calibration = model_latency(frame(SHAPES), latency, search)
    assert modelled["latency_source"].tolist() == ["modelled", "recorded", "modelled"]
    assert modelled["latency_ms"][1] == table.loc[0, "latency_ms"]
    assert calibration.num_measured == 2
    costs = frame(SHAPES, parameters=[400, 100, 200], operations=[4000, 1000, 2000])
    _, point = order_candidates(costs, modelled, check, MAXIMUM_COSTS, search)
    # T was not brought.
    assert point["latency_ms"] == point["cost"] == check["latency_modelled_ms"].iloc[-1]
    assert point["latency_source"] == "modelled"
    assert point["latency_ms"] > modelled["latency_ms"].max()


def test_a_maximum_point_that_was_timed_elsewhere_too_is_taken_as_it_is():
    search = parameters(cost="recorded_latency")
    latency = take_latency(brought([MAXIMUM, SHAPES[0]], [9.0, 2.0]), MAXIMUM_COSTS)
    assert latency["is_maximum_point"].tolist() == [True, False]
    modelled, check, _ = model_latency(frame(SHAPES), latency, search)
    costs = frame(SHAPES, parameters=[400, 100, 200], operations=[4000, 1000, 2000])
    _, point = order_candidates(costs, modelled, check, MAXIMUM_COSTS, search)
    assert (point["latency_ms"], point["latency_source"]) == (9.0, "recorded")


def test_a_shape_that_was_timed_twice_elsewhere_is_named_by_its_line():
    with pytest.raises(ConfigurationError) as caught:
        take_latency(brought([SHAPES[1], MAXIMUM, SHAPES[1]], [1.0, 9.0, 2.0]), MAXIMUM_COSTS)
    assert str(caught.value) == (
        "Line 4 of the catalog's `recorded_latencies` has (1, 2, 16, 32) again, allowed is each shape once: that of "
        "one device, batch size and sequence length. Mend the file, or keep rows out with `where` in the catalog entry."
    )


def exact_latency(shapes, search):
    """Milliseconds that a model of two terms gives exactly."""
    length = search.latency.sequence_length
    return [1.0 + 1e-6 * count_operations(shape, sequence_length=length).total for shape in shapes]


@pytest.mark.parametrize("cost", ["operations", "measured_latency"])
def test_latency_is_as_measured_where_it_was_and_modelled_elsewhere(cost):
    search = parameters(cost=cost)
    shapes = [SHAPES[1], SHAPES[2], MAXIMUM]
    latency = frame(shapes, is_maximum_point=[False, False, True], latency_ms=exact_latency(shapes, search))
    latency.loc[0, "latency_ms"] *= 1.2
    table, check, calibration = model_latency(frame(SHAPES), latency, search)
    assert table["latency_source"].tolist() == ["modelled", "measured", "measured"]
    assert table["latency_ms"].tolist()[1:] == latency["latency_ms"].tolist()[:2]
    assert table["latency_ms"][0] == pytest.approx(exact_latency(SHAPES[:1], search)[0], rel=0.3)
    assert list(table) == [*SHAPE_COLUMNS, "latency_ms", "latency_source"]
    assert len(check) == 3
    assert check["latency_leave_one_out_ms"].notna().all()
    assert calibration.num_measured == 3


def test_a_modelled_cost_takes_no_latency_as_it_was_measured():
    search = parameters(cost="modelled_latency")
    shapes = [SHAPES[1], SHAPES[2], MAXIMUM]
    latency = frame(shapes, is_maximum_point=[False, False, True], latency_ms=exact_latency(shapes, search))
    table, check, calibration = model_latency(frame(SHAPES), latency, search)
    assert table["latency_source"].tolist() == ["modelled"] * 3
    assert table["latency_ms"].tolist() == pytest.approx(exact_latency(SHAPES, search))
    assert check["latency_leave_one_out_ms"].tolist() == pytest.approx(exact_latency(shapes, search))
    assert calibration.largest_relative_residual == pytest.approx(0.0, abs=1e-9)


def test_a_maximum_point_that_comes_apart_ends_the_search_with_what_to_change(tokens, tiny_tokenizer, tmp_path):
    search = parameters(maximum_point_learning_rate=1e9)
    with pytest.raises(FailedTrainingError) as caught:
        train_maximum_point(tokens, tiny_tokenizer, TrainingStates(tmp_path, keep=2), MAXIMUM_COSTS, search, 16)
    text = str(caught.value)
    assert text.startswith(f"the maximum point {MAXIMUM}: ")
    assert "is not finite at step" in text
    assert text.endswith(f". {WITHOUT_MAXIMUM_POINT}")


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["loss", "divergence", "distance"])
def test_the_maximum_point_is_trained_with_every_set_and_seed_as_a_candidate(tokens, tiny_tokenizer, tmp_path, measure):
    relations = parameters().distillation.relations.changed(weight=1.0, num_heads=2)
    search = parameters(
        error_measure=measure,
        maximum_point_steps=3,
        num_seeds=2,
        # The first of them comes apart.
        hyperparameter_sets=[{"learning_rate": 1e9}, {"dropout": 0.1}],
        distillation=parameters().distillation.changed(relations=relations).to_json(),
    )
    optimization = search.training.optimization.changed(num_steps=3)
    search = search.changed(training=search.training.changed(optimization=optimization))
    states = TrainingStates(tmp_path, keep=2)
    encoder, row, history = train_maximum_point(tokens, tiny_tokenizer, states, MAXIMUM_COSTS, search, 16)
    assert encoder.model.config.hidden_dropout_prob == 0.1
    assert len(history) == 3
    assert row["hyperparameter_set"] == 1
    assert measure == "distance" or row[measure] > 0
    assert ("loss" in row) == (measure != "distance")
    # Of the second set both seeds, but one where candidates are measured against T; of the first nothing is kept.
    kept = {path.parent.name for path in tmp_path.glob("search/maximum-point-*/step-000000003-*")}
    assert len(kept) == (2 if measure == "loss" else 1)


@pytest.mark.slow
def test_the_error_of_the_maximum_point_and_of_candidates_may_be_that_of_a_task(tokens, tiny_tokenizer, tmp_path):
    search = parameters(error_measure="task", task="toy", maximum_point_steps=3, num_seeds=2)
    search = search.changed(
        training=search.training.changed(optimization=search.training.optimization.changed(num_steps=3))
    )
    own = {"toy": {"files": FILES, "columns": {"text": "text", "label": "label"}}}
    finetune = FinetuneParams(**raw_parameters("smoke")["finetune"] | {"tasks": ["toy"], "own_tasks": own})
    examples, states = examples_of(), TrainingStates(tmp_path, keep=2)
    size = MAXIMUM_COSTS | {"cost": 60_000.0, "latency_ms": 3.0}
    encoder, maximum, _ = train_maximum_point(tokens, tiny_tokenizer, states, size, search, 32, examples, finetune)
    # Of 24 examples of dev, two seeds.
    assert (24 * 2 * maximum["error"]) == pytest.approx(round(24 * 2 * maximum["error"]))
    assert "loss" not in maximum
    space = frame(SHAPES[1:2], parameters=[100], cost=[1000.0])
    errors, _, _ = measure_errors(
        space, maximum, encoder, {}, tokens, tiny_tokenizer, states, search, 32, examples, finetune
    )
    (row,) = errors.to_dict("records")
    assert 0 < row["error"] < 1
    assert row["error_standard_error"] > 0
    assert list(tmp_path.glob("finetune/toy-*"))
    # Two seeds of each, and of the trained T its own.
    assert len(list(tmp_path.glob("search/scores/*"))) == 2
    # Two labels, each of half of dev.
    assert score_baselines(tokens, search, examples, finetune) == {"constant": 0.5}


def test_an_opened_maximum_point_whose_own_shape_comes_apart_ends_the_search_with_what_to_change(
    tokens, tiny_tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setattr(ShortTraining, "run", lambda *arguments: {"failure": "loss is not finite at step 3"})
    distillation = parameters().distillation
    relations = distillation.relations.changed(weight=1.0)
    search = parameters(error_measure="distance", distillation=distillation.changed(relations=relations).to_json())
    encoder, states = (
        Pretrained(BertModel(BertConfig(**MAXIMUM.to_row(), vocab_size=300)), tiny_tokenizer),
        TrainingStates(tmp_path, keep=2),
    )
    with pytest.raises(FailedTrainingError) as caught:
        score_maximum_point(encoder, tokens, tiny_tokenizer, states, MAXIMUM_COSTS, search, 16)
    assert str(caught.value) == (f"the maximum point {MAXIMUM}: loss is not finite at step 3. {WITHOUT_MAXIMUM_POINT}")


def test_candidates_are_told_with_what_they_cost_their_errors_and_their_w(
    tokens, tiny_tokenizer, tmp_path, monkeypatch
):
    records = {
        4: {"failure": "its loss climbs", "seconds": 1.0},
        1: {"error": 0.5, "error_standard_error": 0.1, "loss": 2.0, "loss_standard_error": 0.5, "seconds": 2.0},
        2: {"error": 0.9, "error_standard_error": 0.1, "loss": 4.0, "loss_standard_error": 0.5, "seconds": 3.0},
    }
    history = [{"step": 60, "loss": 2.0}]

    def run(self, shape, *arguments):
        return records[shape.num_hidden_layers] | {"num_tokens": 100, "history": history}

    monkeypatch.setattr(ShortTraining, "run", run)
    space = frame(
        [SHAPES[1], SHAPES[2], SHAPES[0]],
        parameters=[100, 200, 400],
        cost=[10.0, 20.0, 40.0],
        latency_ms=[1.0, 2.0, 4.0],
    )
    point = MAXIMUM.to_row() | {"parameters": 1000, "cost": 100.0, "error": 0.4, "error_standard_error": 0.01}
    states = TrainingStates(tmp_path, keep=2, observer=NotingObserver())
    search = parameters(budget=3, strategy="exhaustive", start="random", error_measure="error")
    maximum = Pretrained(None, tiny_tokenizer)
    measure_errors(space, point, maximum, {"unigram": 0.95}, tokens, tiny_tokenizer, states, search, 16)
    told = {training.name: (results, rows, failure) for training, results, rows, failure in states.observer.ended}
    costs = {"parameters": 100.0, "cost": 10.0, "latency_ms": 1.0}
    errors = {"error": 0.5, "error_standard_error": 0.1, "loss": 2.0, "loss_standard_error": 0.5}
    # (1000 - 100) / 1000 * (100 - 10) / 100 * 0.4 / 0.5, and a fifth of that.
    w = {"w": pytest.approx(0.648), "w_standard_error": pytest.approx(0.1296)}
    spent = {"trained_share": 1.0, "seconds": 2.0, "num_tokens": 100.0}
    assert told["(1, 2, 16, 32)"] == (costs | errors | w | spent, history, None)
    # No better than guessing beyond its noise.
    assert "w" not in told["(2, 2, 16, 32)"][0]
    failed = {"parameters": 400.0, "cost": 40.0, "latency_ms": 4.0, "trained_share": 1.0, "seconds": 1.0}
    assert told["(4, 2, 16, 32)"] == (failed | {"num_tokens": 100.0}, [], "its loss climbs")


def test_the_chosen_candidate_is_handed_on_as_its_best_set_and_first_seed_left_it(
    tokens, tiny_tokenizer, tmp_path, monkeypatch
):
    asked = []

    def trained(self, *arguments):
        asked.append((self.start, arguments))
        return "model"

    monkeypatch.setattr(ShortTraining, "trained", trained)
    sets = ({}, {"learning_rate": 1e-3})
    search = parameters(hyperparameter_sets=sets, start="random")
    # Of the chosen one, a rung before its end, under another set.
    errors = frame([SHAPES[1], *SHAPES], share=[0.5, 1.0, 1.0, 1.0], hyperparameter_set=[0, 0, 1, 0])
    maximum, states = Pretrained(None, tiny_tokenizer), TrainingStates(tmp_path, keep=2)
    found = hand_on_candidate(errors, SHAPES[1].to_row(), maximum, tokens, tiny_tokenizer, states, search, 16)
    assert (found.model, found.tokenizer) == ("model", tiny_tokenizer)
    assert asked == [("random", (SHAPES[1], {"learning_rate": 1e-3}, search.training.optimization.seed))]


def test_too_few_measured_shapes_give_nothing_in_the_place_of_what_json_lacks():
    latency = frame([SHAPES[1], MAXIMUM], is_maximum_point=[False, True], latency_ms=[1.0, 9.0])
    _, _, calibration = model_latency(frame(SHAPES), latency, parameters())
    assert calibration.rank_correlation is None
    assert calibration.median_relative_residual is None
    assert calibration.num_measured == 2


@pytest.mark.parametrize(
    ("cost", "expected", "maximum"),
    [
        ("operations", [1000.0, 2000.0, 4000.0], 60_000.0),
        # T on the scale of the candidates.
        ("modelled_latency", [1.5, 1.0, 3.5], 11.0),
        ("measured_latency", [1.5, 1.0, 3.5], 12.0),
    ],
)
def test_candidates_come_in_order_with_the_cost_that_was_asked_for(costs, latency, timed, cost, expected, maximum):
    table, point = order_candidates(costs, latency, timed, MAXIMUM_COSTS, parameters(cost=cost))
    assert table["parameters"].tolist() == [100, 200, 400]
    assert table["cost"].tolist() == expected
    assert table.index.tolist() == [0, 1, 2]
    source, latency_ms = ("modelled", 11.0) if cost == "modelled_latency" else ("measured", 12.0)
    assert point == MAXIMUM_COSTS | {"latency_ms": latency_ms, "latency_source": source, "cost": maximum}


def test_candidates_of_equal_parameters_are_ordered_by_cost(costs, latency, timed):
    equal = costs.assign(parameters=100)
    table, _ = order_candidates(equal, latency, timed, MAXIMUM_COSTS, parameters(cost="modelled_latency"))
    assert table["cost"].tolist() == [1.0, 1.5, 3.5]


@pytest.mark.parametrize(
    ("caps", "depths"),
    [
        ({"max_parameters": 200}, [1, 2]),
        ({"max_latency_ms": 1.2}, [2]),
        ({"max_operations": 2000}, [1, 2]),
        ({"max_megabytes": 0.3}, [1]),
        ({"max_parameters": 100, "max_latency_ms": 1.5}, [1]),
        # Nobody's error is known yet.
        ({"max_error": 1e-9}, [1, 2, 4]),
    ],
)
def test_candidates_over_a_cap_are_left_out(costs, latency, timed, caps, depths):
    table, _ = order_candidates(costs, latency, timed, MAXIMUM_COSTS, parameters(caps=caps))
    assert table["num_hidden_layers"].tolist() == depths


def test_caps_that_nobody_meets_name_the_nearest(costs, latency, timed):
    caps = {"max_parameters": 150, "max_latency_ms": 0.5, "max_error": 0.3}
    with pytest.raises(ConfigurationError) as caught:
        order_candidates(costs, latency, timed, MAXIMUM_COSTS, parameters(caps=caps))
    assert str(caught.value) == (
        "None of the 3 candidates meets the caps (max_parameters 150, max_latency_ms 0.5). Nearest:\n"
        "  - (2, 2, 16, 32): parameters 200 (over), latency_ms 1 (over)\n"
        "  - (1, 2, 16, 32): parameters 100, latency_ms 1.5 (over)\n"
        "  - (4, 2, 16, 32): parameters 400 (over), latency_ms 3.5 (over)\n"
        "Raise the caps under params:search.caps, or give params:search.space shapes that can meet them."
    )


@pytest.fixture
def recorded():
    """Four rows; heads that do not divide the hidden size are nobody's business here."""
    rows = [(4, 3, 64, 128), (1, 2, 32, 64), (2, 2, 32, 64), (1, 3, 64, 64)]
    return pd.DataFrame(rows, columns=list(SHAPE_COLUMNS)).assign(
        parameters=[1000.0, 100.0, 200.0, 300.0],
        latency_ms=[10.0, 1.0, 2.0, 4.0],
        error=[0.2, 0.5, 0.3, 0.4],
        row=[2, 3, 4, 5],
    )


def recorded_parameters(**changes):
    return parameters(
        **{
            "error_source": "table",
            "cost": "measured_latency",
            "strategy": "exhaustive",
            "recorded_maximum_multiple": 4.0,
            **changes,
        }
    )


# As YAML would have it; the heads of a maximum point must divide its hidden size, so its row is given 4.
LARGEST = {"num_hidden_layers": 4, "num_attention_heads": 4, "hidden_size": 64, "intermediate_size": 128}


def test_the_maximum_point_is_the_row_of_its_shape_where_that_is_the_largest(recorded):
    recorded.loc[0, "num_attention_heads"] = 4
    space, maximum, counts = order_recorded(recorded, recorded_parameters(maximum_point=LARGEST))
    assert space["row"].tolist() == [3, 4, 5]
    assert space["latency_source"].unique().tolist() == ["recorded"]
    assert maximum["is_network"] is True
    assert {name: maximum[name] for name in ("parameters", "cost", "error", "latency_ms")} == {
        "parameters": 1000.0,
        "cost": 10.0,
        "error": 0.2,
        "latency_ms": 10.0,
    }
    assert {name: maximum[name] for name in LARGEST} == LARGEST
    assert counts == {"num_rows": 4, "num_over_caps": 0}


@pytest.mark.parametrize("change", ["another shape", "a smaller row"])
def test_without_such_a_row_the_maximum_point_is_made_up_above_them_all(recorded, change):
    if change == "a smaller row":
        recorded.loc[0, ["num_attention_heads", "latency_ms"]] = 4, 3.0
    largest = recorded["latency_ms"].max()
    space, maximum, _ = order_recorded(recorded, recorded_parameters(maximum_point=LARGEST))
    assert space["row"].tolist() == [3, 4, 5, 2]
    assert maximum["is_network"] is False
    assert (maximum["parameters"], maximum["cost"]) == (4000.0, 4 * largest)
    # The shape is that of the row whose error it has, and not one that the configuration happens to state.
    assert [maximum[name] for name in SHAPE_COLUMNS] == space[list(SHAPE_COLUMNS)].iloc[-1].tolist()
    # A point that nobody trained has no noise, and JSON no NaN.
    assert (maximum["error"], maximum["error_standard_error"]) == (0.2, None)


def test_a_made_up_maximum_point_knows_no_more_than_the_largest_row(recorded):
    # The largest in parameters; the smallest error, that of a smaller one, is not seen.
    recorded.loc[0, "error"] = 0.35
    _, maximum, _ = order_recorded(recorded, recorded_parameters(maximum_point=LARGEST))
    assert (maximum["is_network"], maximum["error"]) == (False, 0.35)
    with_noise = recorded.assign(error_standard_error=[0.02, 0.01, 0.01, 0.01])
    assert order_recorded(with_noise, recorded_parameters(maximum_point=LARGEST))[1]["error_standard_error"] == 0.02


def test_the_cost_of_a_recorded_candidate_is_counted_or_as_recorded(recorded):
    search = recorded_parameters(cost="operations")
    space, _, _ = order_recorded(recorded, search)
    expected = count_operations(BertShape(1, 2, 32, 64), sequence_length=search.latency.sequence_length).total
    assert space["cost"][0] == space["operations"][0] == expected
    space, _, _ = order_recorded(recorded, recorded_parameters(cost="modelled_latency"))
    assert space["cost"].tolist() == [1.0, 2.0, 4.0, 10.0]


@pytest.fixture
def joules(recorded):
    """The table with a cost of its own, as the texts of a file, and without latency."""
    return recorded.drop(columns="latency_ms").assign(joules=["8", " 2", "1", "5"], optimizer=["a", "b", "c", "d"])


def test_any_column_of_numbers_may_be_the_cost_and_latency_need_not_be_there(joules):
    search = recorded_parameters(cost="joules")
    space, maximum, counts = order_recorded(joules, search)
    assert space["row"].tolist() == [3, 4, 5, 2]
    assert space["cost"].tolist() == [2.0, 1.0, 5.0, 8.0]
    assert space["optimizer"].tolist() == ["b", "c", "d", "a"]
    assert (maximum["cost"], maximum["latency_ms"], maximum["is_network"]) == (32.0, None, False)
    errors = replay_errors(space, maximum, search)
    table, selected, report = select_recorded(space, errors, maximum, counts, search)
    # p(T) is 4000, i(T) 32 joules, e(T) 0.2: 0.366, 0.614, 0.390, 0.5625.
    assert table["w"].tolist() == pytest.approx(
        [
            3900 / 4000 * 30 / 32 * 0.2 / 0.5,
            3800 / 4000 * 31 / 32 * 0.2 / 0.3,
            3700 / 4000 * 27 / 32 * 0.2 / 0.4,
            3000 / 4000 * 24 / 32 * 0.2 / 0.2,
        ]
    )
    assert selected == dict(zip(SHAPE_COLUMNS, (2, 2, 32, 64), strict=True))
    assert (report.cost, report.own_cost, report.selected.cost, report.selected.latency_ms) == (
        "joules",
        "joules",
        1.0,
        None,
    )
    assert SearchReport.from_json(json.loads(json.dumps(report.to_json(), allow_nan=False))) == report
    text = choice_section(report, Candidate.rows_of(table))
    assert "a lower cost than the maximum point (`joules`, as recorded)" in text
    assert "costs 32.0x less (`joules`)" in text
    assert "| **(2, 2, 32, 64)** | 200 |" in text
    assert "atenc" not in text.replace("Latency, ms", "")
    pareto, w = plot_choice(table, selected, maximum, report)
    assert "ms a pass" not in pareto.to_json() + w.to_json()


def test_the_columns_that_a_replay_makes_are_those_that_a_file_cannot_keep(joules):
    search, space, maximum, counts, errors = replayed(joules, cost="operations")
    table, _, _ = select_recorded(space, errors, maximum, counts, search)
    made = set(table) - set(joules) - set(OPTIONAL_COLUMNS)
    typed = {name for name in Candidate.model_fields if name not in {*joules, *OPTIONAL_COLUMNS}}
    assert made | typed | {*SHAPE_COLUMNS, "row"} <= MADE_COLUMNS
    # Besides what a candidate may hold of a training: the keys that the file's rows and T are told apart by.
    assert MADE_COLUMNS - made - typed == {*SHAPE_COLUMNS, "row", "is_network"}


@pytest.mark.parametrize(
    ("cost", "found"),
    [
        ("watts", "and the recorded table has no column `watts`"),
        ("measured_latency", "and the recorded table has no column `latency_ms`"),
        ("optimizer", "and column `optimizer` holds texts"),
        ("error", "and column `error` holds no cost"),
    ],
)
def test_a_cost_that_the_table_does_not_have_is_answered_with_those_it_has(joules, cost, found):
    with pytest.raises(ConfigurationError) as caught:
        order_recorded(joules, recorded_parameters(cost=cost))
    assert str(caught.value) == (
        f"params:search.cost is `{cost}`, {found}. Allowed are the columns of numbers: parameters, joules, operations. "
        "Change params:search.cost, or the table."
    )


@pytest.mark.parametrize("cell", ["", "0", "-1"])
def test_a_row_without_a_cost_is_named_by_its_line(joules, cell):
    joules.loc[2, "joules"] = cell
    with pytest.raises(ConfigurationError) as caught:
        order_recorded(joules, recorded_parameters(cost="joules"))
    assert str(caught.value) == (
        f"params:search.cost is `joules`: line 4 of the recorded table has {cell!r} in column `joules`, allowed are "
        "finite numbers above 0. Mend the table, or keep such rows out with `where` in the catalog entry "
        "`recorded_candidates`, or change params:search.cost."
    )


def test_the_error_of_a_table_may_be_the_column_of_a_task(joules):
    table = joules.assign(library=["0.4", "0.3", "0.2", "0.1"], error_standard_error=0.01)
    search = recorded_parameters(cost="joules", error_measure="task", task="library")
    space, maximum, _ = order_recorded(table, search)
    assert space["error"].tolist() == [0.3, 0.2, 0.1, 0.4]
    assert space["error_standard_error"].isna().all()
    assert maximum["error"] == 0.4
    with pytest.raises(ConfigurationError) as caught:
        order_recorded(joules, search)
    assert str(caught.value) == (
        "params:search.task is `library`, and the recorded table has no column `library`. Allowed are the columns of "
        "numbers: parameters, joules, operations. Change params:search.task, or the table."
    )


@pytest.mark.parametrize(("cap", "column"), [("max_latency_ms", "latency_ms"), ("max_megabytes", "megabytes")])
def test_a_cap_on_what_a_table_does_not_have_is_refused(joules, cap, column):
    with pytest.raises(ConfigurationError) as caught:
        order_recorded(joules, recorded_parameters(cost="joules", caps={cap: 2.5}))
    assert str(caught.value) == (
        f"params:search.caps.{cap} is 2.5, and the recorded table has no column `{column}` that could be held against "
        "it. Set it to null, or give the table one."
    )
    table = joules.assign(**{column: [1.0, 2.0, 3.0, 4.0]})
    space, _, _ = order_recorded(table, recorded_parameters(cost="joules", caps={cap: 2.5}))
    assert len(space) == 2


def test_the_space_of_the_parameters_is_no_limit_to_the_maximum_point_of_a_table(recorded):
    small = {"num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 8, "intermediate_size": 8}
    recorded.loc[0, list(small)] = list(small.values())
    _, maximum, _ = order_recorded(recorded, recorded_parameters(maximum_point=small))
    assert maximum["is_network"] is True
    assert {name: maximum[name] for name in small} == small


def test_recorded_candidates_over_a_cap_are_left_out_and_counted(recorded):
    space, maximum, counts = order_recorded(recorded, recorded_parameters(caps={"max_latency_ms": 2.0}))
    assert space["row"].tolist() == [3, 4]
    # The maximum point is made from all rows: a cap is no reason for W to change.
    assert maximum["parameters"] == 4000.0
    assert counts == {"num_rows": 4, "num_over_caps": 2}


def replayed(recorded, **changes):
    search = recorded_parameters(**changes)
    space, maximum, counts = order_recorded(recorded, search)
    return search, space, maximum, counts, replay_errors(space, maximum, search)


@pytest.mark.parametrize(
    ("strategy", "budget", "candidates"),
    [
        ("exhaustive", 1, [0, 1, 2, 3]),
        # Of four the middle, 1, and that of the longer rest.
        ("fptas", 2, [1, 2]),
        ("random", 3, sorted(np.random.default_rng(5).permutation(4)[:3].tolist())),
    ],
)
def test_the_errors_of_those_asked_for_are_looked_up(recorded, strategy, budget, candidates):
    _, space, _, _, errors = replayed(recorded, strategy=strategy, budget=budget, seed=5)
    assert errors["candidate"].tolist() == candidates
    assert errors["error"].tolist() == space.loc[candidates, "error"].tolist()
    assert (errors["share"] == 1.0).all()
    assert (
        errors[list(SHAPE_COLUMNS)].to_numpy().tolist()
        == space.loc[candidates, list(SHAPE_COLUMNS)].to_numpy().tolist()
    )


@pytest.mark.parametrize("strategy", ["fptas", "surrogate", "random", "successive_halving"])
def test_a_row_that_is_looked_up_in_any_case_is_the_first_of_the_budget(recorded, strategy):
    _, _, _, _, errors = replayed(recorded, strategy=strategy, budget=2, always_train=[[1, 2, 32, 64]])
    assert errors["candidate"].iloc[0] == 0
    assert errors["share"].iloc[0] == 1.0
    assert errors.loc[errors["share"] == 1.0, "candidate"].nunique() == 2


def test_a_replay_ends_where_too_little_is_promised(recorded):
    whole, ended = (
        replayed(recorded, strategy="surrogate", budget=4, trials_per_round=1, min_expected_gain=least)[-1]
        for least in (None, 0.99)
    )
    assert whole["candidate"].nunique() == 4
    assert whole["ended_by"].isna().all()
    # Half of the budget are representatives.
    pd.testing.assert_frame_equal(ended.drop(columns="ended_by"), whole[:2].drop(columns="ended_by"))
    assert ended["ended_by"].iloc[-1].endswith(", under params:search.min_expected_gain 0.99")


@pytest.mark.parametrize("strategy", ["surrogate", "successive_halving"])
def test_strategies_that_learn_spend_their_budget_on_different_rows(recorded, strategy):
    _, _, _, _, errors = replayed(recorded, strategy=strategy, budget=3)
    assert errors["candidate"].is_unique
    assert errors["candidate"].isin(range(4)).all()
    if strategy == "surrogate":
        assert len(errors) == 3


def test_the_choice_is_the_row_of_the_largest_w_by_hand(recorded):
    search, space, maximum, counts, errors = replayed(recorded)
    table, selected, report = select_recorded(space, errors, maximum, counts, search)
    # p(T) is 4000, i(T) 40 ms, e(T) the smallest error, 0.2.
    assert table["w"].tolist() == pytest.approx(
        [
            3900 / 4000 * 39 / 40 * 0.2 / 0.5,
            3800 / 4000 * 38 / 40 * 0.2 / 0.3,
            3700 / 4000 * 36 / 40 * 0.2 / 0.4,
            3000 / 4000 * 30 / 40 * 0.2 / 0.2,
        ]
    )
    # 0.380, 0.602, 0.416, 0.563
    assert selected == dict(zip(SHAPE_COLUMNS, (2, 2, 32, 64), strict=True))
    assert report.runner_up.row == 2
    # (1, 3, 64, 64) is larger, slower and worse than (2, 2, 32, 64).
    assert table["is_pareto"].tolist() == [True, True, False, True]
    assert report.guarantee.epsilon == 0.0
    assert (report.num_candidates, report.num_trained, report.num_over_caps) == (4, 4, 0)
    assert report.error_measure == "error"


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({"answer": "smallest_error"}, 2),
        ({"answer": "smallest_error", "caps": {"max_latency_ms": 4.0}}, 4),
        ({"answer": "smallest_error", "caps": {"max_parameters": 150}}, 3),
        ({"answer": "pareto_front"}, 4),
        ({"caps": {"max_error": 0.25}}, 2),
    ],
)
def test_answers_and_caps_lead_to_other_rows(recorded, changes, row):
    search, space, maximum, counts, errors = replayed(recorded, **changes)
    table, _, _ = select_recorded(space, errors, maximum, counts, search)
    assert table.loc[table["is_selected"], "row"].tolist() == [row]


def test_recorded_standard_errors_are_noise_and_their_gaps_are_none(recorded):
    noisy = recorded.assign(error_standard_error=[0.1, 0.0, 0.1, np.nan])
    search, space, maximum, counts, errors = replayed(noisy)
    _, _, report = select_recorded(space, errors, maximum, counts, search)
    # Unknown is not none: the third has no noise in the table.
    np.testing.assert_array_equal(errors["error_standard_error"], [0.0, 0.1, np.nan, 0.1])
    # 0.602 against 0.563, with noises of 0.201 and 0.281.
    assert report.is_distinguishable is False


def test_a_table_without_noise_leaves_it_unknown(recorded):
    search, space, maximum, counts, errors = replayed(recorded)
    table, _, report = select_recorded(space, errors, maximum, counts, search)
    assert errors["error_standard_error"].isna().all()
    assert table["w_standard_error"].isna().all()
    assert report.is_distinguishable is False
    assert [row.error_standard_error for row in (report.selected, report.runner_up, report.maximum_point)] == [None] * 3
    assert SearchReport.from_json(json.loads(json.dumps(report.to_json(), allow_nan=False))) == report


def test_what_is_said_of_a_replayed_search_speaks_of_no_training(recorded):
    search, space, maximum, counts, errors = replayed(recorded, strategy="fptas", budget=2)
    table, _, report = select_recorded(space, errors, maximum, counts, search)
    text = choice_section(report, Candidate.rows_of(table))
    assert text.startswith(
        "The strategy `fptas` looked up 2 of 4 rows of a recorded table (the representative of each interval of the "
        "space). The maximum point T is a point 4 times the largest row in parameters and cost, with the error of the "
        "largest, (4, 3, 64, 128): no network, as `search.maximum_point` is no row that is the largest in both. "
    )
    assert "train" not in text
    assert "±" not in text


def test_caps_that_no_recorded_row_meets_name_the_table(recorded):
    with pytest.raises(ConfigurationError) as caught:
        order_recorded(recorded, recorded_parameters(caps={"max_parameters": 50}))
    assert str(caught.value) == (
        "None of the 4 rows of the recorded table meets the caps (max_parameters 50). Nearest:\n"
        "  - (1, 2, 32, 64): parameters 100 (over)\n"
        "  - (2, 2, 32, 64): parameters 200 (over)\n"
        "  - (1, 3, 64, 64): parameters 300 (over)\n"
        "Raise the caps under params:search.caps, or change the table, or its `where`, in the catalog entry "
        "`recorded_candidates`."
    )


@pytest.mark.slow
def test_strategies_are_compared_at_several_budgets_on_parts_of_the_table():
    table = RecordedCandidatesDataset(filepath=str(PROJECT / "tests/datasets/recorded_candidates.csv")).load()
    search = recorded_parameters()
    space, maximum, _ = order_recorded(table, search)
    comparison = compare_strategies(space, maximum, search)
    assert list(comparison) == ["strategy", "trainings", "statistic", "mean", "lower", "upper"]
    assert set(comparison["strategy"]) == set(STRATEGIES) - {"exhaustive"}
    # Parts have 16 of the 26 rows; the budgets are 2, 3 and 5.
    drawn = comparison[(comparison["strategy"] == "random") & (comparison["statistic"] == "w")]
    assert drawn["trainings"].tolist() == [2.0, 3.0, 5.0]
    assert comparison["statistic"].value_counts().to_dict() == {"hypervolume": 12, "w": 12}
    assert comparison["mean"].between(0, 1).all()
    assert (comparison["lower"] <= comparison["upper"]).all()


def test_a_comparison_is_the_same_every_time(recorded):
    search = recorded_parameters()
    space, maximum, _ = order_recorded(recorded, search)
    pd.testing.assert_frame_equal(
        compare_strategies(space, maximum, search), compare_strategies(space, maximum, search)
    )


def test_the_trainings_of_a_search_in_which_all_failed_are_drawn_without_them():
    history = pd.DataFrame([], columns=["shape", "share", "step"])
    maximum = pd.DataFrame({"step": [1, 2], "loss": [6.0, 5.0], "masked_accuracy": [0.1, 0.2]})
    check = pd.DataFrame([MAXIMUM.to_row()]).assign(
        is_maximum_point=True, latency_ms=1.0, latency_modelled_ms=1.1, latency_leave_one_out_ms=1.2
    )
    calibration = Calibration(
        rank_correlation=None,
        median_relative_residual=None,
        largest_relative_residual=None,
        num_measured=1,
        coefficients={},
    )
    curves, _ = plot_search_training(history, check, calibration, parameters(), maximum)
    alone, _ = plot_search_training(history, check, calibration, parameters())
    assert len(alone.data) == len(curves.data) - 1
    assert [trace.name for trace in curves.data] == ["maximum point"]

"""The evaluate slice with an in-memory catalog, and its parameters."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from pydantic import ValidationError

from bort_kedro.errors import TaskError
from bort_kedro.params import EvaluateParams
from bort_kedro.pipelines.evaluate import create_pipeline
from bort_kedro.pipelines.evaluate.nodes import measure_speed, score_task, summarise_tasks

CONF = Path(__file__).resolve().parents[2] / "conf"


def predictions(test="aabb", dev="ab"):
    splits = ["test"] * len(test) + ["dev"] * len(dev)
    labels = ["a", "b"] * 3
    return pd.DataFrame({"split": splits, "label": labels, "prediction": [*test, *dev]})


def parameters(env):
    text = (CONF / env / "parameters_evaluate.yml").read_text("utf-8")
    return EvaluateParams(**yaml.safe_load(text)["evaluate"])


def test_pipeline_scores_each_task_in_its_namespace():
    pipeline = create_pipeline(["library", "order"])
    assert {node.name for node in pipeline.nodes} == {
        "library.score_task_node",
        "order.score_task_node",
        "summarise_tasks_node",
        "measure_speed_node",
        "plot_speed_node",
        "write_report_node",
    }
    assert pipeline.inputs() == {
        "library.predictions",
        "library.finetuning_report",
        "order.predictions",
        "order.finetuning_report",
        "selected_shape",
        "params:evaluate.speed",
        "corpus_manifest",
        "search_report",
        "candidate_table",
        "pretraining_metrics",
    }
    assert pipeline.outputs() == {"report", "speed_plot"}


def test_building_the_pipeline_in_a_new_process_warns_of_nothing():
    command = "from bort_kedro.pipelines.evaluate import create_pipeline; create_pipeline(['library', 'order'])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_tasks_are_scored_and_summarised_by_a_runner():
    cost = {"trials": [{}], "seconds": 2.0, "labels": ["a", "b"], "truncated_share": 0.0}
    catalog = DataCatalog(
        {
            "library.predictions": MemoryDataset(predictions()),
            "library.finetuning_report": MemoryDataset(cost),
        }
    )
    pipeline = create_pipeline(["library"]).only_nodes("library.score_task_node", "summarise_tasks_node")
    outputs = SequentialRunner().run(pipeline, catalog)
    (row,) = outputs["task_scores"].load().to_dict("records")
    assert (row["task"], row["accuracy"], row["num_examples"], row["num_labels"]) == ("library", 0.5, 4, 2)


def test_score_task_scores_test_at_the_top_and_dev_below():
    metrics = score_task(predictions())
    # test: a b a b against a a b b; dev: a b, both right.
    assert (metrics["accuracy"], metrics["num_examples"], metrics["beats_majority"]) == (0.5, 4, False)
    assert (metrics["dev"]["accuracy"], metrics["dev"]["num_examples"]) == (1.0, 2)


def test_score_task_without_a_test_split_says_what_it_found():
    table = predictions().query("split == 'dev'")
    with pytest.raises(TaskError, match=r"no example of split `test`, only of \['dev'\]"):
        score_task(table)


def test_score_task_names_a_missing_column():
    with pytest.raises(TaskError, match="lack prediction"):
        score_task(predictions().drop(columns="prediction"))


def test_summary_has_a_row_for_each_task_in_the_order_given():
    cost = {"trials": [{}, {}], "seconds": 12.5, "labels": ["a", "b"], "truncated_share": 0.25}
    table = summarise_tasks(
        **{
            "order.metrics": score_task(predictions()),
            "order.finetuning_report": cost,
            "library.metrics": score_task(predictions(test="abab")),
            "library.finetuning_report": cost | {"seconds": 1.0},
        }
    )
    assert table["task"].tolist() == ["order", "library"]
    assert table["accuracy"].tolist() == [0.5, 1.0]
    assert table["dev_accuracy"].tolist() == [1.0, 1.0]
    assert table["seconds"].tolist() == [12.5, 1.0]
    assert table["num_trials"].tolist() == [2, 2]


def test_speed_of_the_smoke_configuration_is_measured_for_both_shapes(tiny_shape):
    table = measure_speed(tiny_shape.to_row(), parameters("smoke").speed)
    assert table["name"].tolist() == ["chosen shape", "TinyBERT-4 shape"]
    assert (table["lower_quartile_ms"] <= table["median_ms"]).all()
    assert (table["median_ms"] > 0).all()
    assert table["median_ms"].is_monotonic_increasing
    assert table["measured_vs_bert_large"].isna().all()


@pytest.mark.parametrize("env", ["base", "smoke"])
def test_configurations_are_valid_and_the_default_times_the_references(env):
    speed = parameters(env).speed
    assert speed.sequence_length <= speed.max_positions
    if env == "base":
        assert {"bert_base", "bert_large", "bort", "bort_exchanged"} <= set(speed.compare_with)


def test_unknown_shape_is_refused_with_the_allowed_ones():
    values = parameters("smoke").speed.model_dump() | {"compare_with": ["bert_huge"]}
    with pytest.raises(ValidationError, match=r"\['bert_huge'\], allowed are different keys out of bert_large"):
        EvaluateParams(speed=values)


def test_a_sequence_over_the_positions_is_refused():
    values = parameters("smoke").speed.model_dump() | {"sequence_length": 513}
    with pytest.raises(ValidationError, match="sequence_length 513 is over max_positions 512"):
        EvaluateParams(speed=values)

"""The evaluate slice with an in-memory catalog, and its parameters."""

import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from pydantic import ValidationError

import project_parameters
from bort_kedro.errors import TaskError
from bort_kedro.evaluation.settings import BootstrapSettings
from bort_kedro.params import EvaluateParams
from bort_kedro.pipelines.evaluate import create_pipeline
from bort_kedro.pipelines.evaluate.score_nodes import scorer_of, summarise_tasks
from bort_kedro.pipelines.evaluate.speed_nodes import measure_speed
from bort_kedro.pipelines.finetune.nodes import NO_PREDICTIONS
from bort_kedro.pipelines.namespaces import RESULTS
from task_records import FINETUNING, FLOOR_REPORTS, TEACHER, examples

CONF = Path(__file__).resolve().parents[2] / "conf"
FINETUNE = project_parameters.parameters("smoke").finetune
BOOTSTRAP = BootstrapSettings(level=0.9, num_resamples=200, seed=0)
EXAMPLES = examples(test="official test").to_json()
COST = FINETUNING.to_json()
FLOORS = {name: report.to_json() for name, report in FLOOR_REPORTS.items()}


def predictions(test="aabb", dev="ab"):
    """Answers to a, b, a, b of test, in two parts, and to a, b of dev."""
    splits = ["test"] * len(test) + ["dev"] * len(dev)
    count = len(splits)
    return pd.DataFrame(
        {
            "split": splits,
            "part": ["matched", "matched", "mismatched", "mismatched", "", ""][:count],
            "group": [str(row) for row in range(count)],
            "option": None,
            "label": (["a", "b"] * 3)[:count],
            "prediction": [*test, *dev],
        }
    )


def floors(table):
    """Two floors that answer a to all."""
    return pd.concat([table.assign(prediction="a", method=name) for name in FLOORS])


def scored(table, rivals=None, name="library", floor_predictions=None):
    others = floors(table) if floor_predictions is None else floor_predictions
    return scorer_of(name)(table, COST, others, FINETUNE, BOOTSTRAP, rivals)


def parameters(env):
    """Those of an environment over those of base, as a session has them."""
    values = {}
    for folder in ("base", env):
        text = (CONF / folder / "parameters_evaluate.yml").read_text("utf-8")
        values |= yaml.safe_load(text)["evaluate"]
    return EvaluateParams(**values)


def opened(pipeline):
    """What is opened of the results of each stage."""
    nodes = [node for node in pipeline.nodes if node.name.startswith("evaluate.open_")]
    return {node.inputs[0]: {name.removeprefix("evaluate.") for name in node.outputs} for node in nodes}


def test_pipeline_scores_each_task_in_its_namespace():
    pipeline = create_pipeline(["library", "order"])
    assert {node.name for node in pipeline.nodes} == {
        "evaluate.library.answer_task_by_floors_node",
        "evaluate.order.answer_task_by_floors_node",
        "evaluate.library.score_task_node",
        "evaluate.order.score_task_node",
        "evaluate.library.write_task_card_node",
        "evaluate.order.write_task_card_node",
        "evaluate.library.export_model_node",
        "evaluate.order.export_model_node",
        "evaluate.write_encoder_card_node",
        "evaluate.average_tasks_node",
        "evaluate.summarise_tasks_node",
        "evaluate.measure_speed_node",
        "evaluate.plot_speed_node",
        "evaluate.cost_stages_node",
        "evaluate.write_report_node",
        "evaluate.write_report_page_node",
        *(f"evaluate.open_{name}_results_node" for name in RESULTS),
    }
    assert pipeline.inputs() == {
        *(f"{task}.{name}" for task in ("library", "order") for name in ("finetuned_model", "examples")),
        "student_encoder",
        "corpus_documents",
        "params:evaluate.card",
        "params:evaluate.bootstrap",
        "params:evaluate.export",
        "params:finetune",
        "selected_shape",
        "params:evaluate.speed",
        *RESULTS.values(),
    }
    reported = ["predictions", "finetuning_report", "rival_predictions", "rivals_report", "teacher_report"]
    assert opened(pipeline) == {
        "corpus_results": {"corpus_manifest"},
        "search_results": {"search_report", "candidate_table", "pareto_plot"},
        "pretrain_distill_results": {
            *("pretraining_metrics", "pretraining_plot"),
            *(f"{name}_history" for name in ("teacher", "student", "undistilled")),
        },
        "tasks_results": {"library.examples_report", "order.examples_report"},
        "finetune_results": {f"{task}.{name}" for task in ("library", "order") for name in reported},
    }
    ends = ["report_page", "encoder_card", "library.model_card", "order.model_card", "library.export", "order.export"]
    assert pipeline.outputs() == {f"evaluate.{name}" for name in ends}


def test_the_report_is_written_again_from_saved_data_alone():
    """No model, no text of the corpus and no training state is among what ``--tags report`` reads."""
    slice_ = create_pipeline(["library"]).only_nodes_with_tags("report")
    assert {node.name for node in slice_.nodes} == {
        "evaluate.cost_stages_node",
        "evaluate.write_report_node",
        "evaluate.write_report_page_node",
        *(f"evaluate.open_{name}_results_node" for name in ("corpus", "search", "pretrain_distill")),
    }
    assert slice_.inputs() == {
        *("corpus_results", "search_results", "pretrain_distill_results"),
        *("evaluate.task_scores", "evaluate.speed_table", "evaluate.leaderboard", "evaluate.speed_plot"),
        "evaluate.library.export_report",
    }


def test_rivals_are_scored_only_of_tasks_that_train_some():
    assert not any("rival" in name for name in create_pipeline(["library"], has_rivals=False).datasets())
    # The diagnostic has the model of MNLI, whose rivals answer MNLI alone.
    read = opened(create_pipeline(["mnli", "ax"]))["finetune_results"]
    assert {name for name in read if "rival" in name} == {"mnli.rival_predictions", "mnli.rivals_report"}


def test_teachers_are_summarised_only_where_there_are_some():
    read = opened(create_pipeline(["mnli", "ax"], has_rivals=False))
    assert {name for name in read["finetune_results"] if "teacher" in name} == {"mnli.teacher_report"}
    without = opened(create_pipeline(["mnli", "ax"], has_teacher=False, has_rivals=False))
    assert not any("teacher" in name for name in without["finetune_results"])
    assert "teacher_history" in without["pretrain_distill_results"] & read["pretrain_distill_results"]


def test_building_the_pipeline_in_a_new_process_warns_of_nothing():
    command = "from bort_kedro.pipelines.evaluate import create_pipeline; create_pipeline(['library', 'order'])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_tasks_are_scored_and_summarised_by_a_runner():
    catalog = DataCatalog(
        {
            "evaluate.library.predictions": MemoryDataset(predictions()),
            "evaluate.library.finetuning_report": MemoryDataset(COST),
            "evaluate.library.floor_predictions": MemoryDataset(floors(predictions())),
            "evaluate.library.floors_report": MemoryDataset(FLOORS),
            "evaluate.library.examples_report": MemoryDataset(EXAMPLES),
            "params:finetune": MemoryDataset(FINETUNE),
            "params:evaluate.bootstrap": MemoryDataset(BOOTSTRAP),
        }
    )
    stage = create_pipeline(["library"], has_teacher=False, has_rivals=False)
    pipeline = stage.only_nodes("evaluate.library.score_task_node", "evaluate.summarise_tasks_node")
    outputs = SequentialRunner().run(pipeline, catalog)
    (row,) = outputs["evaluate.task_scores"].load().to_dict("records")
    assert (row["task"], row["score"], row["num_examples"], row["num_labels"]) == ("library", 0.5, 4, 2)


def test_score_task_scores_test_and_dev_and_the_parts_of_test():
    metrics = scored(predictions(test="abba"))
    # test: a b a b against a b b a; dev: a b, both right.
    assert (metrics["method"], metrics["metric"]) == ("agora", "accuracy")
    test, dev = metrics["test"], metrics["dev"]
    assert (test["score"], test["metric_accuracy"], test["num_examples"]) == (0.5, 0.5, 4)
    assert {name: (floor["score"], floor["lead"]) for name, floor in test["floors"].items()} == {
        "constant": (0.5, 0.0),
        "tfidf": (0.5, 0.0),
    }
    assert (dev["score"], dev["num_examples"]) == (1.0, 2)
    assert {part: rows["score"] for part, rows in metrics["parts"].items()} == {"matched": 1.0, "mismatched": 0.0}
    assert {part: rows["floors"]["tfidf"]["lead"] for part, rows in metrics["parts"].items()} == {
        "matched": 0.5,
        "mismatched": -0.5,
    }
    assert metrics["rivals"] == {}


def test_scores_have_intervals_and_the_summary_those_of_test():
    metrics = scored(predictions(test="abba"))
    test, dev = metrics["test"]["interval"], metrics["dev"]["interval"]
    # Two of four right: resamples have any number right; dev has nothing wrong.
    assert 0.0 <= test["low"] < 0.5 < test["high"] <= 1.0
    assert dev == {"low": 1.0, "high": 1.0, "level": 0.9, "num_resamples": 200}
    table = summarise_tasks(
        **{
            "library.metrics": metrics,
            "library.floors_report": FLOORS,
            "library.finetuning_report": COST,
            "library.examples_report": EXAMPLES,
        }
    )
    assert table[["interval_low", "interval_high"]].to_numpy().tolist() == [[test["low"], test["high"]]]
    assert "interval" not in table


def test_a_split_of_one_example_has_no_interval():
    metrics = scored(predictions(test="a", dev="ab").assign(part=""))
    assert "interval" not in metrics["test"]
    assert "interval" in metrics["dev"]
    table = summarise_tasks(
        **{
            "library.metrics": metrics,
            "library.floors_report": FLOORS,
            "library.finetuning_report": COST,
            "library.examples_report": EXAMPLES,
        }
    )
    assert table[["interval_low", "interval_high"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda rows: rows.assign(prediction="c"), "c"),
        (lambda rows: rows.assign(probability_a=0.5, probability_b=0.3, probability_c=0.2), "a, b, c"),
        (lambda rows: rows.assign(probability_a=1.0), "a"),
    ],
    ids=["another label", "one more", "one fewer"],
)
def test_predictions_of_a_model_with_other_labels_are_refused(change, found):
    with pytest.raises(TaskError) as caught:
        scored(change(predictions()))
    assert str(caught.value) == (
        f"Task `library` has the 2 labels a, b, but `library.predictions` are of a model with {found}. Run `kedro run "
        "--pipelines finetune` to its end, then this stage."
    )


def test_lead_over_a_rival_is_paired_by_example_of_test():
    rivals = pd.concat(
        [
            predictions(test="bbab", dev="ba").assign(method="plain"),
            predictions(test="abab").assign(method="distilled"),
        ]
    )
    leads = scored(predictions(test="abaa"), rivals)["rivals"]
    # Against a b a b: Agora has three right, plain three, but another one wrong, distilled all four.
    assert (leads["plain"]["score"], leads["plain"]["lead"]) == (0.75, 0.0)
    assert (leads["distilled"]["score"], leads["distilled"]["lead"]) == (1.0, -0.25)
    # Jackknife over four examples that differ by -1, 0, 0, 1: the error of a mean, sqrt(2 / 3 / 4).
    assert leads["plain"]["lead_standard_error"] == pytest.approx(math.sqrt(2 / 3 / 4))


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.iloc[1:],
        lambda rows: rows.iloc[[1, 0, 2, 3]],
        lambda rows: rows.assign(label=["a", "b", "a", "a"]),
        lambda rows: rows.assign(part="matched"),
        lambda rows: rows.assign(option=["x", "y", "x", "y"]),
    ],
    ids=["fewer", "other order", "other label", "other part", "other option"],
)
def test_rivals_of_other_examples_are_refused(change):
    rivals = change(predictions().query("split == 'test'")).assign(method="plain")
    with pytest.raises(TaskError) as caught:
        scored(predictions(), rivals)
    assert str(caught.value) == (
        "Task `library`: `library.predictions` and `library.rival_predictions` answer different test examples, so they "
        "are of different runs. Run `kedro run --pipelines finetune` to its end, then this stage."
    )


def test_floors_of_a_diagnostic_learn_from_the_task_whose_model_answers_it():
    read = {node.name: node.inputs for node in create_pipeline(["mnli", "ax"], has_rivals=False).nodes}
    assert read["evaluate.mnli.answer_task_by_floors_node"] == ["mnli.examples", "params:finetune"]
    assert read["evaluate.ax.answer_task_by_floors_node"] == ["ax.examples", "params:finetune", "mnli.examples"]


def test_floors_of_other_examples_are_refused():
    with pytest.raises(TaskError, match=r"`library\.floor_predictions` answer different dev examples"):
        scored(predictions(), floor_predictions=floors(predictions()).query("split == 'test'"))


def test_a_task_without_agora_has_an_empty_table_of_rivals_and_no_lead():
    assert scored(predictions(), NO_PREDICTIONS)["rivals"] == {}


def test_diagnostic_is_scored_on_test_alone_and_without_labels_not_at_all():
    labelled = predictions().assign(label="neutral", prediction=["neutral"] * 3 + ["entailment"] * 3)
    metrics = scored(labelled.query("split == 'test'"), name="ax")
    assert (metrics["metric"], set(metrics) & {"dev", "test"}) == ("matthews", {"test"})
    unlabelled = labelled.assign(split="submission", label=None)
    metrics = scored(unlabelled, name="ax")
    assert not set(metrics) & {"dev", "test"}
    assert metrics["parts"] == {}
    assert summarise_tasks(
        **{
            "ax.metrics": metrics,
            "ax.floors_report": FLOORS,
            "ax.finetuning_report": COST,
            "ax.examples_report": EXAMPLES,
        }
    ).empty


def test_score_task_without_a_test_split_says_what_it_found():
    table = predictions().query("split == 'dev'")
    with pytest.raises(TaskError, match=r"no example of split `test`, only of \['dev'\]"):
        scored(table)


def test_score_task_names_a_missing_column():
    with pytest.raises(TaskError, match="lack prediction"):
        scored(predictions().drop(columns="prediction"))


def test_summary_has_a_row_for_each_task_in_the_order_given():
    rivals = predictions(test="abab").assign(method="plain")
    table = summarise_tasks(
        **{
            "order.metrics": scored(predictions()),
            "order.floors_report": FLOORS,
            "order.finetuning_report": COST,
            "order.examples_report": EXAMPLES,
            "library.metrics": scored(predictions(test="abab"), rivals),
            "library.floors_report": FLOORS,
            "library.finetuning_report": COST | {"seconds": 1.0},
            "library.examples_report": EXAMPLES | {"num_rows_skipped": {"train.tsv": 2, "dev.tsv": 1}},
        }
    )
    assert table["task"].tolist() == ["order", "library"]
    assert table["test_split"].tolist() == ["official test"] * 2
    assert table["num_rows_skipped"].tolist() == [0, 3]
    assert table["score"].tolist() == [0.5, 1.0]
    assert table["dev_score"].tolist() == [1.0, 1.0]
    assert table["plain_lead"].isna().tolist() == [True, False]
    assert table["plain_lead"][1] == 0.0
    assert table["seconds"].tolist() == [12.5, 1.0]
    assert table["num_trials"].tolist() == [2, 2]


def test_calibration_is_told_among_scores_and_in_the_summary_where_there_is_any():
    told = {"temperature": 1.5, "error_before": 0.125, "error": 0.0625, "num_questions": 4}
    report = COST | {"calibration": {"dev": told | {"error": 0.03125}, "test": told}}
    tables = predictions(), floors(predictions())
    metrics = scorer_of("library")(tables[0], report, tables[1], FINETUNE, BOOTSTRAP)
    assert metrics["calibration"] == report["calibration"]
    shared = {"floors_report": FLOORS, "examples_report": EXAMPLES}
    table = summarise_tasks(
        **{
            f"{name}.{what}": value
            for name, facts in (
                ("library", shared | {"metrics": metrics, "finetuning_report": report}),
                ("order", shared | {"metrics": scored(predictions()), "finetuning_report": COST}),
            )
            for what, value in facts.items()
        }
    )
    columns = ["temperature", "calibration_error_before", "calibration_error"]
    assert table.loc[0, columns].tolist() == [1.5, 0.125, 0.0625]
    assert table.loc[1, columns].isna().all()


def test_summary_tells_further_scores_the_teacher_and_what_teacher_and_rivals_took():
    rivals = predictions(test="abab").assign(method="plain")
    table = summarise_tasks(
        **{
            # Both right in the first part, both wrong in the second.
            "library.metrics": scored(predictions(test="abba"), rivals),
            "library.floors_report": FLOORS,
            "library.finetuning_report": COST,
            "library.examples_report": EXAMPLES,
            "library.teacher_report": TEACHER.to_json(),
            "library.rivals_report": {"plain": COST | {"seconds": 2.0}, "distilled": COST | {"seconds": 3.0}},
            "order.metrics": scored(predictions().assign(part="")) | {"metric": "f1"},
            "order.floors_report": FLOORS,
            "order.finetuning_report": COST,
            "order.examples_report": EXAMPLES,
        }
    )
    library, order = table.to_dict("records")
    assert library["other_scores"] == "matched 1.000, mismatched 0.000"
    # Of any other metric than the first.
    assert order["other_scores"] == "accuracy 0.500"
    names = (
        *("teacher_score", "teacher_standard_error", "teacher_bar", "is_teacher_over"),
        *("teacher_seconds", "rival_seconds"),
    )
    assert [library[name] for name in names] == [0.8, 0.02, 0.75, True, 4.5, 5.0]
    assert [order[name] for name in names[4:]] == [0.0, 0]
    assert table.loc[1, list(names[:4])].isna().all()


def test_speed_of_the_smoke_configuration_is_measured_for_both_shapes_with_and_without_a_head(tiny_shape):
    table = measure_speed(tiny_shape.to_row(), parameters("smoke").speed)
    assert table["name"].tolist() == ["chosen shape", "TinyBERT-4 shape"] * 2
    assert table["has_head"].tolist() == [False, False, True, True]
    assert table["is_reference"].tolist() == [True, True, False, False]
    assert (table["lower_quartile_ms"] <= table["median_ms"]).all()
    assert (table["interval_low_ms"] <= table["median_ms"]).all()
    assert (table["interval_high_ms"] >= table["median_ms"]).all()
    assert (table["median_ms"] > 0).all()
    # TinyBERT-4 is hundreds of times the tiny shape in every respect.
    assert (table["median_ms"].diff()[1::2] > 0).all()
    assert (table["peak_memory_bytes"].diff()[1::2] > 0).all()
    assert table["throughput"].tolist() == pytest.approx((1000 / table["median_ms"]).tolist())
    assert table["measured_vs_bert_large"].isna().all()


@pytest.mark.parametrize("env", ["base", "smoke"])
def test_configurations_are_valid_and_the_default_times_the_references(env):
    speed = parameters(env).speed
    assert max(speed.sequence_lengths) <= speed.max_positions
    if env == "base":
        assert {"bert_base", "bert_large", "distilbert", "minilm_l6", "tinybert_4"} <= set(speed.compare_with)
        assert {"bort", "bort_exchanged"} <= set(speed.compare_with)


def test_unknown_shape_is_refused_with_the_allowed_ones():
    values = parameters("smoke").speed.model_dump() | {"compare_with": ["bert_huge"]}
    with pytest.raises(ValidationError, match=r"\['bert_huge'\], allowed are different keys out of bert_large"):
        EvaluateParams(speed=values)


def test_a_sequence_over_the_positions_is_refused():
    values = parameters("smoke").speed.model_dump() | {"sequence_lengths": [16, 513]}
    with pytest.raises(ValidationError, match="sequence_lengths holds 513, which is over max_positions 512; set it"):
        EvaluateParams(speed=values)


def test_a_condition_that_is_listed_twice_is_refused():
    values = parameters("smoke").speed.model_dump() | {"batch_sizes": [1, 8, 1]}
    with pytest.raises(ValidationError, match=r"batch_sizes is \[1, 8, 1\], allowed are different numbers"):
        EvaluateParams(speed=values)

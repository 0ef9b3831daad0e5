"""The finetune slice as a graph, and its nodes on toy data with an in-memory catalog."""

from __future__ import annotations

import copy
import json
import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from transformers import BertForMaskedLM, BertModel

from bort_kedro.agora.settings import TRANSFORMATIONS
from bort_kedro.configuration import base_parameters, check_parameters
from bort_kedro.datasets.task_files import TaskFilesDataset
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.errors import TeacherError
from bort_kedro.evaluation.settings import BootstrapSettings
from bort_kedro.params.finetune import task_of
from bort_kedro.pipeline_registry import build_pipelines
from bort_kedro.pipelines import tasks
from bort_kedro.pipelines.evaluate.score_nodes import floors_of, scorer_of, summarise_tasks
from bort_kedro.pipelines.finetune import OWN_STUDENT, OWN_TEACHER, create_pipeline
from bort_kedro.pipelines.finetune.nodes import (
    diagnostic_predictor_of,
    open_finetuning_student,
    open_finetuning_teacher,
    recorded_reader_of,
    rival_tuner_of,
    student_tuner_of,
    teacher_tuner_of,
)
from bort_kedro.pipelines.tasks import nodes as tasks_nodes
from bort_kedro.reporting.task_rows import TaskRow
from bort_kedro.tasks.settings import OwnTaskSettings, RecordedLabelsSettings
from bort_kedro.tasks.table import TASKS, Form, scoring_task
from memory_states import NotingObserver
from project_parameters import raw_parameters
from toy_tasks import encoder_of, examples_of, write_conll, write_csv

LARGER = BertShape(num_hidden_layers=1, num_attention_heads=4, hidden_size=64, intermediate_size=64)
QUICK = {"max_tokens": 48, "batch_tokens": [512], "num_threads": 1, "num_epochs": 1}


def parameters(**changes):
    """Those of the smallest configuration with an own task `toy` and changes."""
    every = raw_parameters("smoke")
    raw = every["finetune"]
    folder = changes.pop("folder", Path("data"))
    files = {split: str(folder / f"{split}.csv") for split in ("train", "dev", "test")}
    columns = {"text": "text", "label": "label"}
    raw |= {"tasks": ["toy"], "own_tasks": {"toy": {"files": files, "columns": columns}}, "rivals": ["plain"]}
    raw["training"] |= {**QUICK, "learning_rates": [1e-3, 3e-3], "dropout": 0.0}
    raw["teacher"]["training"] |= {**QUICK, "learning_rates": [1e-2], "num_epochs": changes.pop("teacher_epochs", 8)}
    raw["teacher"]["recorded"] = changes.pop("recorded", {})
    raw["agora"]["transformation"]["max_tokens"] = 48
    raw |= changes
    return check_parameters(every | {"finetune": raw}).finetune


@pytest.fixture
def states(tmp_path):
    return TrainingStates(tmp_path / "states", keep=2, observer=NotingObserver())


@pytest.fixture(scope="module")
def student(tiny_tokenizer):
    return encoder_of(tiny_tokenizer)


@pytest.fixture(scope="module")
def larger(tiny_tokenizer):
    return encoder_of(tiny_tokenizer, seed=1, shape=LARGER)


@pytest.fixture
def told(states):
    return states.observer.trials


class Kept(MemoryDataset):
    """What a run made, kept beyond its last use."""

    def _release(self):
        pass


def names_of(pipeline):
    return {node.name for node in pipeline.nodes}


def test_each_task_has_the_whole_stage_in_its_namespace():
    pipeline = create_pipeline(["library", "cola"])
    assert names_of(pipeline) == {
        f"finetune.{task}.fine_tune_{what}_node"
        for task in ("library", "cola")
        for what in ("teacher", "student", "rivals")
    } | {"finetune.gather_results_node"}
    examples = {"library.examples", "cola.examples"}
    assert pipeline.inputs() == examples | {"student_encoder", "teacher_encoder", "training_states", "params:finetune"}
    own = ["predictions", "finetuning_report", "teacher_report", "rival_predictions", "rivals_report"]
    ends = ["history", "points", "teacher_history", "teacher_predictions", "rivals_history"]
    assert pipeline.all_outputs() == {
        "finetune_results",
        *(f"{task}.finetuned_model" for task in ("library", "cola")),
        *(f"finetune.{task}.{name}" for task in ("library", "cola") for name in (*own, *ends, "teacher_classifier")),
    }
    (gather,) = [node for node in pipeline.nodes if node.name == "finetune.gather_results_node"]
    assert set(gather.inputs) == {f"finetune.{task}.{name}" for task in ("library", "cola") for name in (*own, *ends)}
    assert {tag for node in pipeline.nodes for tag in node.tags} == {"finetune"}


def test_without_rivals_none_are_trained_and_plainly_there_is_no_teacher():
    without = create_pipeline(["cola"], has_rivals=False)
    assert names_of(without) == {
        f"finetune.{name}_node" for name in ("cola.fine_tune_teacher", "cola.fine_tune_student", "gather_results")
    }
    plain = create_pipeline(["cola"], method="plain")
    assert names_of(plain) == {"finetune.cola.fine_tune_student_node", "finetune.gather_results_node"}
    assert plain.inputs() == {"cola.examples", "student_encoder", "training_states", "params:finetune"}


def test_a_teacher_of_the_users_is_opened_once_for_all_tasks():
    pipeline = create_pipeline(["cola", "rte"], teacher=OWN_TEACHER)
    assert "finetune.open_finetuning_teacher_node" in names_of(pipeline)
    assert "teacher_encoder" not in pipeline.inputs()
    assert "finetune.finetuning_teacher" in pipeline.all_outputs()
    assert {name for name in pipeline.inputs() if name.startswith("params:")} == {"params:finetune"}
    assert "finetune.open_finetuning_teacher_node" not in names_of(
        create_pipeline(["cola"], method="plain", teacher=OWN_TEACHER)
    )


def test_a_student_of_the_users_is_opened_once_for_all_tasks_and_none_is_waited_for():
    pipeline = create_pipeline(["cola", "rte"], teacher=OWN_TEACHER, student=OWN_STUDENT)
    assert "finetune.open_finetuning_student_node" in names_of(pipeline)
    assert pipeline.inputs() == {"cola.examples", "rte.examples", "training_states", "params:finetune"}
    taught = create_pipeline(["cola"], teacher=OWN_STUDENT, student=OWN_STUDENT)
    assert "finetune.open_finetuning_teacher_node" not in names_of(taught)
    readers = {node.name for node in taught.nodes if "finetune.finetuning_student" in node.inputs}
    tuners = {f"finetune.cola.fine_tune_{what}_node" for what in ("teacher", "student", "rivals")}
    assert readers == tuners | {"finetune.describe_student_node"}


@pytest.mark.parametrize(
    ("tasks", "diagnostic", "source"),
    [
        (["mnli", "ax"], "ax", "mnli"),
        (["rte", "axb"], "axb", "rte"),
        (["rte", "superglue_rte", "axg"], "axg", "superglue_rte"),
        (["rte", "cola"], "cola", None),
    ],
)
def test_a_diagnostic_is_answered_with_the_model_of_the_first_task_that_is_run(tasks, diagnostic, source):
    assert scoring_task(diagnostic, tasks) == source
    nodes = {node.name: node for node in create_pipeline(tasks).nodes}
    if source is not None:
        node = nodes[f"finetune.{diagnostic}.predict_diagnostic_node"]
        assert set(node.inputs) == {f"{diagnostic}.examples", f"{source}.finetuned_model", "params:finetune"}
        assert not any(name.startswith(f"finetune.{diagnostic}.fine_tune") for name in nodes)


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if not task.scored_with])
def test_every_task_of_the_table_has_a_pipeline(task):
    for method in ("agora", "plain"):
        assert f"finetune.{task}.predictions" in create_pipeline([task], method=method).all_outputs()


def test_building_the_pipeline_in_a_new_process_warns_of_nothing():
    command = "from bort_kedro.pipelines.finetune import create_pipeline; create_pipeline(['mnli', 'ax', 'order'])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_row_of_the_table_or_of_the_users_own_is_found():
    finetune = parameters()
    assert task_of("cola", finetune) is TASKS["cola"]
    own = task_of("toy", finetune)
    assert (own.benchmark, own.metrics, own.labels) == ("own", ("accuracy",), ())


def test_a_weak_teacher_stops_the_run_where_it_should(larger, states, told):
    examples = examples_of(num_train=8, num_dev=8, num_test=4)
    # As many wrong labels as right ones: nothing can be learned.
    examples.loc[examples["split"] == "dev", "label"] = ["row", "row", "array", "array"] * 2
    tune = teacher_tuner_of("toy")
    with pytest.raises(TeacherError, match=r"^Task `toy`: the teacher reaches [\d.]+% ± [\d.]+% on dev"):
        tune(examples, larger, states, parameters(weak_teacher="stop", teacher_epochs=1))
    assert [(trial.task, trial.method, trial.round, trial.setting) for trial in told] == [("toy", "teacher", 0, 0)]


def test_a_weak_teacher_is_told_and_leads_to_plain_fine_tuning(student, larger, states, caplog):
    examples = examples_of(num_train=8, num_dev=8, num_test=4)
    examples.loc[examples["split"] == "dev", "label"] = ["row", "row", "array", "array"] * 2
    finetune = parameters(teacher_epochs=1)
    with caplog.at_level(logging.WARNING):
        model, history, predictions, report = teacher_tuner_of("toy")(examples, larger, states, finetune)
    assert not report["check"]["is_over"]
    assert "It is fine-tuned plainly, without Agora (params:finetune.weak_teacher)." in caplog.messages[-1]
    _, _, _, told, points = student_tuner_of("toy")(examples, student, states, finetune, larger, model, report)
    # Of two sets, and the last one on dev too.
    assert (told["method"], told["num_trials"]) == ("plain", 3)
    assert (len(points), list(points.columns)[:3]) == (0, ["round", "is_kept", "made_by"])
    rivals = rival_tuner_of("toy")(examples, student, states, finetune, told, larger, model)
    assert [len(table) for table in rivals] == [0, 0, 0]
    assert list(rivals[0].columns) == ["method", "round", "setting", "step"]
    assert set(history["method"]) == {"teacher"}
    assert set(predictions["split"]) == {"dev", "test"}


def test_the_stage_runs_from_files_to_predictions_by_agora(tmp_path, student, larger, states, told):
    write_csv(tmp_path, examples_of(num_train=96, num_dev=24, num_test=24))
    catalog = DataCatalog(
        {
            "task_files": MemoryDataset(TaskFilesDataset(folder=str(tmp_path)).load(), copy_mode="assign"),
            "student_encoder": MemoryDataset(student, copy_mode="assign"),
            "teacher_encoder": MemoryDataset(larger, copy_mode="assign"),
            "training_states": MemoryDataset(states, copy_mode="assign"),
            "params:finetune": MemoryDataset(parameters(folder=tmp_path)),
        }
    )
    pipeline = tasks.create_pipeline(["toy"]) + create_pipeline(["toy"])
    made = {name: Kept(copy_mode="assign") for name in pipeline.all_outputs()}
    for name, dataset in made.items():
        catalog[name] = dataset
    SequentialRunner().run(pipeline, catalog)
    found = {name.rpartition("toy.")[2]: dataset.load() for name, dataset in made.items()}
    assert found["teacher_report"]["check"]["is_over"]
    report, rivals = found["finetuning_report"], found["rivals_report"]
    assert report["method"] == "agora"
    assert set(rivals) == {"plain"}
    assert (rivals["plain"]["num_trials"], rivals["plain"]["num_steps"]) == (report["num_trials"], report["num_steps"])
    assert set(found["rival_predictions"]["method"]) == {"plain"}
    shared = ["split", "group", "label"]
    assert found["rival_predictions"][shared].equals(found["predictions"][shared])
    assert set(found["history"]["method"]) == {"agora"}
    points = found["points"]
    counts = {each["plan"]["number"]: each["points"]["num_kept"] for each in report["rounds"] if each["points"]}
    assert points.groupby("round").size().to_dict() == {number: count for number, count in counts.items() if count}
    dev = examples_of(num_train=96, num_dev=24, num_test=24).query("split == 'dev'")["text"]
    assert set(points["source"]) <= set(dev)
    assert not set(points["text"]) & set(dev)
    assert set(points["made_by"]) <= set(TRANSFORMATIONS)
    beliefs = points[["probability_array", "probability_row"]]
    assert beliefs.sum(axis=1).tolist() == pytest.approx([1.0] * len(points))
    assert points["answer"].tolist() == beliefs.idxmax(axis=1).str.removeprefix("probability_").tolist()
    rounds = report["num_trials"] - 1
    assert Counter(trial.method for trial in told) == {
        "teacher": 1,
        **{"agora": rounds, "agora with dev": 1, "plain": rounds, "plain with dev": 1},
    }
    assert all(trial.task == "toy" and trial.looks and trial.history for trial in told)


def test_tagged_words_go_from_files_to_scores(tmp_path, student, states):
    table = examples_of(Form.TOKENS, num_train=96, num_dev=24, num_test=24)
    write_conll(tmp_path, table)
    files = {split: str(tmp_path / f"{split}.conll") for split in ("train", "dev", "test")}
    own = {"toy": OwnTaskSettings(form="token_classification", files=files)}
    finetune = parameters(method="plain", rivals=[]).model_copy(update={"own_tasks": own})
    examples, examples_report = tasks_nodes.reader_of("toy")(TaskFilesDataset(folder=str(tmp_path)).load(), finetune)
    assert examples[["text", "label"]].equals(table[["text", "label"]])
    training = finetune.training.changed(num_epochs=6, learning_rates=(1e-2,))
    finetune = finetune.model_copy(update={"training": training})
    model, _, predictions, report, _ = student_tuner_of("toy")(examples, student, states, finetune)
    assert type(model.model).__name__ == "BertForTokenClassification"
    assert report["labels"] == ["O", "B-array", "I-array", "B-row", "I-row"]
    floors, floors_report = floors_of("toy", "toy")(examples, finetune)
    bootstrap = BootstrapSettings(level=0.95, num_resamples=100, seed=0)
    metrics = scorer_of("toy")(predictions, report, floors, finetune, bootstrap)
    test = metrics["test"]
    assert (metrics["metric"], set(test["floors"])) == ("span_f1", {"constant", "memorised"})
    assert test["interval"]["low"] <= test["score"] <= test["interval"]["high"]
    # Single words tell their kind, so memorising them finds nearly all.
    assert test["floors"]["memorised"]["score"] > 0.8 > test["floors"]["constant"]["score"]
    assert test["score"] > test["floors"]["constant"]["score"]
    row = TaskRow.from_row(
        summarise_tasks(
            **{
                "toy.metrics": metrics,
                "toy.finetuning_report": report,
                "toy.examples_report": examples_report,
                "toy.floors_report": floors_report,
            }
        ).to_dict("records")[0]
    )
    assert (row.num_labels, row.num_examples, list(row.floors)) == (5, 24, ["constant", "memorised"])


def write_labels(folder, examples, *, wrong=0):
    """A file that labels dev, of which so many are wrong, and 60 texts of no split."""
    others = {"array": "row", "row": "array"}
    dev = examples[examples["split"] == "dev"]
    labels = [others[label] if place < wrong else label for place, label in enumerate(dev["label"])]
    pool = examples_of(num_train=60, num_dev=0, num_test=0, seed=9)
    rows = [*zip(dev["text"], labels, strict=True), *zip(pool["text"], pool["label"], strict=True)]
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps({"said": text, "label": {label: 1.0}}) + "\n" for text, label in rows))
    return {"toy": {"file": str(path), "columns": {"text": "said"}}}


def test_auto_compares_the_methods_on_train_and_fine_tunes_by_the_best(student, larger, states, caplog):
    examples = examples_of(num_train=96, num_dev=24, num_test=12)
    finetune = parameters(method="auto", num_folds=2, teacher_epochs=12)
    classifier, _, _, taught = teacher_tuner_of("toy")(examples, larger, states, finetune)
    assert taught["check"]["is_over"]
    with caplog.at_level(logging.INFO, "bort_kedro"):
        _, history, _, report, _ = student_tuner_of("toy")(
            examples, student, states, finetune, larger, classifier, taught
        )
    compared = report["compared"]
    assert set(compared) == {"plain", "distilled", "agora"}
    ahead = {name: each["score"] for name, each in compared.items() if each["lead"] > each["lead_error"]}
    assert report["method"] == (max(ahead, key=ahead.get) if ahead else "plain")
    assert f"it is fine-tuned by {report['method']}, the best of those ahead" in caplog.text
    assert set(history["method"]) <= {report["method"], "plain"}


def test_a_task_whose_teacher_is_a_file_has_no_encoder_that_teaches():
    pipeline = create_pipeline(["toy", "cola"], teacher=OWN_TEACHER, recorded=["toy"])
    nodes = {node.name.removeprefix("finetune."): node for node in pipeline.nodes}
    read = nodes["toy.read_recorded_labels_node"]
    assert read.inputs == ["toy.examples", "params:finetune"]
    for name in ("toy.fine_tune_student_node", "toy.fine_tune_rivals_node"):
        assert "finetune.toy.recorded_labels" in nodes[name].inputs
        assert not any("classifier" in name or name == "finetune.finetuning_teacher" for name in nodes[name].inputs)
    assert "toy.fine_tune_teacher_node" not in nodes
    assert "cola.fine_tune_teacher_node" in nodes
    alone = create_pipeline(["toy"], teacher=OWN_TEACHER, recorded=["toy"])
    assert "finetune.open_finetuning_teacher_node" not in names_of(alone)
    assert alone.inputs() == {"toy.examples", "student_encoder", "training_states", "params:finetune"}


def test_recorded_labels_are_checked_before_anything_is_trained():
    parameters = base_parameters()
    recorded = {"order": RecordedLabelsSettings(file="labels.jsonl")}
    teacher = parameters.finetune.teacher.changed(recorded=recorded)
    finetune = parameters.finetune.model_copy(update={"tasks": ("order",), "teacher": teacher})
    pipelines = build_pipelines(parameters.model_copy(update={"finetune": finetune}))
    order = [node.name for node in pipelines["__default__"].nodes]
    assert order.index("finetune.order.read_recorded_labels_node") < order.index("search.train_maximum_point_node")


def test_the_stage_runs_from_files_to_predictions_by_recorded_labels(tmp_path, student, states, told):
    examples = examples_of(num_train=96, num_dev=24, num_test=24)
    write_csv(tmp_path, examples)
    recorded = write_labels(tmp_path, examples, wrong=1)
    catalog = DataCatalog(
        {
            "task_files": MemoryDataset(TaskFilesDataset(folder=str(tmp_path)).load(), copy_mode="assign"),
            "student_encoder": MemoryDataset(student, copy_mode="assign"),
            "training_states": MemoryDataset(states, copy_mode="assign"),
            "params:finetune": MemoryDataset(parameters(folder=tmp_path, recorded=recorded)),
        }
    )
    pipeline = tasks.create_pipeline(["toy"]) + create_pipeline(["toy"], recorded=["toy"])
    made = {name: Kept(copy_mode="assign") for name in pipeline.all_outputs()}
    for name, dataset in made.items():
        catalog[name] = dataset
    SequentialRunner().run(pipeline, catalog)
    found = {name.rpartition("toy.")[2]: dataset.load() for name, dataset in made.items()}
    taught, report = found["teacher_report"], found["finetuning_report"]
    assert (taught["method"], taught["check"]["score"], taught["check"]["is_over"]) == ("recorded", 23 / 24, True)
    assert taught["num_units"] == {"train": 0, "dev": 24, "pool": 60}
    assert (found["teacher_predictions"]["label"] != found["teacher_predictions"]["prediction"]).sum() == 1
    assert report["method"] == "agora"
    assert sum(each["points"]["num_kept"] for each in report["rounds"] if each["points"]) > 0
    assert list(found["rivals_report"]) == ["plain"]
    assert {trial.method for trial in told} == {"agora", "agora with dev", "plain", "plain with dev"}


def test_recorded_labels_are_further_rows_of_train(tmp_path, student, states, told):
    """60 texts of the file, but for those near one of dev or test, beside 24 of train; dev is learned last."""
    examples = examples_of(num_train=24, num_dev=24, num_test=4)
    finetune = parameters(method="weak_supervision", recorded=write_labels(tmp_path, examples))
    labels, _, taught = recorded_reader_of("toy")(examples, finetune)
    _, _, _, report, points = student_tuner_of("toy")(
        examples, student, states, finetune, teacher_report=taught, recorded_labels=labels
    )
    assert (report["method"], report["num_units"]["train"]) == ("weak_supervision", 24)
    (only,) = report["rounds"]
    learned = only["num_train"]
    assert 24 + 30 < learned <= 24 + 60
    assert report["last"]["num_steps"] == round(report["best"]["num_steps"] * (learned + 24) / learned)
    assert {trial.method for trial in told} == {"weak_supervision", "weak_supervision with dev"}
    assert points.empty


def test_recorded_labels_under_the_bar_lead_to_plain_fine_tuning_or_stop_the_run(tmp_path, student, states, caplog):
    examples = examples_of(num_train=12, num_dev=24, num_test=4)
    recorded = write_labels(tmp_path, examples, wrong=12)
    finetune = parameters(recorded=recorded)
    with caplog.at_level(logging.WARNING):
        labels, _, taught = recorded_reader_of("toy")(examples, finetune)
    assert not taught["check"]["is_over"]
    assert "It is fine-tuned plainly, without Agora (params:finetune.weak_teacher)." in caplog.messages[-1]
    tune = student_tuner_of("toy")
    _, _, _, report, _ = tune(examples, student, states, finetune, teacher_report=taught, recorded_labels=labels)
    assert report["method"] == "plain"
    with pytest.raises(TeacherError) as caught:
        recorded_reader_of("toy")(examples, parameters(recorded=recorded, weak_teacher="stop"))
    assert str(caught.value) == (
        "Task `toy`: the teacher reaches 50.0% ± 10.4% on dev and must be over 66.7% by that standard error to label "
        "new points (chance 50.0%), and ahead of the best constant answer, 50.0%, by 14.7%, the standard error of the "
        "lead. Give better labels (params:finetune.teacher.recorded.toy), or set params:finetune.weak_teacher to "
        "`plain`, which fine-tunes such tasks without Agora."
    )


@pytest.mark.parametrize("asked", [{"method": "distilled", "rivals": []}, {"rivals": ["plain", "distilled"]}])
def test_distilling_recorded_labels_needs_those_of_train(tmp_path, asked):
    examples = examples_of(num_train=12, num_dev=24, num_test=4)
    finetune = parameters(recorded=write_labels(tmp_path, examples), **asked)
    with pytest.raises(TeacherError, match="0 of the 12 examples of train are recorded, and the method distilled"):
        recorded_reader_of("toy")(examples, finetune)


def test_rows_of_recorded_labels_that_are_left_out_are_told(tmp_path, caplog):
    examples = examples_of(num_train=12, num_dev=24, num_test=4)
    recorded = write_labels(tmp_path, examples)
    path = Path(recorded["toy"]["file"])
    path.write_text(path.read_text() + '{"said": "x", "label": "neither"}\n')
    with caplog.at_level(logging.WARNING):
        recorded_reader_of("toy")(examples, parameters(recorded=recorded, skip_bad_rows=True))
    assert caplog.messages == [
        "Task `toy`: 1 rows of the file of params:finetune.teacher.recorded.toy were left out, such as "
        f"{path}, line 85, column `label`: 'neither', expected one of 'array', 'row'."
    ]


def test_a_teacher_that_cannot_be_opened_names_the_parameter_of_this_stage(tmp_path):
    teacher = parameters().teacher.model_copy(update={"encoder": str(tmp_path / "none")})
    with pytest.raises(TeacherError) as caught:
        open_finetuning_teacher(parameters().model_copy(update={"teacher": teacher}))
    assert str(caught.value).startswith(f"The teacher `{tmp_path / 'none'}` cannot be opened: ")
    assert str(caught.value).endswith("Change `params:finetune.teacher.encoder`.")


@pytest.mark.parametrize("has_head", [True, False])
def test_a_teacher_whose_head_is_missing_or_untrained_is_refused_unless_it_replaces_no_words(
    has_head, tmp_path, student
):
    """As the published Bort's is in the form for transformers, which draws what is missing and goes on."""
    drawn = BertForMaskedLM(student.model.config)
    drawn.bert = copy.deepcopy(student.model.bert)
    (drawn if has_head else drawn.bert).save_pretrained(tmp_path)
    student.tokenizer.save_pretrained(tmp_path)
    given = parameters()
    training = given.teacher.training.changed(max_tokens=48)
    given = given.changed(teacher=given.teacher.changed(encoder=str(tmp_path), training=training))
    with pytest.raises(TeacherError) as caught:
        open_finetuning_teacher(given)
    message = str(caught.value)
    why = "has a masked-LM head that was never trained: " if has_head else "lacks 6 weights of a masked-LM encoder: "
    assert message.startswith(f"The teacher `{tmp_path}` {why}cls.predictions.bias, cls.predictions.")
    assert message.endswith(
        " head as `params:finetune.teacher.encoder`, or set `params:finetune.agora.transformation.weights.masked_lm` "
        "to 0, so that it replaces no words."
    )
    weights = given.agora.transformation.weights | {"masked_lm": 0.0}
    transformation = given.agora.transformation.changed(weights=weights)
    without = given.changed(agora=given.agora.changed(transformation=transformation))
    assert type(open_finetuning_teacher(without).model) is BertModel


def opened_student(folder, max_tokens=48):
    training = parameters().training.changed(max_tokens=max_tokens)
    return open_finetuning_student(parameters().model_copy(update={"student": str(folder), "training": training}))


def test_a_student_needs_no_masked_lm_head_and_comes_with_its_tokenizer(tmp_path, student):
    half = copy.deepcopy(student.model.bert).half()
    half.save_pretrained(tmp_path)
    student.tokenizer.save_pretrained(tmp_path)
    opened = opened_student(tmp_path)
    assert type(opened.model) is BertModel
    assert opened.tokenizer("the mean")["input_ids"] == student.tokenizer("the mean")["input_ids"]
    assert all(torch.equal(value, half.state_dict()[name].float()) for name, value in opened.model.state_dict().items())


def test_a_student_that_cannot_be_opened_names_its_parameter_and_where_it_is_stated(tmp_path, student):
    with pytest.raises(TeacherError) as caught:
        opened_student(tmp_path / "none")
    assert str(caught.value).startswith(f"The student `{tmp_path / 'none'}` cannot be opened: it is no folder, ")
    written = "in conf/released/parameters_finetune.yml, or as `--params finetune.student=FOLDER`"
    assert str(caught.value).endswith(f"Change `params:finetune.student` ({written}).")
    student.model.bert.save_pretrained(tmp_path)
    student.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(TeacherError) as caught:
        opened_student(tmp_path, max_tokens=49)
    assert str(caught.value) == (
        f"The student `{tmp_path}` takes at most 48 tokens, and inputs have up to 49. Set "
        "`params:finetune.training.max_tokens` to at most 48, or choose another student as "
        f"`params:finetune.student` ({written})."
    )


def test_a_diagnostic_node_answers_with_the_model_it_is_given(student, states):
    rows = [
        (split, str(number), f"the {word} of it", "and all", label)
        for split, count in (("train", 6), ("dev", 6), ("test", 6))
        for number in range(count)
        for word, label in [(("array", "row", "axis")[number % 3], TASKS["mnli"].labels[number % 3])]
    ]
    mnli = pd.DataFrame(rows, columns=["split", "group", "text", "text_pair", "label"], dtype=object)
    mnli = mnli.assign(part="", index=mnli["group"], option=None)
    finetune = parameters(tasks=["mnli", "ax"])
    model, *_ = student_tuner_of("mnli")(mnli, student, states, finetune)
    predictions, report = diagnostic_predictor_of("ax")(mnli.query("split == 'test'"), model, finetune)
    assert report["method"] == "diagnostic"
    assert len(predictions) == 6
    assert set(predictions["prediction"]) <= set(TASKS["ax"].labels)

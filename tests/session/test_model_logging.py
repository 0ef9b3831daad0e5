"""Fine-tuned models in MLflow's registry: signature, example, requirements, tags, and answers."""

from __future__ import annotations

import importlib.metadata
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from bort_kedro.configuration import ConfigurationLoader
from bort_kedro.encoders.encoder import build_classifier
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.evaluation.scores import Interval
from bort_kedro.evaluation.task_metrics import TaskMetrics
from bort_kedro.finetuning.encoding import TaskEncoder
from bort_kedro.finetuning.objectives import answers_of, predict
from bort_kedro.session import tracking
from bort_kedro.session.model_logging import NO_REPOSITORY, ModelLogging, ServedTask, description_of, requirements
from bort_kedro.tasks.table import Form, find_task
from bort_kedro.tasks.tags import spans_of
from bort_kedro.tasks.units import Unit
from bort_kedro.text.prose import word_places
from project_copy import PROJECT
from task_records import score
from toy_tasks import MAX_TOKENS, data_of, encoder_of, examples_of, task_of
from toy_training import train_classifier

TEXTS = ["the mean of array values", "the mean of table values"]


@pytest.fixture(scope="module")
def store(tmp_path_factory, empty_store):
    """A registry of its own, made once since that takes seconds; artifacts lie beside it."""
    folder = tmp_path_factory.mktemp("registry")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{shutil.copy(empty_store, folder)}")
    mlflow.create_experiment("toy", artifact_location=f"{folder}/artifacts")
    mlflow.set_experiment("toy")
    yield folder
    mlflow.set_tracking_uri(before)


@pytest.fixture
def run(store):
    with mlflow.start_run() as active:
        yield active


@pytest.fixture(scope="module")
def classifier(tiny_tokenizer):
    return train_classifier(tiny_tokenizer)


def served(name, *, form=Form.CLASSIFICATION, has_pairs=False, max_tokens=MAX_TOKENS):
    return ServedTask(replace(task_of(form), name=name), has_pairs, max_tokens)


def untrained(tokenizer, labels):
    return Pretrained(build_classifier(encoder_of(tokenizer).model, labels=labels, seed=0, dropout=0.0), tokenizer)


def version_of(name):
    return MlflowClient().get_model_version(name, "1")


def test_a_registered_model_answers_texts_with_the_labels_of_its_task(run, classifier):
    ModelLogging("2026-01-02T03.04.05.006Z").log(classifier, served("toy"))
    model = mlflow.pyfunc.load_model("models:/bort_kedro-toy/1")
    answers = model.predict(pd.DataFrame({"text": TEXTS}))
    assert answers["label"].tolist() == ["array", "row"]
    assert (answers["score"] > 0.9).all()
    long = model.predict(pd.DataFrame({"text": ["table " * 500]}))
    assert long["label"].tolist() == ["row"]


def test_a_registered_model_has_signature_example_requirements_and_tags(run, classifier):
    ModelLogging("2026-01-02T03.04.05.006Z").log(classifier, served("described"))
    version = version_of("bort_kedro-described")
    assert version.tags == {
        "task": "described",
        "form": "classification",
        "kedro_run": "2026-01-02T03.04.05.006Z",
        "shape": "1-2-16-24",
    }
    assert version.run_id == run.info.run_id
    assert version.description == (
        "Task `described` (classification). Send `text`. Inputs over 48 tokens are cut, the longer text first."
    )
    info = mlflow.models.get_model_info("models:/bort_kedro-described/1")
    assert info.signature.inputs.to_dict() == [{"type": "string", "name": "text", "required": True}]
    assert [column["name"] for column in info.signature.outputs.to_dict()] == ["label", "score"]
    folder = Path(mlflow.artifacts.download_artifacts("models:/bort_kedro-described/1"))
    assert set(requirements()) <= set((folder / "requirements.txt").read_text().split())
    example = mlflow.pyfunc.load_model("models:/bort_kedro-described/1").input_example
    assert list(example["text"]) == ["Return the mean of the values along the given axis."]


def test_requirements_are_exact_versions_without_the_name_of_a_build():
    assert f"transformers=={importlib.metadata.version('transformers')}" in requirements()
    assert all("==" in line and "+" not in line for line in requirements())


def test_the_model_that_is_logged_is_left_as_it_was(run, classifier):
    before = classifier.fingerprint, classifier.model.name_or_path
    ModelLogging("run").log(classifier, served("untouched"))
    assert (Pretrained(classifier.model, classifier.tokenizer).fingerprint, classifier.model.name_or_path) == before
    assert before[1] != NO_REPOSITORY


def test_a_task_of_pairs_asks_for_both_texts(run, tiny_tokenizer):
    ModelLogging("run").log(untrained(tiny_tokenizer, ["no", "yes"]), served("pairs", has_pairs=True))
    model = mlflow.pyfunc.load_model("models:/bort_kedro-pairs/1")
    assert [column.name for column in model.metadata.signature.inputs] == ["text", "text_pair"]
    answers = model.predict(pd.DataFrame({"text": ["a row"], "text_pair": ["an axis"]}))
    assert answers["label"].isin(["no", "yes"]).all()
    with pytest.raises(MlflowException, match="text_pair"):
        model.predict(pd.DataFrame({"text": ["a row"]}))


def test_a_regression_answers_with_its_value_as_the_score(run, tiny_tokenizer):
    pretrained = untrained(tiny_tokenizer, ["value"])
    pretrained.model.classifier.weight.data.zero_()
    pretrained.model.classifier.bias.data.fill_(3.5)
    ModelLogging("run").log(pretrained, served("value", form=Form.REGRESSION))
    answers = mlflow.pyfunc.load_model("models:/bort_kedro-value/1").predict(pd.DataFrame({"text": TEXTS}))
    assert answers["score"].tolist() == [3.5, 3.5]
    assert "`score` is the value itself" in version_of("bort_kedro-value").description


def test_a_model_of_tagged_words_answers_with_spans(run, tiny_tokenizer):
    data = data_of(Form.TOKENS)
    model = build_classifier(
        encoder_of(tiny_tokenizer).model,
        labels=list(data.labels),
        seed=0,
        dropout=0.0,
        model_class="AutoModelForTokenClassification",
    )
    torch.nn.init.normal_(model.classifier.weight, std=20.0, generator=torch.Generator().manual_seed(1))
    pretrained = Pretrained(model.eval(), tiny_tokenizer)
    ModelLogging("run").log(pretrained, served("tagged", form=Form.TOKENS))
    short = data.tables["test"]["text"].tolist()
    # Far beyond what the model takes at a time, and nothing at all.
    texts = [*short, " ".join(short), "  ", "…"]
    units = [Unit(((text, None),)) for text in texts]
    examples = TaskEncoder(pretrained, data.task, data.labels, max_tokens=MAX_TOKENS)(units)
    assert np.diff(examples.starts).max() > 10
    outputs = predict(model, Form.TOKENS, examples, batch_tokens=64)
    said = answers_of(Form.TOKENS, data.labels, outputs, examples.target_starts)
    opened = mlflow.pyfunc.load_model("models:/bort_kedro-tagged/1")
    answers = opened.predict(pd.DataFrame({"text": texts}))["spans"]
    for text, tags, spans in zip(texts, said, answers, strict=True):
        places = word_places(text)
        assert [(span["type"], span["start"], span["end"]) for span in spans] == [
            (kind, places[first][0], places[last - 1][1]) for kind, first, last in spans_of(tags.split())
        ]
        assert all(text[span["start"] : span["end"]] == span["text"] for span in spans)
    assert {span["type"] for spans in answers for span in spans} == {"array", "row"}
    assert version_of("bort_kedro-tagged").description == (
        "Task `tagged` (token_classification). Send `text`. Inputs over 48 tokens are read in windows that overlap by "
        "half. Words are what blanks part; `spans` are those found, with their places in characters."
    )


def test_multiple_choice_is_not_registered_and_that_is_said(run, tiny_tokenizer, caplog):
    with caplog.at_level(logging.INFO, logger="bort_kedro.session.model_logging"):
        ModelLogging("run").log(untrained(tiny_tokenizer, ["value"]), served("choice", form=Form.MULTIPLE_CHOICE))
    assert caplog.messages == [
        "Task `choice` is multiple choice: its model is not registered in MLflow, whose text classification cannot "
        "choose among the options of a question. Its folder under data/06_models/finetuned is whole."
    ]
    with pytest.raises(MlflowException, match=r"name=bort_kedro-choice, version=1\) not found"):
        version_of("bort_kedro-choice")


def test_marked_spans_are_part_of_the_description():
    said = description_of(ServedTask(find_task("wic"), True, 64))
    assert "Send `text` and `text_pair`." in said
    assert "Spans in question stand between ` [ ` and ` ] `" in said


def test_the_score_on_the_test_split_is_told_to_the_version_of_this_run(run, classifier):
    models = ModelLogging("run")
    models.log(classifier, served("scored"))
    models.tell_score("unknown", TaskMetrics("accuracy", "plain", {"test": score(0.5)}))
    models.tell_score(
        "scored", TaskMetrics("accuracy", "plain", {"test": score(0.875, interval=Interval(0.75, 1, 0.95, 1000))})
    )
    tags = version_of("bort_kedro-scored").tags
    assert {name: tags[name] for name in ("metric", "test_score", "test_low", "test_high")} == {
        "metric": "accuracy",
        "test_score": "0.875",
        "test_low": "0.75",
        "test_high": "1",
    }


def test_a_store_without_a_registry_is_a_warning_and_no_fault(run, classifier, caplog, monkeypatch):
    def refuse(*words, **options):
        raise MlflowException("no registry here")

    monkeypatch.setattr(mlflow, "register_model", refuse)
    ModelLogging("run").log(classifier, served("refused"))
    assert caplog.messages[-1] == "The model of task `refused` is not registered in MLflow: no registry here"


def test_a_version_that_takes_no_tags_is_a_warning_and_no_fault(run, classifier, caplog, monkeypatch):
    def refuse(*words, **options):
        raise MlflowException("it is gone")

    models = ModelLogging("run")
    models.log(classifier, served("vanished"))
    monkeypatch.setattr(mlflow.MlflowClient, "set_model_version_tag", refuse)
    models.tell_score("vanished", TaskMetrics("accuracy", "plain", {"test": score(0.5)}))
    assert caplog.messages[-1] == ("Version 1 of bort_kedro-vanished in MLflow has no tag of its score: it is gone")


def test_nothing_is_printed(run, classifier, capfd):
    ModelLogging("run").log(classifier, served("quiet"))
    assert capfd.readouterr() == ("", "")


SCORES = TaskMetrics("accuracy", "plain", {"test": score(0.5)})


class Told(ModelLogging):
    """Keeps what it is told of."""

    def __init__(self):
        super().__init__("run")
        self.told = []

    def log(self, model, served):
        self.told.append((model, served.task.name, served.has_pairs, served.max_tokens))

    def tell_score(self, task, metrics):
        self.told.append((task, metrics))


def test_a_run_registers_what_the_catalog_calls_a_model_and_tells_its_score(monkeypatch):
    loader = ConfigurationLoader(
        str(PROJECT / "conf"), env="smoke", base_env="base", merge_strategy={"parameters": "soft"}
    )
    # What kedro-mlflow does with parameters is not in question here.
    monkeypatch.setattr(tracking.MlflowHook, "before_node_run", lambda *words: None)
    monkeypatch.setattr(tracking.TrackingHook, "_log_metrics", lambda *words: None)
    catalog = DataCatalog(
        {
            "library.examples": MemoryDataset(examples_of()),
            "library.finetuned_model": MemoryDataset(metadata={"mlflow": "model"}),
            "parameters": MemoryDataset(loader["parameters"]),
            "evaluate.library.metrics": MemoryDataset(metadata={"mlflow": "metrics"}),
            "order.examples": MemoryDataset(examples_of()),
            "order.finetuned_model": MemoryDataset(),
            "mine.examples": MemoryDataset([3, 4]),
            "mine.metrics": MemoryDataset(metadata={"mlflow": "metrics"}),
        }
    )
    hook = tracking.TrackingHook()
    hook._is_mlflow_enabled, hook._models, hook._catalog = True, Told(), catalog
    hook._pairs, hook._waiting, hook._made = {}, {}, {}
    manager = _create_hook_manager()
    manager.register(hook)
    pipeline = Pipeline(
        [
            Node(
                lambda examples: "weights",
                "library.examples",
                "library.finetuned_model",
                name="library_node",
                namespace="finetune",
            ),
            Node(
                lambda model: SCORES.to_json(),
                "library.finetuned_model",
                "evaluate.library.metrics",
                name="score_node",
            ),
            Node(lambda examples: "others", "order.examples", "order.finetuned_model", name="order_node"),
            # Of a pipeline that a user has added.
            Node(lambda numbers: {"largest": max(numbers)}, "mine.examples", "mine.metrics", name="mine_node"),
        ]
    )
    SequentialRunner().run(pipeline, catalog, manager)
    assert hook._models.told == [("weights", "library", False, 32), ("library", SCORES)]

"""The notebooks that look at a run, held against the files that it left."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from executed_notebooks import executed

pytestmark = [pytest.mark.nightly, pytest.mark.session]

PLOT = "application/vnd.plotly.v1+json"


@pytest.fixture(scope="module")
def project(smoke, tmp_path_factory):
    """A copy of the project in which every stage has run once, for notebooks to lie in."""
    return smoke.copied(tmp_path_factory.mktemp("notebooks"))


def test_the_distillation_is_shown_as_its_histories_have_it(project):
    asked = """{
        "curves": curves[["training", "step", "loss", "masked_accuracy"]].to_dict("list"),
        "looked": looked.to_dict("list"),
        "reached": reached.to_dict("index"),
        "parts": parts.groupby("part")["value"].sum().to_dict(),
    }"""
    found = executed(project, "watch_distillation", asked)
    student, twin = (
        pd.read_csv(project.latest(f"08_reporting/{name}_history.csv")) for name in ("student", "undistilled")
    )
    metrics = project.read("08_reporting/pretraining_metrics.json")
    under, without = "under a larger teacher", "the same shape trained without a teacher"
    assert found["shown"]["curves"] == [PLOT, PLOT]
    assert found["shown"]["end"] == ["text/html", "text/plain"]
    assert found["curves"]["training"] == [under] * 40 + [without] * 40
    assert found["curves"]["step"] == [*range(1, 41)] * 2
    # What both share is the masked-LM loss, not the student's mixture.
    assert found["curves"]["loss"] == pytest.approx([*student["masked_lm_loss"], *twin["loss"]])
    assert found["curves"]["masked_accuracy"] == pytest.approx([*student["masked_accuracy"], *twin["masked_accuracy"]])
    assert found["parts"] == pytest.approx(student[["loss", "masked_lm_loss", "divergence"]].sum().to_dict())
    # Only the end is looked at unless the parameters say a number of steps.
    assert found["looked"]["step"] == [40, 40]
    last = [each["validation_loss"].iloc[-1] for each in (student, twin)]
    assert found["looked"]["validation_loss"] == pytest.approx(last)
    assert found["reached"][under]["accuracy"] == pytest.approx(metrics["student"]["accuracy"])
    assert found["reached"][without]["perplexity"] == pytest.approx(metrics["undistilled"]["perplexity"])
    assert found["reached"]["most frequent follower"]["accuracy"] == pytest.approx(metrics["bigram"]["accuracy"])


def test_two_runs_are_shown_by_what_differs(smoke, tmp_path):
    project = smoke.copied(tmp_path)
    status, output = project.run("--pipelines", "search", "--params", "search.answer=smallest_error")
    assert status == 0, output
    asked = """{
        "chosen": chosen,
        "shapes": shapes.to_dict("list"),
        "scores": scores.reset_index().to_dict("records"),
        "differing": differing.to_dict("index"),
        "datasets": datasets.to_dict("index"),
        "measured": measured.to_dict("list"),
    }"""
    found = executed(project, "compare_runs", asked)
    first, second = found["chosen"]
    paths = [path for version in found["chosen"] for path in project.root.glob(f"data/08_reporting/*/{version}/*")]
    reports = [json.loads(path.read_text()) for path in paths if path.name == "search_report.json"]
    by_answer = {report["answer"]: report["selected"] for report in reports}
    table = pd.read_csv(project.latest("08_reporting/candidate_table.csv"))
    sizes = ["num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size"]
    least = table.loc[table["loss"].idxmin(), sizes]
    assert found["differing"] == {"search.answer": {first: "largest_w", second: "smallest_error"}}
    assert found["shapes"][second][0] == f"({', '.join(str(int(size)) for size in least)})"
    for version, answer in ((first, "largest_w"), (second, "smallest_error")):
        named = ("parameters", "cost", "latency_ms", "error", "error_standard_error", "w", "w_standard_error")
        assert found["shapes"][version][1:] == pytest.approx([by_answer[answer][name] for name in named])
    saved = pd.read_csv(project.latest("08_reporting/task_scores.csv")).sort_values("task")
    assert [(row["task"], row["version"]) for row in found["scores"]] == [("library", first), ("order", first)]
    for name in ("score", "interval_low", "interval_high"):
        assert [row[name] for row in found["scores"]] == pytest.approx(saved[name].tolist())
    assert found["datasets"]["search.search_report"] == {first: first, second: second}
    # The copy has no tracked run of the first.
    assert found["measured"] == {first: [], second: []}


def test_an_export_says_the_same_by_every_way(project):
    asked = """{
        "answers": answers.to_dict("list"),
        "expected": formats["onnx"].outputs(texts, pairs).tolist(),
        "probabilities": probabilities.to_numpy().tolist(),
        "labels": list(probabilities.columns),
        "latency": latency.to_dict("index"),
    }"""
    found = executed(project, "use_an_export", asked)
    examples = pd.read_parquet(project.latest("05_model_input/tasks/library.parquet"))
    predictions = pd.read_csv(project.latest("07_model_output/predictions/library.csv"), dtype=str)
    report = project.read("08_reporting/export_report/library.json")
    assert found["answers"]["text"] == examples.query("split == 'test'")["text"].head(8).tolist()
    test = predictions[predictions["split"] == "test"].head(8)
    assert found["answers"]["label"] == test["label"].tolist()
    assert found["answers"]["pytorch"] == found["answers"]["onnx"] == test["prediction"].tolist()
    np.testing.assert_allclose(found["probabilities"], found["expected"], atol=1e-6)
    said = test[[f"probability_{label}" for label in found["labels"]]].to_numpy(float)
    np.testing.assert_allclose(found["probabilities"], said, atol=1e-4)
    for name, row in found["latency"].items():
        assert row["pass alone, ms"] == report["formats"][name]["median_ms"]
        assert row["score on test"] == report["formats"][name]["score_after"]
        assert row["text to answer, ms"] > 0
    assert set(found["latency"]) == {"pytorch", "onnx"}

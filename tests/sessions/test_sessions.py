"""The commands a user types, in a copy of the project, with the smallest configuration."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys

import pandas as pd
import pytest

from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.pipeline_registry import build_pipelines
from bort_kedro.pipelines.namespaces import RESULTS
from commands import Command
from project_copy import SECONDS
from project_parameters import parameters

pytestmark = pytest.mark.session


@pytest.fixture(scope="module")
def project(smoke, tmp_path_factory):
    """A copy of the project in which every stage has run once, to run again in."""
    return smoke.copied(tmp_path_factory.mktemp("again"))


def deterministic_results(project):
    """Every metric and table that no clock goes into; candidates are timed once, so their table is among them."""
    data = project.root / "data"
    results = {
        str(path.name): project.read(f"08_reporting/metrics/{path.name}")
        for path in (data / "08_reporting/metrics").iterdir()
    }
    results["pretraining"] = project.read("08_reporting/pretraining_metrics.json")
    results["selected"] = project.read("04_feature/selected_shape.json")
    results["candidates"] = project.latest("08_reporting/candidate_table.csv").read_text()
    return results


def test_smoke_run_writes_every_output_of_the_catalog(smoke):
    nodes = build_pipelines(parameters("smoke"))["__default__"].nodes
    written = smoke.read("08_reporting/run_manifest.json")["datasets_written"]
    opened = {name for node in nodes if node.name.startswith("evaluate.open_") for name in node.outputs}
    assert set(written) == {name for node in nodes for name in node.outputs} - opened - set(RESULTS.values())


def test_nothing_temporary_is_left(smoke):
    assert not list((smoke.root / "data").rglob("*.part"))


def test_selected_shape_is_the_ranked_candidate_with_the_largest_w(smoke):
    table = pd.read_csv(smoke.latest("08_reporting/candidate_table.csv"))
    best = table.loc[table["w"].idxmax()]
    assert smoke.read("04_feature/selected_shape.json") == {
        name: int(best[name])
        for name in ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size")
    }


def test_student_folder_has_the_selected_shape(smoke):
    from transformers import AutoModel

    config = AutoModel.from_pretrained(smoke.latest("06_models/student_encoder")).config
    for name, value in smoke.read("04_feature/selected_shape.json").items():
        assert getattr(config, name) == value


def test_finetuned_folder_opens_as_text_classification(smoke):
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(smoke.latest("06_models/finetuned/order")))
    assert classify("Return the mean of the array.")[0]["label"] in {"intact", "shuffled"}


def test_manifest_says_what_the_run_was(smoke):
    manifest = smoke.read("08_reporting/run_manifest.json")
    assert manifest["environment"] == "smoke"
    assert manifest["pipelines"] == ["__default__"]
    assert re.fullmatch(r"[0-9a-f]{16}", manifest["configuration_hash"])
    assert manifest["seeds"]["corpus.seed"] == 0
    assert manifest["packages"]["kedro"].startswith("1.7")
    assert manifest["device"]["cpu_count"] >= 1
    assert manifest["datasets_read"] == {}


def below(project, run, **tags):
    """Tracked runs below another by their names, those with certain tags."""
    wanted = tags | {"mlflow.parentRunId": run.info.run_id}
    return {each.info.run_name: each for each in project.tracked_runs() if wanted.items() <= each.data.tags.items()}


def test_tracked_run_has_flat_parameters_and_artifacts(smoke):
    from mlflow import MlflowClient

    run = smoke.tracked_runs()[-1]
    assert run.info.status == "FINISHED"
    selected = tuple(smoke.read("04_feature/selected_shape.json").values())
    assert re.fullmatch(
        rf"all stages: {re.escape(str(selected))}, W 0\.\d{{3}}; masked accuracy 0\.\d{{3}}; "
        r"library [01]\.\d{3}, order [01]\.\d{3}",
        run.info.run_name,
    )
    assert run.data.params["search.training.optimization.num_steps"] == "60"
    client = MlflowClient(smoke.tracking_uri)
    names = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    tables = {"candidate_table.json", "selected_shape.json", "run_manifest.json"}
    assert tables | {"pareto_plot.html", "report.md"} <= names
    metrics = smoke.read("08_reporting/metrics/library.json")
    assert run.data.metrics["library.metrics.test.score"] == pytest.approx(metrics["test"]["score"])


def test_trainings_are_runs_below_the_tracked_run_with_their_curves(smoke):
    from mlflow import MlflowClient

    client, run = MlflowClient(smoke.tracking_uri), smoke.tracked_runs()[-1]
    runs = below(smoke, run)
    assert {"maximum point", "teacher", "student", "student's twin", "library", "order"} < set(runs)
    assert {each.info.status for each in runs.values()} == {"FINISHED"}
    for name, num_steps in {"maximum point": 60, "student": 40, "student's twin": 40}.items():
        curve = client.get_metric_history(runs[name].info.run_id, "training.loss")
        assert [point.step for point in curve] == list(range(1, num_steps + 1))
    known = smoke.read("04_feature/maximum_point.json")
    told = {name: runs["maximum point"].data.metrics[name] for name in ("error", "loss", "cost", "seconds")}
    assert told == pytest.approx({name: known[name] for name in told})
    candidates = below(smoke, run, kind="candidate")
    table = pd.read_csv(smoke.latest("08_reporting/candidate_table.csv"))
    assert len(candidates) == len(table) == 4
    for row in table.to_dict("records"):
        shape = tuple(row[name] for name in SHAPE_COLUMNS)
        metrics = candidates[str(shape)].data.metrics
        for name in ("parameters", "latency_ms", "cost", "error", "error_standard_error", "w", "w_standard_error"):
            assert metrics[name] == pytest.approx(row[name])
        assert (metrics["is_selected"], metrics["is_pareto"]) == (row["is_selected"], row["is_pareto"])
        curve = client.get_metric_history(candidates[str(shape)].info.run_id, "training.loss")
        assert [point.step for point in curve] == list(range(1, 61))


def test_running_again_trains_nothing_and_gives_identical_results(project, smoke):
    before = deterministic_results(project)
    weights = project.latest("06_models/student_encoder") / "model.safetensors"
    states = {
        path: path.stat().st_mtime_ns for path in project.root.glob("data/06_models/training_states/**/*.safetensors")
    }
    status, output = project.run()
    assert status == 0, output
    # Kedro's advice at the beginning of a run, which would be refused.
    assert "--async" not in output
    assert deterministic_results(project) == before
    again = project.latest("06_models/student_encoder") / "model.safetensors"
    assert again != weights
    assert again.read_bytes() == weights.read_bytes()
    assert {path: path.stat().st_mtime_ns for path in states} == states
    # What was found again is tracked as what was trained is.
    run, compared = project.tracked_runs()[-1], ("training.loss", "error", "w")
    found, first = (
        {name: each.data.metrics for name, each in below(other, of, kind="candidate").items()}
        for other, of in ((project, run), (smoke, smoke.tracked_runs()[-1]))
    )
    assert {name: [metrics[each] for each in compared] for name, metrics in found.items()} == {
        name: [metrics[each] for each in compared] for name, metrics in first.items()
    }


def test_training_killed_in_the_middle_resumes_to_the_same_weights(project):
    weights = (project.latest("06_models/student_encoder") / "model.safetensors").read_bytes()
    states = project.root / "data" / "06_models" / "training_states" / "pretrain_distill"
    for folder in states.glob("distilled-*"):
        shutil.rmtree(folder)
    process = project.start("--pipelines", "pretrain_distill")
    killed = project.interrupt(
        process, signal.SIGKILL, "06_models/training_states/pretrain_distill/distilled-*/step-000000020-*"
    )
    assert killed == -signal.SIGKILL
    assert not list(states.glob("distilled-*/step-000000040-*")), "the training had ended before it was killed"
    status, output = project.run("--pipelines", "pretrain_distill")
    assert status == 0, output
    assert (project.latest("06_models/student_encoder") / "model.safetensors").read_bytes() == weights


def test_a_plan_tells_what_is_finished_and_trains_nothing(smoke, tmp_path):
    words = ["plan", "--env", "smoke", "--pipelines", "search,pretrain_distill"]
    command = Command(words, smoke.root, smoke.environment, tmp_path / "output.txt")
    output, _ = command.communicate(timeout=SECONDS)
    assert command.returncode == 0, output
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if "│" in line]
    # Stage, what, trainings, of these finished.
    told = [(row[0], row[2], row[3]) for row in rows if row[2]]
    assert told == [("search", "1", "1"), ("search", "4", "4"), *[("pretrain_distill", "1", "1")] * 3]
    assert "What is finished takes none." in " ".join(output.split())


def test_a_later_stage_without_its_inputs_says_which_stage_makes_them(fresh):
    status, output = fresh.run("--pipelines", "finetune")
    assert status == 1
    assert "student_encoder, teacher_encoder: made by `kedro run --pipelines pretrain_distill`" in output
    assert "corpus_documents: made by `kedro run --pipelines corpus`" in output
    assert "Traceback" not in output


def test_an_entry_of_an_older_catalog_is_answered_with_its_name_of_now(fresh):
    entry = "candidate_costs:\n  type: pandas.CSVDataset\n  filepath: mine.csv\n"
    (fresh.root / "conf" / "smoke" / "catalog_mine.yml").write_text(entry)
    status, output = fresh.run("--pipelines", "corpus")
    assert status == 1
    assert "`candidate_costs` is called `search.candidate_costs`" in output
    assert "Traceback" not in output
    assert not any((fresh.root / "data").iterdir())


SESSIONS = """
from contextlib import suppress
from bort_kedro import pipelines
from bort_kedro.errors import ConfigurationError
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.runner import SequentialRunner, ThreadRunner
from pathlib import Path

bootstrap_project(Path.cwd())
pipelines.__path__.append("added")
for stage, task in (("corpus", "library"), ("tasks", "library"), ("tasks", "order")):
    with KedroSession.create(env="smoke", runtime_params={"finetune": {"tasks": [task]}}) as session:
        session.run(pipeline_names=[stage])
with KedroSession.create(env="smoke", runtime_params={"foo": {"length": 7}}) as session:
    assert session.run(pipeline_names=["foo"], runner=ThreadRunner())["foo_results"].load() == [7, 0]
for runner in (ThreadRunner(), SequentialRunner(is_async=True)):
    with suppress(ConfigurationError), KedroSession.create(env="smoke") as session:
        session.run(pipeline_names=["tasks"], runner=runner)
        raise AssertionError(f"{runner} was taken")
"""
# As `kedro pipeline create foo` begins one.
ADDED = """
from kedro.pipeline import Node, Pipeline

def create_pipeline(**kwargs):
    return Pipeline([Node(lambda *sizes: list(sizes), ["params:foo.length", "params:corpus.seed"], "foo_results")])
"""


def test_sessions_of_one_process_have_the_pipelines_of_their_own_parameters_and_those_of_the_user(fresh):
    (fresh.root / "added" / "foo").mkdir(parents=True)
    (fresh.root / "added" / "foo" / "__init__.py").write_text(ADDED, "utf-8")
    command = [sys.executable, "-c", SESSIONS]
    done = subprocess.run(
        command, cwd=fresh.root, env=fresh.environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = (fresh.root / "data" / "05_model_input" / "tasks").iterdir()
    assert {path.stem: len(list(path.iterdir())) for path in made} == {"library": 1, "order": 1}


def test_mistyped_parameter_on_the_command_line_stops_before_the_first_node(fresh):
    status, output = fresh.run("--params", "serach.interval=3")
    assert status == 1
    assert "`serach` is unknown" in output
    assert "Did you mean `search`?" in output
    assert "Traceback" not in output
    assert not any((fresh.root / "data").iterdir())


def test_failed_run_is_tracked_as_failed_and_shows_no_traceback(fresh):
    (fresh.root / "conf" / "smoke" / "catalog.yml").write_text(
        "raw_corpus:\n  type: bort_kedro.datasets.text_sources.TextFilesDataset\n  paths: [absent/*.txt]\n"
    )
    status, output = fresh.run("--pipelines", "corpus")
    assert status == 1
    assert "No file matches `absent/*.txt`" in output
    assert "Traceback" not in output
    assert "--from-nodes" not in output
    assert output.endswith(
        "The run stopped in corpus.split_documents_node, after 0 of 4 nodes. Nothing was kept of it.\n"
        "Once that is mended, go on with: python -m kedro run --env smoke --pipelines corpus\n"
    )
    assert fresh.tracked_runs()[0].info.status == "FAILED"


SIGNALLED = """
import os, signal
from bort_kedro.datasets.text_sources import InstalledDocumentationDataset
from fsspec.implementations.local import LocalFileSystem

class Disk(LocalFileSystem):
    def info(self, path, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return super().info(path, **options)

class SignalledDocumentation(InstalledDocumentationDataset):
    def load(self):
        # fsspec takes whatever is raised for a file that is not there.
        assert not Disk().exists(os.getcwd())
        print("went on after the signal", flush=True)
        return super().load()
"""


def test_a_run_whose_signal_something_else_has_caught_is_tracked_as_killed_and_stops(fresh):
    (fresh.root / "signalled.py").write_text(SIGNALLED)
    catalog = fresh.root / "conf" / "smoke" / "catalog.yml"
    entry = "bort_kedro.datasets.text_sources.InstalledDocumentationDataset"
    catalog.write_text(catalog.read_text().replace(entry, "signalled.SignalledDocumentation"))
    status, output = fresh.run("--pipelines", "corpus")
    assert "went on after the signal" in output
    assert status == 128 + signal.SIGTERM
    assert [run.info.status for run in fresh.tracked_runs()] == ["KILLED"]
    assert output.endswith(
        "The run stopped in corpus.split_documents_node, after 0 of 4 nodes. Nothing was kept of it.\n"
        "Go on with: python -m kedro run --env smoke --pipelines corpus\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_is_tracked_as_killed(fresh, number):
    # The stages after the file that is waited for take seconds, so that the run is under way at the signal.
    process = fresh.start("--pipelines", "search")
    status = fresh.interrupt(process, number, "03_primary/tokenizer/*/tokenizer")
    assert status != 0
    assert fresh.tracked_runs()[0].info.status == "KILLED"
    left = process.read().partition("The run stopped in ")[2]
    assert "results of nodes, by stage: corpus " in left
    assert "\nGo on with: python -m kedro run --env smoke --pipelines search\n" in left

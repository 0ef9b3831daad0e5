"""Trials of a fine-tuning below their task's run, and tasks below the Kedro run."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time

import mlflow
import pytest
from kedro.pipeline import Node, Pipeline

from bort_kedro.errors import ConfigurationError
from bort_kedro.session.nested_runs import METRICS_PER_CALL, NO_LINKS, log_metrics
from bort_kedro.session.tracking import TrackingHook
from bort_kedro.training.observer import SilentObserver, TrialEnded
from project_copy import PROJECT
from tracked_sessions import (
    CATALOG,
    FINETUNE,
    STATES,
    STUDENT,
    children,
    context_of,
    finished,
    points,
    started,
    tell,
    tell_trial,
    trial,
)


def diverged(**where):
    ended = trial(**where, num_steps_done=0, dev_score=-1.0, seconds=0.0, has_diverged=True)
    return TrialEnded(ended.task, ended.method, ended.round, ended.setting, ended.row, [], [])


def test_each_trial_is_a_run_under_its_task_and_each_task_a_run_under_the_kedro_run(hook):
    kedro_run = started(hook)
    for each in (trial(), trial(setting=2), trial(method="plain", number=3), trial(task="cola")):
        tell_trial(each)
    finished(hook)
    tasks = children(kedro_run)
    assert set(tasks) == {"rte", "cola"}
    trials = children(tasks["rte"].info.run_id)
    assert set(trials) == {"agora, round 1, setting 1", "agora, round 1, setting 3", "plain, round 4, setting 1"}
    assert set(children(tasks["cola"].info.run_id)) == {"agora, round 1, setting 1"}
    tags = trials["agora, round 1, setting 3"].data.tags
    assert {name: tags[name] for name in ("task", "method", "round", "setting")} == {
        "task": "rte",
        "method": "agora",
        "round": "1",
        "setting": "3",
    }
    ended = [*tasks.values(), *trials.values()]
    assert {run.info.status for run in ended} == {"FINISHED"}
    assert {run.info.experiment_id for run in ended} == {mlflow.get_run(kedro_run).info.experiment_id}


def test_a_trial_shows_its_hyperparameters_its_curve_and_its_looks_at_dev(hook):
    kedro_run = started(hook)
    tell_trial(trial())
    (run,) = children(children(kedro_run)["rte"].info.run_id).values()
    assert run.data.params == {"learning_rate": "0.001", "batch_tokens": "512", "num_steps": "40"}
    assert run.data.metrics == {
        "dev_score": 0.75,
        "seconds": 0.5,
        "num_steps_done": 30.0,
        "training.loss": 0.2,
        "training.accuracy": 1.0,
    }
    assert points(run, "training.loss") == [(10, 0.7), (30, 0.2)]
    # The last look is followed by the score of the weights that are kept, here those of the first look.
    assert points(run, "dev_score") == [(10, 0.75), (20, 0.5), (30, 0.25), (30, 0.75)]


def test_a_trial_whose_last_look_is_its_best_has_no_point_twice(hook):
    kedro_run = started(hook)
    tell_trial(trial(dev_score=0.25))
    (run,) = children(children(kedro_run)["rte"].info.run_id).values()
    assert points(run, "dev_score") == [(10, 0.75), (20, 0.5), (30, 0.25)]
    assert run.data.metrics["dev_score"] == 0.25


def test_a_diverged_trial_has_failed_and_its_task_has_not(hook):
    kedro_run = started(hook)
    tell_trial(diverged())
    finished(hook)
    (task,) = children(kedro_run).values()
    (run,) = children(task.info.run_id).values()
    assert (task.info.status, run.info.status) == ("FINISHED", "FAILED")
    assert run.data.metrics == {"dev_score": -1.0, "seconds": 0.0, "num_steps_done": 0.0}
    assert run.data.params == {"learning_rate": "0.001", "batch_tokens": "512", "num_steps": "40"}


def test_a_task_shows_the_best_score_of_each_method_and_counts_its_trials(hook):
    kedro_run = started(hook)
    for setting, score in enumerate((0.5, 0.25, 0.75, 0.75)):
        tell_trial(trial(setting=setting, dev_score=score))
    tell_trial(trial(method="plain", dev_score=0.625))
    tell_trial(diverged(method="plain", setting=1))
    (task,) = children(kedro_run).values()
    assert task.info.status == "RUNNING"
    assert task.data.metrics == {"agora.dev_score": 0.75, "plain.dev_score": 0.625}
    finished(hook)
    (task,) = children(kedro_run).values()
    assert task.data.metrics == {
        "agora.dev_score": 0.75,
        "plain.dev_score": 0.625,
        "agora.num_trials": 4.0,
        "plain.num_trials": 2.0,
        "num_trials": 6.0,
        "num_diverged_trials": 1.0,
    }
    assert points(task, "agora.dev_score") == [(1, 0.5), (3, 0.75)]


def test_a_trial_lasts_as_long_as_its_training_but_begins_no_earlier_than_the_kedro_run(hook):
    kedro_run = started(hook)
    began = mlflow.active_run().info.start_time
    time.sleep(0.05)
    tell_trial(trial(seconds=0.01))
    tell_trial(trial(setting=1, seconds=3600.0))
    runs = children(children(kedro_run)["rte"].info.run_id)
    trained, found = (runs[f"agora, round 1, setting {place}"].info for place in (1, 2))
    assert trained.start_time >= began + 40
    assert trained.end_time - trained.start_time >= 10
    assert found.start_time == began


def test_the_active_run_is_the_kedro_run_until_it_ends(hook):
    kedro_run = started(hook)
    tell_trial(trial())
    assert mlflow.active_run().info.run_id == kedro_run
    finished(hook)
    assert mlflow.active_run() is None
    assert "rte" not in mlflow.get_run(kedro_run).data.metrics


def test_a_trial_of_another_thread_is_tracked_below_the_same_kedro_run(hook):
    kedro_run = started(hook)
    thread = threading.Thread(target=tell_trial, args=[trial()])
    thread.start()
    thread.join()
    finished(hook)
    assert set(children(children(kedro_run)["rte"].info.run_id)) == {"agora, round 1, setting 1"}


def test_a_failed_kedro_run_fails_its_tasks_and_leaves_its_trials_finished(hook):
    kedro_run = started(hook)
    tell_trial(trial())
    hook.on_pipeline_error(ValueError(), FINETUNE, Pipeline([]), CATALOG)
    (task,) = children(kedro_run).values()
    (run,) = children(task.info.run_id).values()
    assert mlflow.get_run(kedro_run).info.status == "FAILED"
    assert (task.info.status, run.info.status) == ("FAILED", "FINISHED")
    assert task.data.metrics["num_trials"] == 1.0


@pytest.mark.parametrize("end", [finished, lambda hook: hook.on_pipeline_error(ValueError(), FINETUNE, None, CATALOG)])
def test_the_session_listens_while_the_pipeline_runs_and_no_longer(hook, end):
    started(hook)
    assert STATES.load().observer is hook
    end(hook)
    assert isinstance(STATES.load().observer, SilentObserver)


def test_a_run_without_trials_has_no_runs_below_it(hook):
    kedro_run = started(hook)
    finished(hook)
    assert children(kedro_run) == {}
    assert mlflow.get_run(kedro_run).info.status == "FINISHED"


def test_a_second_run_of_the_same_hook_has_runs_of_its_own(hook):
    first = started(hook)
    tell_trial(trial())
    finished(hook)
    second = started(hook)
    tell_trial(trial())
    finished(hook)
    tasks = [children(kedro_run)["rte"].info.run_id for kedro_run in (first, second)]
    assert tasks[0] != tasks[1]
    assert [len(children(task)) for task in tasks] == [1, 1]


def test_nothing_is_tracked_where_mlflow_is_off(hook):
    hook.mlflow_config.tracking.disable_tracking.pipelines = ["finetune"]
    before = len(mlflow.search_runs(experiment_names=["bort_kedro"], output_format="list"))
    hook.before_pipeline_run(FINETUNE, Pipeline([]), CATALOG)
    tell_trial(trial())
    finished(hook)
    assert mlflow.active_run() is None
    assert len(mlflow.search_runs(experiment_names=["bort_kedro"], output_format="list")) == before


def calls_of(monkeypatch, *names):
    """Names of the calls to MLflow in their order, noted while they are made."""
    made = []

    def noting(name, call):
        def noted(*arguments, **named):
            made.append(name)
            return call(*arguments, **named)

        return noted

    for name in names:
        monkeypatch.setattr(mlflow.MlflowClient, name, noting(name, getattr(mlflow.MlflowClient, name)))
    return made


def test_a_trial_that_is_not_the_best_takes_three_calls(hook, monkeypatch):
    started(hook)
    tell_trial(trial())
    made = calls_of(monkeypatch, "create_run", "log_batch", "set_terminated", "get_run", "set_tag", "log_metric")
    tell_trial(trial(setting=1))
    assert made == ["create_run", "log_batch", "set_terminated"]


def test_metrics_and_parameters_are_logged_in_calls_as_large_as_mlflow_allows(hook, monkeypatch):
    run_id = started(hook)
    sizes = []
    log_batch = mlflow.MlflowClient.log_batch

    def noted(self, run_id, metrics=(), params=()):
        sizes.append((len(metrics), len(params)))
        return log_batch(self, run_id, metrics=metrics, params=params)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", noted)
    rows = [("loss", float(step), step) for step in range(2 * METRICS_PER_CALL)] + [("loss", float("nan"), 5000)]
    log_metrics(run_id, rows, {"learning_rate": 0.1, "seed": 0})
    assert sizes == [(998, 2), (1000, 0), (2, 0)]
    assert points(mlflow.get_run(run_id), "loss") == [(step, float(step)) for step in range(2000)]


@pytest.mark.parametrize("before", [None, "false"])
def test_no_link_is_printed_for_a_run_below_the_kedro_run_alone(hook, monkeypatch, before):
    monkeypatch.delenv(NO_LINKS, raising=False)
    if before is not None:
        monkeypatch.setenv(NO_LINKS, before)
    seen = []
    set_terminated = mlflow.MlflowClient.set_terminated

    def noted(*arguments):
        seen.append(os.environ.get(NO_LINKS))
        return set_terminated(*arguments)

    started(hook)
    monkeypatch.setattr(mlflow.MlflowClient, "set_terminated", noted)
    tell_trial(trial())
    assert seen == ["true"]
    assert os.environ.get(NO_LINKS) == before


def test_a_store_that_fails_in_the_middle_is_told_once_and_the_run_goes_on(hook, broken, caplog):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    started(hook)
    hook.after_catalog_created(CATALOG, {}, {}, {}, "", {})
    tell(STUDENT, {"step": 1, "loss": 0.5})
    observer = STATES.load().observer
    broken()
    for step in (2, 3):
        observer.row_logged(STUDENT, {"step": step, "loss": 0.25})
    observer.training_ended(STUDENT, {"seconds": 1.0}, [], None)
    observer.trial_ended(trial())
    node = Node(lambda seed: seed, "params:seed", "made", name="make")
    hook.before_node_run(node, CATALOG, {"params:seed": 7}, is_async=False)
    hook.after_dataset_saved("run_manifest", {"device": "cpu"})
    finished(hook)
    (said,) = [record.getMessage() for record in caplog.records if record.name == "bort_kedro.session.tracking"]
    assert said.startswith("MLflow's store at sqlite:///")
    assert "no such table: " in said
    assert said.endswith(" The run goes on and keeps its results, but is not tracked further.")
    assert mlflow.active_run() is None
    assert isinstance(STATES.load().observer, SilentObserver)
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_a_store_that_fails_when_the_run_ends_changes_nothing_of_its_end(hook, broken, caplog):
    started(hook)
    tell_trial(trial())
    broken()
    hook.on_pipeline_error(ValueError("of the run"), FINETUNE, Pipeline([]), CATALOG)
    assert sum(record.name == "bort_kedro.session.tracking" for record in caplog.records) == 1
    assert mlflow.active_run() is None


def test_a_store_that_cannot_be_opened_ends_a_run_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    hook = TrackingHook()
    hook.after_context_created(context_of(tmp_path))
    with pytest.raises(ConfigurationError, match=f"cannot be tracked at {tmp_path}/mlruns: this is a folder"):
        hook.before_pipeline_run(FINETUNE, Pipeline([]), CATALOG)


def test_a_next_session_tracks_again(tmp_path, store, monkeypatch):
    hook = TrackingHook()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    hook.after_context_created(context_of(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    hook.after_context_created(context_of(tmp_path))
    kedro_run = started(hook)
    finished(hook)
    assert mlflow.get_run(kedro_run).info.status == "FINISHED"
    mlflow.set_tracking_uri(None)


def test_an_experiment_that_another_run_makes_just_now_is_taken(tmp_path, store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    TrackingHook().after_context_created(context_of(tmp_path))
    found, asked = mlflow.MlflowClient.get_experiment_by_name, []

    def found_later(self, name):
        asked.append(name)
        return found(self, name) if len(asked) > 1 else None

    monkeypatch.setattr(mlflow.MlflowClient, "get_experiment_by_name", found_later)
    hook = TrackingHook()
    hook.after_context_created(context_of(tmp_path))
    kedro_run = started(hook)
    finished(hook)
    assert mlflow.get_run(kedro_run).info.status == "FINISHED"
    mlflow.set_tracking_uri(None)


@pytest.mark.parametrize(
    ("stated", "uri", "location"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:1", None),
        ("sqlite:///mine.db", "sqlite+pysqlite:///{project}/mine.db", "file://{project}/mlartifacts"),
    ],
)
def test_artifacts_go_where_the_configuration_says_that_runs_go(tmp_path, monkeypatch, stated, uri, location):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(TrackingHook, "_open", lambda self, context: None)
    shutil.copytree(PROJECT / "conf" / "base", tmp_path / "conf" / "base")
    (tmp_path / "conf" / "smoke").mkdir()
    (tmp_path / "conf" / "smoke" / "mlflow.yml").write_text(f"server: {{mlflow_tracking_uri: '{stated}'}}", "utf-8")
    context = context_of(tmp_path, tmp_path / "conf")
    TrackingHook().after_context_created(context)
    configured = context.config_loader["mlflow"]
    assert configured["server"]["mlflow_tracking_uri"] == uri.format(project=tmp_path)
    made = configured["tracking"]["experiment"]["create_experiment_kwargs"]["artifact_location"]
    assert made == (location and location.format(project=tmp_path))

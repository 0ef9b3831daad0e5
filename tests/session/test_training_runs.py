"""Pretrainings and candidates as runs below the Kedro run."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import mlflow
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from bort_kedro.session import nested_runs
from bort_kedro.session.candidates_view import address_of
from bort_kedro.session.nested_runs import PARENT_TAG
from bort_kedro.training.observer import Training
from search_results import trained_search
from tracked_sessions import CATALOG, FINETUNE, STUDENT, children, finished, points, started, tell, tell_ended

SHAPE = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "intermediate_size": 128}
CANDIDATE = Training("(2, 4, 64, 128)", "candidate", SHAPE)
SHAPE_PARAMS = {name: str(value) for name, value in SHAPE.items()}
ROWS = [{"step": step, "loss": 1.0 / step} for step in (1, 2, 4)]
TABLE = "search.candidate_table"


def candidate_row(depth=2, **values):
    """A row of the candidate table."""
    known = {"parameters": 1000.0, "cost": 10.0, "latency_ms": 2.0, "error": 0.5, "error_standard_error": 0.01}
    w = {"w": 0.75, "w_standard_error": 0.015, "predicted": 0.55}
    flags = {"is_trained": True, "has_failed": False, "failure": None, "is_pareto": True, "is_selected": False}
    return SHAPE | {"num_hidden_layers": depth} | known | w | flags | values


def save_table(hook, *rows):
    entry = MemoryDataset(metadata={"mlflow": "candidates"})
    hook.after_catalog_created(DataCatalog({TABLE: entry}), {}, {}, {}, "", {})
    hook.after_dataset_saved(TABLE, pd.DataFrame(rows))


def test_a_training_is_a_run_while_it_trains_and_ends_with_what_it_reached(hook, monkeypatch):
    kedro_run = started(hook)
    monkeypatch.setattr(nested_runs, "SECONDS_BETWEEN_ROWS", 0.0)
    for row in ROWS[:2]:
        tell(STUDENT, row)
    (running,) = children(kedro_run).values()
    assert running.info.status == "RUNNING"
    assert running.data.params == {"num_hidden_layers": "2", "hidden_size": "64"}
    assert points(running, "training.loss") == [(1, 1.0), (2, 0.5)]
    tell_ended(STUDENT, {"seconds": 3.0, "num_tokens": 700}, ROWS)
    (ended,) = children(kedro_run).values()
    assert (ended.info.run_name, ended.info.status, ended.data.tags["kind"]) == ("student", "FINISHED", "student")
    assert ended.data.metrics == {"training.loss": 0.25, "seconds": 3.0, "num_tokens": 700.0}
    # What was shown before is not there twice.
    assert points(ended, "training.loss") == [(1, 1.0), (2, 0.5), (4, 0.25)]


def test_rows_of_one_second_are_told_together_and_none_is_lost(hook, monkeypatch):
    kedro_run = started(hook)
    clock = iter([100.0, 100.1, 100.5, 101.2, 101.3, 101.9, 102.2])
    monkeypatch.setattr(nested_runs, "time", SimpleNamespace(time=time.time, monotonic=lambda: next(clock)))
    seen = []
    for row in [*ROWS, {"step": 8, "loss": 0.125}, {"step": 16, "loss": 0.0625}]:
        tell(STUDENT, row)
        (run,) = children(kedro_run).values()
        seen.append([step for step, _ in points(run, "training.loss")])
    # The clock is read before each row, and again after those that are told.
    assert seen == [[1], [1], [1, 2, 4], [1, 2, 4], [1, 2, 4]]
    monkeypatch.undo()
    hook.on_pipeline_error(ValueError(), {}, None, None)
    (run,) = children(kedro_run).values()
    assert [step for step, _ in points(run, "training.loss")] == [1, 2, 4, 8, 16]


def test_a_training_that_ended_elsewhere_is_whole_as_soon_as_it_is_told(hook):
    kedro_run = started(hook)
    began = mlflow.active_run().info.start_time
    time.sleep(0.05)
    tell_ended(CANDIDATE, {"error": 0.5, "seconds": 0.01}, ROWS)
    (run,) = children(kedro_run).values()
    assert (run.info.run_name, run.data.params) == ("(2, 4, 64, 128)", SHAPE_PARAMS)
    assert points(run, "training.loss") == [(1, 1.0), (2, 0.5), (4, 0.25)]
    assert run.info.start_time >= began + 40
    assert run.info.end_time - run.info.start_time >= 10


def test_a_failed_candidate_has_failed_and_says_why(hook):
    kedro_run = started(hook)
    tell(CANDIDATE, ROWS[0])
    tell(CANDIDATE, ROWS[1])
    tell_ended(CANDIDATE, {"parameters": 1000.0}, [], "its loss is not finite")
    finished(hook)
    (run,) = children(kedro_run).values()
    assert (run.info.status, run.data.tags["failure"]) == ("FAILED", "its loss is not finite")
    assert run.data.metrics == {"training.loss": 0.5, "parameters": 1000.0}
    assert points(run, "training.loss") == [(1, 1.0), (2, 0.5)]


def test_a_later_rung_goes_on_in_the_same_run(hook):
    kedro_run = started(hook)
    tell_ended(CANDIDATE, {"error": 0.75, "trained_share": 0.5}, ROWS[:2])
    tell_ended(CANDIDATE, {"error": 0.5, "trained_share": 1.0, "w": 0.25}, ROWS)
    (run,) = children(kedro_run).values()
    assert run.data.metrics == {"error": 0.5, "trained_share": 1.0, "w": 0.25, "training.loss": 0.25}
    assert points(run, "training.loss") == [(1, 1.0), (2, 0.5), (4, 0.25)]
    tell_ended(CANDIDATE, {}, [], "its loss climbs")
    assert children(kedro_run)["(2, 4, 64, 128)"].info.status == "FAILED"


@pytest.mark.parametrize("status", ["FINISHED", "FAILED"])
def test_what_still_trains_when_the_kedro_run_ends_ends_as_it_does(hook, status):
    kedro_run = started(hook)
    tell(STUDENT, ROWS[0])
    tell_ended(CANDIDATE, {"error": 0.5})
    if status == "FINISHED":
        finished(hook)
    else:
        hook.on_pipeline_error(ValueError(), {}, None, None)
    ended = {name: run.info.status for name, run in children(kedro_run).items()}
    assert ended == {"student": status, "(2, 4, 64, 128)": "FINISHED"}


def test_the_table_of_candidates_completes_their_runs_and_makes_those_of_rows_that_were_looked_up(hook):
    kedro_run = started(hook)
    tell_ended(CANDIDATE, {"error": 0.5, "seconds": 2.0}, ROWS)
    save_table(
        hook,
        candidate_row(),
        candidate_row(3, w=float("nan"), is_pareto=False),
        candidate_row(4, error=float("nan"), is_trained=False, has_failed=True, failure="its loss climbs"),
        candidate_row(5, error=float("nan"), is_trained=False),
    )
    runs = children(kedro_run)
    assert {name: run.info.status for name, run in runs.items()} == {
        "(2, 4, 64, 128)": "FINISHED",
        "(3, 4, 64, 128)": "FINISHED",
        "(4, 4, 64, 128)": "FAILED",
    }
    told = {"parameters": 1000.0, "cost": 10.0, "latency_ms": 2.0, "error": 0.5, "error_standard_error": 0.01}
    ranked = {"w": 0.75, "w_standard_error": 0.015, "is_pareto": 1.0, "is_selected": 0.0}
    assert runs["(2, 4, 64, 128)"].data.metrics == told | ranked | {"seconds": 2.0, "training.loss": 0.25}
    # The error was there already.
    assert points(runs["(2, 4, 64, 128)"], "error") == [(0, 0.5)]
    assert runs["(3, 4, 64, 128)"].data.params == SHAPE_PARAMS | {"num_hidden_layers": "3"}
    assert "w" not in runs["(3, 4, 64, 128)"].data.metrics
    assert runs["(4, 4, 64, 128)"].data.tags["failure"] == "its loss climbs"


def test_rows_of_one_shape_are_runs_of_their_own(hook):
    kedro_run = started(hook)
    save_table(hook, candidate_row(error=0.5), candidate_row(error=0.25))
    runs = children(kedro_run)
    assert {name: run.data.metrics["error"] for name, run in runs.items()} == {
        "(2, 4, 64, 128)": 0.5,
        "(2, 4, 64, 128), row 2": 0.25,
    }


def test_rows_of_a_table_are_many_runs_in_three_calls_each(hook, monkeypatch):
    kedro_run = started(hook)
    made = []
    for name in ("create_run", "log_batch", "set_terminated", "set_tag", "log_metric", "get_run"):
        call = getattr(mlflow.MlflowClient, name)
        monkeypatch.setattr(
            mlflow.MlflowClient, name, lambda *a, _call=call, _name=name, **k: made.append(_name) or _call(*a, **k)
        )
    save_table(hook, *(candidate_row(depth) for depth in range(1, 31)))
    calls = [name for name in made if name in ("create_run", "log_batch", "set_terminated")]
    assert calls == ["create_run", "log_batch", "set_terminated"] * 30
    monkeypatch.undo()
    experiment = mlflow.get_run(kedro_run).info.experiment_id
    found = mlflow.MlflowClient().search_runs([experiment], f"tags.`{PARENT_TAG}` = '{kedro_run}'")
    assert {run.data.params["num_hidden_layers"] for run in found} == {str(depth) for depth in range(1, 31)}


def test_a_run_is_named_by_its_stages_and_at_its_end_by_what_it_found(hook):
    search = Pipeline([Node(lambda seed: seed, "params:seed", "made", name="make", namespace="search")])
    hook.before_pipeline_run(FINETUNE, search, CATALOG)
    kedro_run = mlflow.active_run().info.run_id
    assert mlflow.get_run(kedro_run).info.run_name == "search"
    hook.after_catalog_created(CATALOG, {}, {}, {}, "", {})
    hook.after_dataset_saved("search.search_report", trained_search())
    finished(hook)
    named = mlflow.get_run(kedro_run).info
    assert (named.run_name, named.status) == (
        f"search: (1, 2, 64, 128), W {trained_search().selected.w:.3f}",
        "FINISHED",
    )
    assert named.end_time >= named.start_time


def test_a_failed_run_is_named_by_what_it_found_until_then(hook):
    kedro_run = started(hook)
    node = Node(lambda shape: shape, "selected_shape", "made", name="make")
    hook.before_node_run(node, CATALOG, {"selected_shape": SHAPE}, is_async=False)
    hook.on_pipeline_error(ValueError(), FINETUNE, Pipeline([]), CATALOG)
    assert mlflow.get_run(kedro_run).info.run_name == "finetune: (2, 4, 64, 128)"
    assert mlflow.get_run(kedro_run).info.status == "FAILED"


def test_the_name_that_a_user_gives_stays(hook, monkeypatch):
    monkeypatch.setattr(hook.mlflow_config.tracking.run, "name", "mine")
    kedro_run = started(hook)
    finished(hook)
    assert mlflow.get_run(kedro_run).info.run_name == "mine"


def test_the_page_of_the_candidates_shows_them_alone_the_best_first(hook, caplog):
    caplog.set_level("INFO", "bort_kedro.session.tracking")
    hook.before_pipeline_run(FINETUNE, Pipeline([]), CATALOG)
    run = mlflow.active_run().info
    tell_ended(STUDENT, {"seconds": 3.0})
    shapes = [candidate_row(depth, w=depth / 10) for depth in (1, 3, 2)]
    save_table(hook, *shapes)
    hook.after_pipeline_run(FINETUNE, Pipeline([]), CATALOG)
    pages = f"http://127.0.0.1:5000/#/experiments/{run.experiment_id}/runs?"
    assert caplog.messages[-1] == (
        "The candidates side by side in MLflow (`make mlflow`): "
        f"{pages}viewStateShareKey={run.run_id}&compareRunsMode=CHART&workflowType=machine_learning"
    )
    client = mlflow.MlflowClient()
    view = json.loads(client.get_experiment(run.experiment_id).tags[f"mlflow.sharedViewState.{run.run_id}"])
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    found = client.search_runs([run.experiment_id], view["searchFilter"], order_by=[order])
    assert [each.info.run_name for each in found] == ["(3, 4, 64, 128)", "(2, 4, 64, 128)", "(1, 4, 64, 128)"]
    parallel, *scatters = view["compareRunCharts"]
    assert set(parallel["selectedParams"]) <= set(found[0].data.params)
    axes = {axis["key"] for chart in scatters for axis in (chart["xaxis"], chart["yaxis"])}
    assert axes | set(parallel["selectedMetrics"]) <= set(found[0].data.metrics)


def test_a_run_without_candidates_has_no_page_of_them(hook, caplog):
    caplog.set_level("INFO", "bort_kedro.session.tracking")
    started(hook)
    tell_ended(STUDENT, {"seconds": 3.0})
    finished(hook)
    assert "side by side" not in caplog.text


@pytest.mark.parametrize(
    ("uri", "pages"),
    [("http://tracking:80/", "http://tracking:80"), ("sqlite:///mlruns.db", "http://127.0.0.1:5000")],
)
def test_the_page_is_where_the_store_is_shown(uri, pages):
    assert address_of(uri, "3", "abc").startswith(f"{pages}/#/experiments/3/runs?viewStateShareKey=abc&")


def test_a_store_that_goes_away_among_the_candidates_is_told_once_and_fails_nothing(hook, broken, caplog):
    started(hook)
    tell_ended(CANDIDATE, {"error": 0.5})
    broken()
    save_table(hook, *(candidate_row(depth) for depth in (2, 3, 4)))
    finished(hook)
    (said,) = (record.getMessage() for record in caplog.records if record.name == "bort_kedro.session.tracking")
    assert said.endswith("The run goes on and keeps its results, but is not tracked further.")
    assert mlflow.active_run() is None

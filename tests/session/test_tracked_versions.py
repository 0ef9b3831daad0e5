"""The page of a run in MLflow says which versions it read and wrote."""

import json

import mlflow
import pytest

from bort_kedro.session.tracked_versions import TABLE, log_versions


@pytest.fixture
def client(store, monkeypatch):
    mlflow.set_tracking_uri(store)
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)


def run_of(client, tmp_path):
    experiment = client.create_experiment(tmp_path.name, artifact_location=tmp_path.as_uri())
    return client.create_run(experiment).info


def test_all_versions_are_a_table_and_those_read_are_the_datasets_that_the_run_used(client, tmp_path):
    run = run_of(client, tmp_path)
    read = {"tokens": "2026-01-01", "search.search_report": "2026-01-02"}
    log_versions(run.run_id, {"datasets_read": read, "datasets_written": {"evaluate.library.metrics": "2026-01-03"}})
    table = json.loads((tmp_path / run.run_id / "artifacts" / TABLE).read_text())
    assert [dict(zip(table["columns"], row, strict=True)) for row in table["data"]] == [
        {"dataset": "library.metrics", "how": "written", "version": "2026-01-03"},
        {"dataset": "search_report", "how": "read", "version": "2026-01-02"},
        {"dataset": "tokens", "how": "read", "version": "2026-01-01"},
    ]
    used = client.get_run(run.run_id).inputs.dataset_inputs
    assert {(each.dataset.name, each.dataset.digest) for each in used} == {
        ("tokens", "2026-01-01"),
        ("search_report", "2026-01-02"),
    }
    # As the search field of the user interface takes it.
    found = client.search_runs([run.experiment_id], "dataset.name = 'tokens' and dataset.digest = '2026-01-01'")
    assert [each.info.run_id for each in found] == [run.run_id]
    assert client.search_runs([run.experiment_id], "dataset.digest = '2026-01-03'") == []


def test_a_run_without_versions_has_no_table(client, tmp_path):
    run = run_of(client, tmp_path)
    log_versions(run.run_id, {"datasets_read": {}, "datasets_written": {}})
    assert client.list_artifacts(run.run_id) == []
    assert client.get_run(run.run_id).inputs.dataset_inputs == []

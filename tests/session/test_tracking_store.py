"""Where MLflow keeps the runs."""

from __future__ import annotations

import shutil

from mlflow import MlflowClient

from bort_kedro.session.tracking_store import database_uri


def test_a_database_in_an_odd_folder_is_found_there_and_nothing_is_made_beside_it(tmp_path, empty_store):
    folder = tmp_path / "odd [a]%20?b#c"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlruns.db")
    client = MlflowClient(database_uri(folder / "mlruns.db"))
    made = client.create_experiment("mine", artifact_location=(folder / "mlartifacts").as_uri())
    assert client.get_experiment(made).name == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert [path.name for path in folder.iterdir()] == ["mlruns.db"]

"""Where MLflow keeps the runs, and what is said where it cannot."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from bort_kedro.errors import ConfigurationError
from bort_kedro.session.tracking_store import (
    OF_A_RUN,
    RETRIES,
    database_uri,
    is_served,
    is_unreachable,
    opening,
    reason_of,
    seen_from,
)

ELSEWHERE = (
    "; or track them elsewhere: change the variable MLFLOW_TRACKING_URI or `server.mlflow_tracking_uri` in "
    "conf/local/mlflow.yml. Without both (`unset MLFLOW_TRACKING_URI`) they go to mlruns.db of the project's folder."
)
REFUSED = (
    "API request to http://127.0.0.1:5000/api failed with exception HTTPConnectionPool(host='127.0.0.1', port=5000): "
    "Max retries exceeded with url: /api (Caused by NewConnectionError(\"HTTPConnection(host='127.0.0.1', port=5000): "
    'Failed to establish a new connection: [Errno 111] Connection refused"))'
)


@pytest.fixture(autouse=True)
def untouched(monkeypatch):
    """What a run sets where the user has not."""
    for name in OF_A_RUN:
        monkeypatch.setenv(name, "9")


def refusal(uri, fault=None):
    def ask():
        if fault:
            raise fault
        MlflowClient(uri).get_experiment_by_name("mine")

    with pytest.raises(ConfigurationError) as caught, opening(uri):
        ask()
    return str(caught.value)


def test_a_database_in_an_odd_folder_is_found_there_and_nothing_is_made_beside_it(tmp_path, empty_store):
    folder = tmp_path / "odd [a]%20?b#c"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlruns.db")
    uri = database_uri(folder / "mlruns.db")
    with opening(uri):
        made = MlflowClient(uri).create_experiment("mine", artifact_location=(folder / "mlartifacts").as_uri())
    assert MlflowClient(uri).get_experiment(made).name == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert {path.name for path in folder.iterdir()} <= {"mlruns.db", "mlruns.db.lock"}


def test_a_relative_file_is_seen_from_the_project_and_all_else_is_as_it_was(tmp_path):
    assert seen_from(tmp_path, "sqlite:///mine/runs.db") == database_uri(tmp_path / "mine" / "runs.db")
    assert seen_from(tmp_path, "mlruns") == str(tmp_path / "mlruns")
    for uri in (
        "sqlite:////tmp/runs.db",
        "sqlite://",
        "http://host:5000",
        "postgresql://host/runs",
        "databricks",
        "file:///a",
    ):
        assert seen_from(tmp_path, uri) == uri


@pytest.mark.parametrize("uri", ["http://host", "databricks", "databricks-uc", "databricks://profile"])
def test_a_server_decides_where_artifacts_go(uri):
    assert is_served(uri)


@pytest.mark.parametrize("uri", ["sqlite:///runs.db", "mysql://host/runs", "/runs", "mlruns", "file:///runs"])
def test_without_a_server_artifacts_stay_with_the_project(uri):
    assert not is_served(uri)


def test_the_folder_of_a_database_is_made(tmp_path):
    with opening(database_uri(tmp_path / "new" / "mlruns.db")):
        pass
    assert (tmp_path / "new" / "mlruns.db").exists()


def test_a_database_of_another_version_is_told_with_the_command_that_mends_it(tmp_path, empty_store):
    file = shutil.copy(empty_store, tmp_path / "mlruns.db")
    with sqlite3.connect(file) as database:
        ((now,),) = database.execute("select version_num from alembic_version")
        database.execute("update alembic_version set version_num = '1b5f0d9ad7c1'")
    uri = database_uri(Path(file))
    assert refusal(uri) == (
        f"Runs cannot be tracked at {uri}: its tables are of version 1b5f0d9ad7c1, those of the installed MLflow of "
        f"version {now}. Copy it to a safe place and run `mlflow db upgrade {uri}`, or, if it is of a newer MLflow, "
        f"install that one{ELSEWHERE}"
    )


def test_what_is_no_database_is_told_with_the_command_that_moves_it_away(tmp_path):
    file = tmp_path / "my runs.db"
    file.write_text("No database. " * 100)
    uri = f"sqlite:///{file}"
    assert refusal(uri) == (
        f"Runs cannot be tracked at {uri}: (sqlite3.DatabaseError) file is not a database. Let it be read and "
        f"written, or move it away with `mv '{file}' '{file}.old'`{ELSEWHERE}"
    )


@pytest.mark.parametrize("form", ["{folder}", "file://{folder}"])
def test_a_folder_is_told_with_the_database_to_name_and_the_command_that_moves_its_runs(tmp_path, form):
    uri = form.format(folder=tmp_path)
    said = (
        f"Runs cannot be tracked at {uri}: this is a folder, and MLflow keeps runs in databases. Name one, such as "
        f"`export MLFLOW_TRACKING_URI=sqlite:///{tmp_path}/mlruns.db`, or `unset MLFLOW_TRACKING_URI`: then it is "
        "mlruns.db of the project's folder."
    )
    moved = f"`mlflow migrate-filestore --source {tmp_path} --target sqlite:///{tmp_path}/mlruns.db`."
    assert refusal(uri) == f"{said} Runs that it has go there with {moved}"
    assert refusal(f"{uri}/gone").count("mlflow migrate-filestore") == 0


def test_a_server_that_is_down_is_told_without_its_password():
    assert refusal("http://me:secret@127.0.0.1:5000", MlflowException(REFUSED)) == (
        "Runs cannot be tracked at http://me:***@127.0.0.1:5000: [Errno 111] Connection refused. Start the server of "
        f"that address{ELSEWHERE}"
    )


def test_a_server_is_asked_twice_at_the_start_and_as_the_user_said_in_the_run():
    with opening("http://host"):
        assert os.environ[RETRIES] == "1"
    assert os.environ[RETRIES] == "9"


def test_a_run_waits_for_a_server_no_longer_than_a_minute_or_two(monkeypatch):
    monkeypatch.delenv(RETRIES)
    with opening("http://host"):
        pass
    assert os.environ[RETRIES] == OF_A_RUN[RETRIES]


def test_a_driver_that_is_not_installed_is_told():
    text = refusal("mssql+nothing://host/runs")
    assert text.startswith("Runs cannot be tracked at mssql+nothing://host/runs: Can't load plugin")
    assert ". Start that database, or install its driver; or track them elsewhere" in text


def test_a_fault_of_the_run_itself_is_not_that_of_a_store():
    with pytest.raises(ZeroDivisionError), opening("http://host"):
        raise ZeroDivisionError


def test_the_reason_is_that_of_the_system_where_it_gave_one():
    assert reason_of(MlflowException(REFUSED)) == "[Errno 111] Connection refused"
    assert reason_of(OSError(2, "No such file", "/a")) == "[Errno 2] No such file"
    assert reason_of(MlflowException("Not so.\nNor so.")) == "Not so"


def test_a_refusal_is_not_the_silence_of_a_server():
    assert is_unreachable(MlflowException(REFUSED))
    assert not is_unreachable(MlflowException("Model registry functionality is unavailable"))


WAITING = """
import sys
from pathlib import Path
from bort_kedro.session.tracking_store import database_uri, opening
print("asks", flush=True)
with opening(database_uri(Path(sys.argv[1]))):
    print("opens", flush=True)
"""


@pytest.mark.slow
def test_a_second_run_waits_while_the_first_makes_the_database(tmp_path):
    file = tmp_path / "mlruns.db"
    with FileLock(f"{file}.lock"):
        second = subprocess.Popen([sys.executable, "-c", WAITING, str(file)], stdout=subprocess.PIPE, text=True)
        assert second.stdout.readline() == "asks\n"
        time.sleep(0.5)
        assert second.poll() is None
    assert second.communicate(timeout=300)[0] == "opens\n"
    assert second.returncode == 0

"""``mlflow models serve`` answers texts with labels, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.error
import urllib.request

import mlflow
import pytest

from bort_kedro.session.model_logging import ModelLogging, ServedTask
from servers import serving
from toy_tasks import MAX_TOKENS, task_of
from toy_training import train_classifier

# The server is on this machine; nothing else is asked.
pytestmark = [pytest.mark.session, pytest.mark.enable_socket]


@pytest.fixture(scope="module")
def tracking_uri(tiny_tokenizer, empty_store, tmp_path_factory):
    """A store in which a classifier that knows two kinds of words is registered."""
    folder = tmp_path_factory.mktemp("served")
    before, uri = mlflow.get_tracking_uri(), f"sqlite:///{shutil.copy(empty_store, folder)}"
    mlflow.set_tracking_uri(uri)
    mlflow.create_experiment("served", artifact_location=f"{folder}/artifacts")
    mlflow.set_experiment("served")
    with mlflow.start_run():
        ModelLogging("run").log(train_classifier(tiny_tokenizer), ServedTask(task_of(), False, MAX_TOKENS))
    mlflow.set_tracking_uri(before)
    return uri


def post(address, texts):
    body = json.dumps({"dataframe_records": [{"text": text} for text in texts]}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
        return json.load(reply)


@pytest.fixture(scope="module")
def server(tracking_uri, tmp_path_factory):
    """Address of a server in a process of its own."""
    folder = tmp_path_factory.mktemp("server")
    words = ["models", "serve", "-m", "models:/bort_kedro-toy/1", "--env-manager", "local", "--workers", "1"]
    variables = {
        "MLFLOW_TRACKING_URI": tracking_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
    }
    command = [sys.executable, "-m", "mlflow", *words, "--host", "127.0.0.1", "--port", "{port}"]
    with serving(command, folder, os.environ | variables, folder / "log", "ping") as address:
        yield address


def test_texts_that_are_posted_come_back_with_their_labels(server):
    answers = post(f"{server}/invocations", ["the mean of array values", "the mean of table values"])["predictions"]
    assert [answer["label"] for answer in answers] == ["array", "row"]
    assert all(answer["score"] > 0.9 for answer in answers)


def test_a_request_without_texts_is_refused_and_names_what_is_missing(server):
    request = urllib.request.Request(  # noqa: S310
        f"{server}/invocations", b'{"dataframe_records": [{"words": "a"}]}', {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)  # noqa: S310
    assert caught.value.code == 400
    assert "missing inputs ['text']" in caught.value.read().decode()

"""Kedro commands, each in a process of its own, without its fifteen seconds of imports.

A server that has imported what the commands import is forked for each of them; what a fork then does is what
``python -m kedro`` does. Run as a script this is the server, else its client.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

# Nothing of Kedro, whose import reads the logging configuration of a project, nor what starts a thread: ONNX Runtime.
IMPORTED = (
    "accelerate",
    "IPython",
    "matplotlib.pyplot",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.transformers",
    "onnx",
    "plotly.express",
    "pyarrow.parquet",
    "scipy.stats",
    "sklearn.linear_model",
    "sklearn.metrics",
    "tokenizers",
    "torch._dynamo",
    "transformers.models.bert.modeling_bert",
    "transformers.models.auto.modeling_auto",
    "transformers.pipelines",
)
# Read when these are imported; the project sets them so in a command.
QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OMP_NUM_THREADS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


class Command:
    """A process that the server has forked, in the words of `subprocess.Popen`."""

    def __init__(self, words: list[str], folder: Path, environment: dict[str, str], output: Path) -> None:
        self.returncode: int | None = None
        self._output = output
        self._server = _server()
        request = {"words": words, "folder": str(folder), "environment": environment, "output": str(output)}
        self.pid = _answer(self._server, request)

    def poll(self) -> int | None:
        """Exit status, None while it runs, less than 0 for the signal that ended it."""
        if self.returncode is None:
            self.returncode = _answer(self._server, {"ended": self.pid})
        return self.returncode

    def send_signal(self, number: int) -> None:
        """As `Popen.send_signal`: an ended process gets none."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[str, None]:
        """All that it printed, once it has ended; killed and raised as `TimeoutExpired` when it does not."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.send_signal(signal.SIGKILL)
                raise subprocess.TimeoutExpired("kedro", timeout, self.read())
            time.sleep(0.01)
        return self.read(), None

    def read(self) -> str:
        """What it has printed so far."""
        return self._output.read_text("utf-8")


@cache
def _server() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__],
        env={name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "KEDRO_"))} | QUIET,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the tests, whose end is the server's
    )


def _answer(server: subprocess.Popen[str], request: dict[str, Any]) -> Any:
    assert server.stdin
    assert server.stdout
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())


def _serve() -> list[str] | None:
    """Answer one request a line; in a fork, return its words, and None at the end of the input."""
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        if "ended" in request:
            pid, status = os.waitpid(request["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                return _become(request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return None


def _become(request: dict[str, Any]) -> list[str]:
    """Take the folder, environment, output and path of a command that was just typed."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    sys.path[0] = request["folder"]
    return request["words"]


if __name__ == "__main__":
    if (typed := _serve()) is not None:
        sys.argv = ["kedro", *typed]
        runpy.run_module("kedro", run_name="__main__", alter_sys=True)

"""A copy of the project in a folder of its own, driven by the commands a user types."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bort_kedro.session.tracking_store import database_uri
from commands import Command

PROJECT = Path(__file__).resolve().parent.parent
# A command that takes longer than this has hung.
SECONDS = 1500


class ProjectCopy:
    """Configuration is copied and the package linked; data and tracking are the copy's own.

    Args:
        root: Its folder; `new` and `copied` fill one.
        store: An empty MLflow store, which takes seconds to make.
    """

    def __init__(self, root: Path, store: Path) -> None:
        self.root = root
        # Where its commands are typed.
        self.typed_in = root
        self.store = store
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "KEDRO_"))
        } | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}

    @classmethod
    def new(cls, root: Path, store: Path) -> ProjectCopy:
        """A project in which nothing has run."""
        shutil.copytree(PROJECT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
        (root / "conf" / "local").mkdir()
        shutil.copy(PROJECT / "pyproject.toml", root)
        shutil.copy(PROJECT / ".telemetry", root)
        shutil.copy(store, root / "mlruns.db")
        for name in ("src", "data"):
            (root / name).mkdir()
        (root / "src" / "bort_kedro").symlink_to(PROJECT / "src" / "bort_kedro")
        return cls(root, store)

    def copied(self, root: Path, *folders: str) -> ProjectCopy:
        """Another one with the same data, or with these folders of it, and nothing tracked."""
        other = ProjectCopy.new(root, self.store)
        for folder in folders or [path.name for path in (self.root / "data").iterdir()]:
            shutil.copytree(self.root / "data" / folder, other.root / "data" / folder)
        return other

    def start(self, *words: str) -> Command:
        """Begin ``kedro run --env smoke`` with more words."""
        return self._start("run", "--env", "smoke", *words)

    def _start(self, *words: str) -> Command:
        output = self.root / f"output-{time.monotonic_ns()}.txt"
        return Command(list(words), self.typed_in, self.environment, output)

    def run(self, *words: str) -> tuple[int, str]:
        """Exit status of ``kedro run --env smoke`` with more words, and all that was printed."""
        return self.command("run", "--env", "smoke", *words)

    def command(self, *words: str) -> tuple[int, str]:
        """Exit status of ``kedro`` with these words, and all that was printed."""
        process = self._start(*words)
        output, _ = process.communicate(timeout=SECONDS)
        return process.returncode, output

    def start_typed(self, *words: str) -> subprocess.Popen[str]:
        """Begin the same as a user does, imports and all: for what may depend on how a process came to be."""
        return subprocess.Popen(
            [sys.executable, "-m", "kedro", "run", "--env", "smoke", *words],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run_typed(self, *words: str) -> tuple[int, str]:
        """Exit status and all that was printed."""
        with self.start_typed(*words) as process:
            output, _ = process.communicate(timeout=SECONDS)
        return process.returncode, output

    def wait(self, process: Command | subprocess.Popen[str], condition: Callable[[], object], what: str) -> None:
        """Return once a condition holds while the command runs."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert process.poll() is None, f"ended before {what}: {process.communicate(timeout=SECONDS)[0]}"
            assert time.monotonic() < deadline, f"no {what} after {SECONDS} s"
            time.sleep(0.005)

    def interrupt(self, process: Command, number: signal.Signals, when: str) -> int:
        """Send a signal once a file that matches the pattern below ``data`` exists; the exit status."""
        self.wait(process, lambda: any((self.root / "data").glob(when)), when)
        process.send_signal(number)
        process.communicate(timeout=SECONDS)
        return process.returncode

    def latest(self, path: str) -> Path:
        """Newest version of a versioned file or folder below ``data``."""
        target = self.root / "data" / path
        return max(target.glob(f"*/{target.name}"))

    def read(self, path: str) -> Any:
        """Newest version of a JSON file below ``data``."""
        return json.loads(self.latest(path).read_text())

    @property
    def tracking_uri(self) -> str:
        """Of the database in its folder."""
        return database_uri(self.root / "mlruns.db")

    def tracked_runs(self) -> list[Any]:
        """MLflow's runs, newest first."""
        from mlflow import MlflowClient

        client = MlflowClient(self.tracking_uri)
        experiment = client.get_experiment_by_name("bort_kedro")
        return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"]))

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

PROJECT = Path(__file__).resolve().parent.parent
# A command that takes longer than this has hung.
SECONDS = 280


class ProjectCopy:
    """Configuration and sources are copied, data and tracking start empty."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(PROJECT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
        (root / "conf" / "local").mkdir()
        shutil.copy(PROJECT / "pyproject.toml", root)
        shutil.copy(PROJECT / ".telemetry", root)
        shutil.copytree(PROJECT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        (root / "data").mkdir()
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "KEDRO_"))
        } | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin ``kedro run --env smoke`` with more words."""
        return subprocess.Popen(
            [sys.executable, "-m", "kedro", "run", "--env", "smoke", *words],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str]:
        """Exit status and all that was printed."""
        with self.start(*words) as process:
            output, _ = process.communicate(timeout=SECONDS)
        return process.returncode, output

    def wait(self, process: subprocess.Popen[str], condition: Callable[[], object], what: str) -> None:
        """Return once a condition holds while the command runs."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert process.poll() is None, f"ended before {what}: {process.stdout.read()}"
            assert time.monotonic() < deadline, f"no {what} after {SECONDS} s"
            time.sleep(0.005)

    def interrupt(self, process: subprocess.Popen[str], number: signal.Signals, when: str) -> int:
        """Send a signal once a file that matches the pattern below ``data`` exists; the exit status."""
        self.wait(process, lambda: any((self.root / "data").glob(when)), when)
        process.send_signal(number)
        process.communicate(timeout=SECONDS)
        return process.returncode

    def with_corpus_alone(self, root: Path) -> ProjectCopy:
        """Another copy that has the corpus of this one and nothing that came after it."""
        other = ProjectCopy(root)
        for folder in ("02_intermediate", "03_primary", "05_model_input"):
            shutil.copytree(self.root / "data" / folder, other.root / "data" / folder)
        return other

    def latest(self, path: str) -> Path:
        """Newest version of a versioned file or folder below ``data``."""
        target = self.root / "data" / path
        return max(target.glob(f"*/{target.name}"))

    def read(self, path: str) -> Any:
        """Newest version of a JSON file below ``data``."""
        return json.loads(self.latest(path).read_text())

    def tracked_runs(self) -> list[Any]:
        """MLflow's runs, newest first."""
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.root}/mlruns.db")
        experiment = client.get_experiment_by_name("bort_kedro")
        return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"]))

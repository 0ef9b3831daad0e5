"""Two fresh clones of the repository come to the same, byte for byte where no time is in it."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import PROJECT

pytestmark = pytest.mark.nightly

# Fields that a clock or the system's memory goes into, and the files that show some of them.
TIMED = re.compile(
    r"seconds|_ms|ms_per|speedup|residual|throughput|tokens_per_second|utilization|device_hours|memory"
    r"|latency_calibration.*rank_correlation"
)
SHOWING = ("README.md", "report.md", "report.html", "speed_plot.svg", "speed_plot.json", "latency_plot.json")
SHOWING += ("pareto_plot.json", "run_manifest.json")


@pytest.fixture(scope="module")
def clones(tmp_path_factory):
    """Two clones of the commit, in each of which the smoke environment has run."""
    folders = [tmp_path_factory.mktemp(name) / name for name in ("one", "other")]
    runs = []
    for folder in folders:
        subprocess.run(["git", "clone", "--quiet", PROJECT, folder], check=True)
        environment = os.environ | {"PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "kedro", "run", "--env", "smoke"]
        with (folder / "output.txt").open("w") as output:
            runs.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output))
    for folder, run in zip(folders, runs, strict=True):
        assert run.wait() == 0, (folder / "output.txt").read_text()
    return folders


def results(clone):
    """Files below ``data`` by their names, of which versions are no part; states of trainings and sums have seconds."""
    files = [path for path in (clone / "data").rglob("*") if path.is_file() and path.name != "SHA256SUMS"]
    named = {"/".join(part for part in path.parts if not is_version(part)).split("/data/")[-1]: path for path in files}
    return {name: path for name, path in sorted(named.items()) if "training_states" not in name}


def is_version(name):
    return name.startswith("20") and name.endswith("Z")


def fields(value, name=""):
    """Each value of a JSON file or of the rows of a table, with its name."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if parts is None:
        yield name, value
        return
    for key, below in parts:
        yield from fields(below, f"{name}.{key}")


def contents(path):
    text = path.read_text("utf-8")
    return dict(fields(json.loads(text) if path.suffix == ".json" else list(csv.DictReader(text.splitlines()))))


def differences(one, other):
    """Files, or fields of them, that differ though no time is in them."""
    found = sorted(one.keys() ^ other.keys())
    for name, path in one.items():
        if name not in other or path.name in SHOWING or path.read_bytes() == other[name].read_bytes():
            continue
        if path.suffix not in (".csv", ".json"):
            found.append(name)
            continue
        before, after = contents(path), contents(other[name])
        unlike = [field for field in before.keys() | after.keys() if before.get(field) != after.get(field)]
        named = [f"{path.name}: {field}" for field in sorted(unlike)]
        found += [each for each in named if not TIMED.search(each)]
    return found


def test_two_clones_have_equal_tables_scores_and_weights(clones):
    one, other = map(results, clones)
    assert sum(name.endswith("model.safetensors") for name in one) >= 8
    assert {Path(name).name for name in one} >= {"candidate_table.csv", "pretraining_metrics.json", "task_scores.csv"}
    assert differences(one, other) == []

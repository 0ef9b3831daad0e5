"""A project whose runs are made by hand: a dataset is there when its file is, and a run when its manifest is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import bort_kedro.settings
from bort_kedro.session import asked as asking
from project_copy import PROJECT

MANIFESTS = "data/08_reporting/run_manifest.json"
DOCUMENTS = "data/02_intermediate/corpus_documents.parquet"
TOKENS = "data/05_model_input/tokens"
STUDENT = "data/06_models/student_encoder"
EXAMPLES = "data/05_model_input/tasks/library.parquet"


def day(number: int) -> str:
    """The version of a run that began on this day."""
    return f"2026-01-1{number}T00.00.00.000Z"


def empty_project(root: Path, monkeypatch) -> Path:
    """The base configuration alone, as the folder of this process."""
    monkeypatch.chdir(root)
    args = bort_kedro.settings.CONFIG_LOADER_ARGS
    monkeypatch.setattr(asking, "settings", SimpleNamespace(CONF_SOURCE="conf", CONFIG_LOADER_ARGS=args))
    monkeypatch.setattr(asking, "pipelines", {})
    shutil.copytree(PROJECT / "conf" / "base", root / "conf" / "base")
    (root / "conf" / "local").mkdir()
    return root


def saved(root: Path, filepath: str, version: str, text: str = "") -> None:
    """Write a version of a dataset of one file."""
    path = root / filepath / version / filepath.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    path.write_text(text, "utf-8")


def ended(root: Path, version: str, *, read=(), wrote=(), **more) -> None:
    """Write the manifest of a run."""
    datasets = {"datasets_read": dict(read), "datasets_written": dict.fromkeys(wrote, version)}
    told = {"run_id": version, "pipelines": ["__default__"], "environment": None, **datasets}
    saved(root, MANIFESTS, version, json.dumps(told | more))

"""Notebooks, run whole in a copy of the project."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from project_copy import PROJECT, ProjectCopy


def executed(project: ProjectCopy, name: str, asked: str) -> dict[str, Any]:
    """Run all cells of a notebook on what a project has.

    Args:
        project: Its results are read, and nothing of them is changed.
        name: Of a file in ``notebooks``, without its suffix.
        asked: An expression of what the cells have found, as JSON knows it.

    Returns:
        What the expression is, and under ``shown`` by cell the kinds of its outputs.
    """
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    path = project.root / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    notebook = json.loads((PROJECT / "notebooks" / path.name).read_text("utf-8"))
    last = f"import json\n\nprint(json.dumps({asked}, default=float))"
    notebook["cells"].append(notebook["cells"][1] | {"id": "asked", "source": last})
    path.write_text(json.dumps(notebook), "utf-8")
    command = [Path(sys.executable).with_name("jupyter-execute"), "--inplace", "--startup_timeout=900", path]
    # Else Kedro's own logging, which shows each table twice; `make notebook` says the same.
    logging = {"KEDRO_LOGGING_CONFIG": str(project.root / "conf" / "logging.yml")}
    environment = project.environment | logging | {"KEDRO_ENV": "smoke", "PYTHONPATH": str(PROJECT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cells = json.loads(path.read_text("utf-8"))["cells"]
    shown = {
        cell["id"]: [kind for output in cell.get("outputs", []) for kind in output.get("data", {})] for cell in cells
    }
    return json.loads("".join(cells[-1]["outputs"][0]["text"])) | {"shown": shown}

"""The image's recipe: what it names is there, and what can be tried of it without Docker works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
# Lines of the recipe by instruction, those that go on put together.
LINES = re.sub(r"\\\n\s*", "", (PROJECT / "Dockerfile").read_text("utf-8")).splitlines()
INSTRUCTIONS = [tuple(line.split(" ", 1)) for line in LINES if line and not line.startswith("#")]
IGNORED = (PROJECT / ".dockerignore").read_text("utf-8").splitlines()
COPIED = [words.split() for name, words in INSTRUCTIONS if name == "COPY" and not words.startswith("--from")]
RUN = [words for name, words in INSTRUCTIONS if name == "RUN"]


def said(instruction):
    return [words for name, words in INSTRUCTIONS if name == instruction]


def test_what_is_copied_is_there_and_all_that_is_sent_is_copied():
    sources = {source for *sources, _ in COPIED for source in sources}
    assert [source for source in sources if not (PROJECT / source).exists()] == []
    assert {line[1:] for line in IGNORED if line.startswith("!")} == sources
    assert {"*", "conf/local", "**/__pycache__"} <= set(IGNORED)


def test_versions_are_fixed():
    bases = {words.split()[0] for words in said("FROM")}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", bases.pop())
    pinned = (PROJECT / "constraints.txt").read_text("utf-8").splitlines()
    assert [line + "+cpu" for line in pinned if line.startswith("torch==")] == re.findall(r"torch==\S+", " ".join(RUN))
    assert all("--constraint" in words for words in RUN if words.startswith("pip install"))


def test_a_user_without_rights_starts_the_command_of_the_wheel_in_a_folder_of_its_own():
    names = [name for name, _ in INSTRUCTIONS]
    assert said("USER") == ["bort"]
    assert "USER" not in names[names.index("USER") + 1 :]
    assert names[names.index("USER") :] == ["USER", "WORKDIR", "RUN", "ENTRYPOINT"]
    assert f"--owner bort {said('WORKDIR')[-1]}" in RUN[-2]
    (command,) = json.loads(said("ENTRYPOINT")[0])
    assert command in tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]


@pytest.mark.skipif(not version("torch").endswith("+cpu"), reason="this is not PyTorch's build for the CPU")
@pytest.mark.nightly
def test_its_commands_of_pip_build_the_wheel_and_find_every_version(tmp_path):
    """In a plain shell, with nothing downloaded or installed: what is needed must be here in the versions asked for."""
    for *sources, target in COPIED:
        for source in sources:
            if (PROJECT / source).is_dir():
                kept = shutil.ignore_patterns("__pycache__", "*.egg-info", "local")
                shutil.copytree(PROJECT / source, tmp_path / target, ignore=kept)
            else:
                shutil.copy(PROJECT / source, tmp_path / Path(target).name)
    tools = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHONPATH"))}
    for command in (words for words in RUN if words.startswith("pip")):
        done = subprocess.run(
            ["sh", "-e", "-c", command.replace("/wheels", "wheels").replace("/constraints", "constraints")],
            cwd=tmp_path,
            env=kept | tools | {"PIP_NO_INDEX": "1", "PIP_DRY_RUN": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=1500,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("wheels/bort_kedro-*.whl"))) == 1
    assert "Would install bort_kedro" in done.stdout.replace("bort-kedro", "bort_kedro")

"""A wheel runs the whole project from an empty folder, without the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from bort_kedro import __version__

PROJECT = Path(__file__).parent.parent
BUILT_FROM = ("LICENSE", "README.md", "conf", "pyproject.toml", "setup.py", "src")
# Of a command; a run takes a minute on a machine that does nothing else.
SECONDS = 1500
# What a run leaves beside its data: MLflow's database, with the lock of who opens it, and artifacts.
LEFT = {"data", "mlartifacts", "mlruns.db", "mlruns.db.lock"}


def configuration(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def wheel(shared):
    """Built from a copy, in whose `conf/local` somebody states a thing of their own."""

    def build(folder):
        for name in BUILT_FROM:
            if (PROJECT / name).is_dir():
                kept = shutil.ignore_patterns("__pycache__", "*.egg-info", "local")
                shutil.copytree(PROJECT / name, folder / name, ignore=kept)
            else:
                shutil.copy(PROJECT / name, folder)
        (folder / "conf" / "local").mkdir()
        (folder / "conf" / "local" / "credentials.yml").write_text("hub: {token: mine}", "utf-8")
        words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", folder]
        subprocess.run(words, check=True, capture_output=True, timeout=SECONDS)

    (built,) = (shared("wheel", build) / "dist").glob("*.whl")
    return built


@pytest.mark.slow
def test_a_wheel_has_the_configuration_along_but_what_is_stated_locally(wheel):
    assert wheel.name == f"bort_kedro-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())
        assert files.read("bort_kedro/conf/base/catalog.yml") == (PROJECT / "conf/base/catalog.yml").read_bytes()
    tracked = {name for name in configuration(PROJECT / "conf") if not name.startswith("local/")}
    packaged = {name.removeprefix("bort_kedro/conf/") for name in names if name.startswith("bort_kedro/conf/")}
    assert packaged == tracked | {"local/.gitkeep"}
    assert {"bort_kedro/py.typed", "bort_kedro/reporting/templates/page.html.jinja"} <= names


class Installation:
    """The wheel alone in an environment of its own, which sees the packages that are installed here.

    Args:
        root: Of the environment, of a home and of the folder that commands are typed in, which is empty at first.
    """

    def __init__(self, root: Path, wheel: Path) -> None:
        self.folder, self.home, environment = root / "empty", root / "home", root / ".venv"
        self.folder.mkdir()
        self.home.mkdir()
        left_out = ("MLFLOW_", "KEDRO_", "XDG_", "PYTHONPATH", "DO_NOT_TRACK", "COLUMNS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        self.variables = kept | {"HOME": str(self.home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        venv.create(environment, with_pip=False)
        self.bin = environment / "bin"
        words = [sys.executable, "-m", "pip", "--python", self.bin / "python", "install", "--no-deps", "--no-index"]
        subprocess.run([*words, wheel], env=self.variables, check=True, capture_output=True, timeout=SECONDS)
        # Of a folder that is named so no .pth file counts, so the editable installation is not there.
        (packages,) = environment.glob("lib/python*/site-packages")
        (packages / "present.pth").write_text(sysconfig.get_paths()["purelib"], "utf-8")

    def run(self, *words: str, name: str = "bort-kedro") -> str:
        """What a command prints; it must succeed."""
        done = subprocess.run(
            [self.bin / name, *words],
            cwd=self.folder,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def installation(wheel, tmp_path_factory):
    return Installation(tmp_path_factory.mktemp("installed"), wheel)


@pytest.fixture(scope="module")
def smoke_run(installation):
    """What the smallest run of all stages prints in the empty folder."""
    assert list(installation.folder.iterdir()) == []
    return installation.run("--env", "smoke")


@pytest.mark.nightly
def test_the_package_that_runs_is_the_one_that_was_installed(installation):
    where = installation.run("-c", "import bort_kedro; print(bort_kedro.__file__)", name="python").strip()
    assert Path(where).is_relative_to(installation.bin.parent)


@pytest.mark.nightly
def test_it_runs_all_stages_in_an_empty_folder_and_leaves_its_results_there(installation, smoke_run):
    data = installation.folder / "data"
    assert {path.name for path in installation.folder.iterdir()} == LEFT
    (report,) = data.glob("08_reporting/report.html/*/report.html")
    assert "library" in report.read_text("utf-8")
    assert f" data/{report.relative_to(data)}\n" in smoke_run
    (export,) = data.glob("06_models/exports/library/*/library")
    assert (export / "onnx" / "model.onnx").is_file()


@pytest.mark.nightly
def test_its_logging_is_the_projects_and_nothing_is_sent_or_kept_at_home(installation, smoke_run):
    lines = [line for line in smoke_run.splitlines() if re.match(r"\d\d:\d\d:\d\d (INFO|WARNING) ", line)]
    assert len(lines) > 20
    for noise in ("rich_logging.yml", "usage data", "No Kedro project"):
        assert noise not in smoke_run
    assert [path.name for path in installation.home.rglob("telemetry.toml")] == []

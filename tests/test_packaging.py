"""What is imported is declared, what is declared is imported, and all of it was tested in the pinned version."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from bort_kedro.cli import cli

PROJECT = Path(__file__).parent.parent
DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = DECLARED["optional-dependencies"]
# Declared and not imported: what they are for.
NOT_IMPORTED = {
    "kedro-viz": "adds the command `kedro viz`",
    "onnx": "torch.onnx and onnxruntime.quantization import it",
}
# Private parts of other packages that are reached into.
PRIVATE = {
    "accelerate": "AcceleratorState._reset_state",
    "joblib": "joblib._dask",
    "kedro": (
        "_get_load_path, _get_versions, _describe, save.__wrapped__; of OmegaConfigLoader _resolve_from_raw_config, "
        "_initialise_filesystem_and_protocol, _get_conf_env_path, _is_hidden, _fs, _protocol"
    ),
    "kedro-datasets": "kedro_datasets._typing, _fs and _protocol of its classes",
    "kedro-mlflow": "MlflowHook._log_param, _is_mlflow_enabled, _already_active_mlflow",
    "transformers": "config._attn_implementation",
}


def requirements(*groups):
    """Of lists in pyproject.toml, by the names of the distributions."""
    return {canonicalize_name(each.name): each for group in groups for each in map(Requirement, group)}


packages = cache(packages_distributions)


def owner(module):
    """The distribution of a module, by its name where several share it, or where it is not installed."""
    top = module.partition(".")[0]
    owners = {canonicalize_name(name) for name in packages().get(top, [top])}
    return top if top in owners else min(owners)


def modules(folder):
    """Dotted names of the modules of other packages that the files of a folder import, each with one file."""
    own = {path.stem for path in PROJECT.glob("tests/*.py")} | {"benchmarks", "bort_kedro", "reference", "viz_site"}
    found = {}
    for path in sorted((PROJECT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            found |= {name: path for name in names if name.partition(".")[0] not in own | sys.stdlib_module_names}
    return found


def imported(folder):
    return {owner(name) for name in modules(folder)}


def pinned(file="constraints.txt"):
    lines = (PROJECT / file).read_text("utf-8").splitlines()
    return [line.partition("==")[::2] for line in lines if line and not line.startswith("#")]


@pytest.mark.slow
def test_what_the_package_imports_is_declared_and_the_other_way_round():
    declared = requirements(DECLARED["dependencies"], EXTRAS["dask"], EXTRAS["ray"])
    assert imported("src") == declared.keys() - NOT_IMPORTED


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "reference"])
@pytest.mark.slow
def test_what_stands_beside_the_package_imports_what_is_declared(folder):
    assert imported(folder) - requirements(DECLARED["dependencies"], EXTRAS["dev"], EXTRAS["browser"]).keys() == set()


def test_every_requirement_allows_the_version_that_was_tested():
    versions = {canonicalize_name(name): version for name, version in pinned()}
    assert len(versions) == len(pinned())
    for name, requirement in requirements(DECLARED["dependencies"], *EXTRAS.values()).items():
        assert requirement.specifier.contains(versions[name]), f"{requirement}, tested {versions[name]}"


def test_packages_of_cuda_are_pinned_by_themselves():
    cuda = {canonicalize_name(name) for name, _ in pinned("constraints-cuda.txt")}
    assert len(cuda) == len(pinned("constraints-cuda.txt")) == 19
    assert not cuda & {canonicalize_name(name) for name, _ in pinned()}


@pytest.mark.parametrize(
    ("uv", "installer"),
    [
        ("", ".venv/bin/pip install --quiet --quiet --disable-pip-version-check"),
        ("/a/uv", "/a/uv pip install --quiet --python .venv/bin/python --index-strategy unsafe-best-match"),
    ],
    ids=["pip", "uv"],
)
def test_what_make_is_told_of_torch_goes_to_the_installer_as_it_is(tmp_path, uv, installer):
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "constraints-cuda.txt"):
        shutil.copy(PROJECT / name, tmp_path)
    words = ["make", "--dry-run", "install", f"UV={uv}", "TORCH=torch==2.13.0+cpu --extra-index-url there"]
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    command = f"{installer} --constraint constraints.txt --constraint constraints-cuda.txt"
    assert f"{command} torch==2.13.0+cpu --extra-index-url there\n" in said
    assert f"{command} --editable '.[dev]'\n" in said


def test_private_parts_are_those_of_packages_that_are_held_at_the_tested_version():
    versions = {canonicalize_name(name): Version(version) for name, version in pinned()}
    declared = requirements(DECLARED["dependencies"])
    for name in PRIVATE:
        major, minor = versions[name].release[:2]
        assert not declared[name].specifier.contains(f"{major}.{minor + 1}.0"), declared[name]


def test_no_other_package_has_private_modules_that_are_imported():
    private = [name for name in modules("src") if re.search(r"(^|\.)_[a-z]", name) and name != "__future__"]
    assert {owner(name) for name in private} <= PRIVATE.keys()
    assert {"joblib._dask", "kedro_datasets._typing"} <= set(private)


@pytest.mark.parametrize(
    ("typed", "does"),
    [
        ([], ["run"]),
        (["--env", "smoke"], ["run", "--env", "smoke"]),
        (["run", "--help"], ["run", "--help"]),
        (["plan", "--env", "smoke"], ["plan", "--env", "smoke"]),
        (["--help"], ["--help"]),
    ],
    ids=" ".join,
)
def test_the_command_of_an_installation_runs_the_project_where_it_is_told_nothing_else(monkeypatch, typed, does):
    module, _, function = DECLARED["scripts"]["bort-kedro"].partition(":")
    done = []
    monkeypatch.setattr("kedro.framework.project.configure_project", lambda _: None)
    monkeypatch.setattr(type(cli), "__call__", lambda _, words, **options: done.append((words, options)))
    main = getattr(import_module(module), function)
    main(typed, standalone_mode=False)
    monkeypatch.setattr(sys, "argv", ["bort-kedro", *typed])
    main()
    assert done == [(does, {"standalone_mode": False}), (does, {})]

"""Each place has one version, and what CHANGELOG.md says has moved is gone, and there by its new name."""

from __future__ import annotations

import re
from copy import deepcopy
from functools import reduce
from pathlib import Path

import pytest
import yaml

from bort_kedro import __version__
from bort_kedro.configuration import RENAMED, RENAMED_OF_TASKS, check_parameters, load_parameters
from bort_kedro.errors import ConfigurationError

PROJECT = Path(__file__).parent.parent
PACKAGE = PROJECT / "src" / "bort_kedro"
CHANGELOG = (PROJECT / "CHANGELOG.md").read_text("utf-8")


def table(heading):
    """Rows of the table whose first column begins so: what stands in backticks in each of the two cells."""
    (rows,) = re.findall(rf"(?m)^\| {re.escape(heading)}.*\n\| --- .*\n((?:\|.*\n)+)", CHANGELOG)
    cells = [line.strip("| ").split(" | ") for line in rows.splitlines()]
    return [tuple(re.findall(r"`([^`]+)`", cell) for cell in pair) for pair in cells]


def is_there(module):
    path = PACKAGE.joinpath(*module.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_the_version_is_that_of_the_changelog_and_of_the_citation():
    released = re.findall(r"(?m)^## (\d+\.\d+\.\d+)$", CHANGELOG)
    assert released[0] == __version__
    assert yaml.safe_load((PROJECT / "CITATION.cff").read_text("utf-8"))["version"] == __version__
    assert f"bort_kedro-{__version__}-py3-none-any.whl" in (PROJECT / "docs" / "releasing.md").read_text("utf-8")


@pytest.fixture(scope="module")
def base():
    return load_parameters(PROJECT / "conf")


@pytest.mark.parametrize(("old", "new"), table("parameter of 0.1.0"), ids=lambda cell: cell[0])
def test_an_older_parameter_is_refused_and_the_new_one_is_there(base, old, new):
    path, _, value = old[0].partition(": ")
    *blocks, name = path.split(".")
    stated = deepcopy(base)
    reduce(lambda block, part: block[part], blocks, stated)[name] = yaml.safe_load(value or "1")
    with pytest.raises(ConfigurationError) as caught:
        check_parameters(stated)
    now = new[0].partition(": ")[0].split(".")
    assert now[-1] in str(caught.value)
    assert now[-1] in reduce(lambda block, part: block[part], now[:-1], base)


def test_older_entries_of_the_catalog_are_those_that_are_refused():
    rows = table("catalog entries of 0.1.0")
    refused = {name for names in RENAMED.values() for name in names}
    refused |= {f"<task>.{name}" for names in RENAMED_OF_TASKS.values() for name in names}
    assert {name for old, _ in rows[:-1] for name in old} == refused
    for (first, *_), (before, example) in rows[:-1]:
        assert example == f"{before}{first}"


@pytest.mark.parametrize(("old", "new"), table("module of 0.1.0"), ids=lambda cell: cell[0])
def test_an_older_module_is_gone_and_the_new_one_is_there(old, new):
    assert not is_there(old[0])
    assert is_there(new[0])

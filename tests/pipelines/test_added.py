"""Pipelines that a user adds are registered, run with the others, and have parameters of their own."""

from __future__ import annotations

import importlib
import sys
import textwrap

import pytest

from bort_kedro import pipelines
from bort_kedro.configuration import added_parameters, check_parameters
from bort_kedro.errors import ConfigurationError
from bort_kedro.params import Parameters
from bort_kedro.pipeline_registry import build_pipelines
from bort_kedro.pipelines.added import added_pipelines
from project_parameters import parameters, raw_parameters

READING_ONE = """
    from kedro.pipeline import Node, Pipeline

    def create_pipeline(**kwargs):
        return Pipeline([Node(max, ["student_encoder", "params:sizes.largest"], "made", name="make_node")])
"""
READING_ALL = READING_ONE.replace("params:sizes.largest", "parameters")


@pytest.fixture
def add(tmp_path, monkeypatch):
    """Writes the ``__init__.py`` of a folder beside those of the stages."""
    monkeypatch.setattr(pipelines, "__path__", [*pipelines.__path__, str(tmp_path)])

    def write(name, text):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(textwrap.dedent(text), "utf-8")
        importlib.invalidate_caches()

    yield write
    for folder in tmp_path.iterdir():
        sys.modules.pop(f"{pipelines.__name__}.{folder.name}", None)
        vars(pipelines).pop(folder.name, None)


def checked(**blocks):
    raw = raw_parameters("smoke") | blocks
    return check_parameters(raw, added_parameters(raw))


def refused(**blocks):
    with pytest.raises(ConfigurationError) as caught:
        checked(**blocks)
    return str(caught.value)


def test_the_project_has_stages_alone():
    assert added_pipelines() == {}


def test_a_folder_beside_the_stages_is_a_pipeline_and_part_of_the_default(add):
    before = {node.name for node in build_pipelines(parameters("smoke"))["__default__"].nodes}
    add("foo", READING_ONE)
    registered = build_pipelines(parameters("smoke"))
    assert [node.name for node in registered["foo"].nodes] == ["make_node"]
    assert {node.name for node in registered["__default__"].nodes} == before | {"make_node"}


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "which has no function `create_pipeline`"),
        ("def create_pipeline(**kwargs):\n    return 3", "whose `create_pipeline()` returns 3"),
    ],
)
def test_a_folder_that_makes_no_pipeline_is_refused_by_name(add, tmp_path, text, seen):
    add("foo", text)
    with pytest.raises(ConfigurationError) as caught:
        added_pipelines()
    assert str(caught.value) == (
        f"The folder {tmp_path / 'foo'} is registered as the pipeline `foo`, {seen}. Let its __init__.py have a "
        "`create_pipeline` that returns a kedro.pipeline.Pipeline, or remove the folder."
    )


def test_an_added_pipeline_has_the_block_of_its_name_and_those_that_it_reads(add):
    add("foo", READING_ONE)
    settings = checked(foo={"rate": 0.1}, sizes={"largest": 3})
    assert (settings.foo, settings.sizes) == ({"rate": 0.1}, {"largest": 3})
    assert settings.model_dump(mode="json")["foo"] == {"rate": 0.1}


def test_a_block_that_no_pipeline_reads_is_refused_with_the_likely_one(add):
    add("foo", READING_ONE)
    message = refused(size={"largest": 3}, serach={"budget": 2})
    assert message.startswith("2 parameter(s) cannot be used")
    known = ", ".join([*Parameters.model_fields, "foo", "sizes"])
    for name, value, near in (("size", {"largest": 3}, "sizes"), ("serach", {"budget": 2}, "search")):
        assert (
            f"`{name}` is unknown (value {value!r}). Did you mean `{near}`? Allowed here: {known}. A pipeline of yours "
            f"in src/bort_kedro/pipelines has the block of its name, and what it reads as `params:{name}`."
        ) in message


def test_faults_of_blocks_and_in_blocks_come_together(add):
    message = refused(bar=1, corpus=raw_parameters("smoke")["corpus"] | {"seed": "one"})
    assert message.startswith("2 parameter(s) cannot be used")
    assert "`bar` is unknown (value 1). Allowed here: " in message
    assert "`corpus.seed` (value 'one')" in message


def test_where_all_parameters_are_read_only_a_name_almost_ours_is_refused(add):
    add("foo", READING_ALL)
    assert checked(anything={"x": 1}).anything == {"x": 1}
    assert "Did you mean `search`?" in refused(serach={"budget": 2})

"""What holds of the project as a whole: registry, names, annotations, catalog, start-up."""

from __future__ import annotations

import subprocess
import sys
import typing
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

from bort_kedro.pipeline_registry import STAGES, register_pipelines

PROJECT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def pipelines():
    return register_pipelines()


def test_registry_has_the_five_stages_and_a_default_with_all_their_nodes(pipelines):
    assert set(pipelines) == {"__default__", *STAGES}
    names = {node.name for node in pipelines["__default__"].nodes}
    assert names == {node.name for stage in STAGES for node in pipelines[stage].nodes}


def test_search_brings_its_corpus_along(pipelines):
    assert {node.name for node in pipelines["corpus"].nodes} <= {node.name for node in pipelines["search"].nodes}
    assert pipelines["search"].inputs() - {"raw_corpus", "training_states"} == {
        name for name in pipelines["search"].inputs() if name.startswith("params:")
    }


def test_every_node_is_named_after_its_function(pipelines):
    for node in pipelines["__default__"].nodes:
        assert node.name.endswith("_node"), node.name


def test_every_node_annotation_resolves_at_run_time(pipelines):
    for node in pipelines["__default__"].nodes:
        hints = typing.get_type_hints(getattr(node.func, "func", node.func))
        assert "return" in hints, node.name


def test_every_dataset_has_a_catalog_entry_with_a_layer(pipelines):
    entries: dict = {}
    for file in (PROJECT / "conf" / "base").glob("catalog_*.yml"):
        entries |= yaml.safe_load(file.read_text())
    for name in pipelines["__default__"].datasets():
        if name.startswith("params:"):
            continue
        entry = entries.get(name) or entries["{task}." + name.split(".", 1)[1]]
        assert entry["metadata"]["kedro-viz"]["layer"], name


def test_layers_follow_one_another_without_a_circle(pipelines):
    layer_of = {}
    for file in (PROJECT / "conf" / "base").glob("catalog_*.yml"):
        for name, entry in yaml.safe_load(file.read_text()).items():
            layer_of[name] = entry["metadata"]["kedro-viz"]["layer"]

    def layer(name):
        return layer_of.get(name) or layer_of["{task}." + name.split(".", 1)[1]]

    before: dict[str, set[str]] = {}
    for node in pipelines["__default__"].nodes:
        sources = {layer(name) for name in node.inputs if not name.startswith("params:")}
        for target in map(layer, node.outputs):
            before.setdefault(target, set()).update(sources - {target})
    assert list(TopologicalSorter(before).static_order())[-1] == "reporting"


def test_everything_a_stage_makes_is_versioned():
    for file in (PROJECT / "conf" / "base").glob("catalog_*.yml"):
        for name, entry in yaml.safe_load(file.read_text()).items():
            if name not in {"raw_corpus", "training_states"}:
                assert entry["versioned"] is True, name


HEAVY = {"torch", "transformers", "datasets", "sklearn"}


@pytest.mark.parametrize("words", [["--version"], ["registry", "list"]])
def test_quick_commands_import_nothing_heavy(words):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "kedro", *words],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        check=True,
    )
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "import time:" in line}
    assert "kedro" in imported
    assert imported & HEAVY == set()

"""What holds of the project as a whole: registry, names, annotations, catalog, start-up."""

from __future__ import annotations

import subprocess
import sys
import typing
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from bort_kedro import configuration, pipeline_registry
from bort_kedro.pipeline_registry import STAGES, register_pipelines

PROJECT = Path(__file__).parent.parent
# What a user brings, and what trainings write while they run.
NOT_VERSIONED = {"raw_corpus", "text_stream", "recorded_candidates", "task_files", "training_states", "teacher_cache"}


@pytest.fixture
def pipelines(monkeypatch):
    monkeypatch.setattr(configuration, "_active", [])
    return register_pipelines()


@pytest.fixture
def recorded_search(monkeypatch):
    """The search stage of a session with ``search.error_source=table``."""
    monkeypatch.setattr(configuration, "_active", [])
    monkeypatch.setattr(pipeline_registry, "active_error_source", lambda: "table")
    return register_pipelines()["search"]


@pytest.fixture(params=["all stages", "search of a recorded table"])
def nodes(request, pipelines):
    """Nodes of the default pipeline, and of the search that replays a table."""
    if request.param == "all stages":
        return pipelines["__default__"].nodes
    return request.getfixturevalue("recorded_search").nodes


@cache
def catalog_entries():
    entries = {}
    for file in (PROJECT / "conf" / "base").glob("catalog_*.yml"):
        entries |= yaml.safe_load(file.read_text())
    return entries


def layer_of(name):
    entries = catalog_entries()
    entry = entries.get(name) or entries["{task}." + name.split(".", 1)[1]]
    return entry["metadata"]["kedro-viz"]["layer"]


def datasets_of(node):
    return [name for name in (*node.inputs, *node.outputs) if not name.startswith("params:")]


def test_registry_has_the_five_stages_and_a_default_with_all_their_nodes(pipelines):
    assert set(pipelines) == {"__default__", *STAGES}
    names = {node.name for node in pipelines["__default__"].nodes}
    assert names == {node.name for stage in STAGES for node in pipelines[stage].nodes}


@pytest.mark.parametrize("has_pretrained_teacher", [False, True])
def test_all_stages_together_ask_only_for_what_a_user_brings(monkeypatch, has_pretrained_teacher):
    """A teacher that was opened has no history, and no node may wait for one."""
    monkeypatch.setattr(configuration, "_active", [])
    chosen = {"has_pretrained_teacher": has_pretrained_teacher, "training_data": "tokens"}
    monkeypatch.setattr(pipeline_registry, "active_pretraining", lambda: chosen)
    asked = {name for name in register_pipelines()["__default__"].inputs() if not name.startswith("params:")}
    assert asked <= NOT_VERSIONED


def test_search_brings_its_corpus_along(pipelines):
    assert {node.name for node in pipelines["corpus"].nodes} <= {node.name for node in pipelines["search"].nodes}
    assert pipelines["search"].inputs() - {"raw_corpus", "training_states"} == {
        name for name in pipelines["search"].inputs() if name.startswith("params:")
    }


def test_a_search_of_a_recorded_table_needs_the_table_and_nothing_else(recorded_search):
    assert recorded_search.inputs() == {"recorded_candidates", "params:search"}


def test_both_searches_make_the_same_choice_of_the_same_form(pipelines, recorded_search):
    trained = {name for node in pipelines["search"].nodes for name in node.outputs}
    replayed = {name for node in recorded_search.nodes for name in node.outputs}
    assert replayed - trained == {"recorded_counts", "strategy_comparison", "strategy_plot"}
    assert {"candidate_table", "selected_shape", "search_report", "pareto_plot", "w_plot"} <= replayed & trained


def test_every_node_is_named_after_its_function(nodes):
    for node in nodes:
        function = getattr(node.func, "func", node.func)
        assert node.name.rsplit(".", 1)[-1] == f"{function.__name__}_node"


def test_every_node_annotation_resolves_at_run_time(nodes):
    for node in nodes:
        hints = typing.get_type_hints(getattr(node.func, "func", node.func))
        assert "return" in hints, node.name


def test_no_run_asks_for_a_typed_block_of_parameters_and_for_a_typed_part_of_it(nodes):
    # Kedro builds either first, by chance, and then cannot put the part into the block.
    typed = set()
    for node in nodes:
        function = getattr(node.func, "func", node.func)
        hints = list(typing.get_type_hints(function).values())
        typed |= {
            name
            for name, hint in zip(node.inputs, hints, strict=False)
            if name.startswith("params:") and isinstance(hint, type) and issubclass(hint, BaseModel)
        }
    assert typed
    assert not [(whole, part) for whole in typed for part in typed if part.startswith(f"{whole}.")]


def test_every_dataset_has_a_catalog_entry_with_a_layer(nodes):
    for name in {name for node in nodes for name in datasets_of(node)}:
        assert layer_of(name), name


def test_layers_follow_one_another_without_a_circle(nodes):
    before: dict[str, set[str]] = {}
    for node in nodes:
        sources = {layer_of(name) for name in node.inputs if not name.startswith("params:")}
        for target in map(layer_of, node.outputs):
            before.setdefault(target, set()).update(sources - {target})
    assert list(TopologicalSorter(before).static_order())[-1] == "reporting"


@pytest.mark.parametrize("stage", ["finetune", "evaluate", "__default__"])
def test_a_tasks_namespace_drawn_as_one_node_keeps_the_layers_apart(pipelines, stage):
    """Kedro-Viz draws it so at first, and shows no layers at all where one would come before and after another."""
    edges: dict[str, tuple[set[str], set[str]]] = {}
    for node in pipelines[stage].nodes:
        sources, targets = edges.setdefault(node.namespace or node.name, (set(), set()))
        sources.update(name for name in node.inputs if not name.startswith("params:"))
        targets.update(node.outputs)
    before: dict[str, set[str]] = {}
    for drawn, (sources, targets) in edges.items():
        elsewhere = {name for other, (asked, _) in edges.items() if other != drawn for name in asked}
        # What is made and used inside alone is not drawn.
        for target in map(layer_of, targets - (sources - elsewhere)):
            before.setdefault(target, set()).update(map(layer_of, sources - targets))
            before[target].discard(target)
    # A circle raises CycleError.
    assert set(TopologicalSorter(before).static_order()) == {*before, *set().union(*before.values())}


def test_everything_a_stage_makes_is_versioned():
    for name, entry in catalog_entries().items():
        assert entry.get("versioned", False) is (name not in NOT_VERSIONED), name


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

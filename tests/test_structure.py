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
from kedro.io import CatalogConfigResolver
from kedro.pipeline import Pipeline
from pydantic import BaseModel

from bort_kedro.configuration import RENAMED, RENAMED_OF_TASKS, base_parameters
from bort_kedro.pipeline_registry import build_pipelines, register_pipelines
from bort_kedro.pipelines.added import added_pipelines
from bort_kedro.pipelines.namespaces import (
    BROUGHT,
    PASSED,
    PASSED_OF_TASKS,
    REPORTED,
    REPORTED_OF_TASKS,
    RESULTS,
    STAGES,
    passes,
)

PROJECT = Path(__file__).parent.parent
# What a user brings, and what trainings write while they run.
NOT_VERSIONED = BROUGHT | {"training_states", "pretrain_distill.teacher_cache", *RESULTS.values()}


@pytest.fixture(scope="module")
def parameters():
    return base_parameters()


@pytest.fixture(scope="module")
def further(parameters):
    """With T trained further before it teaches, the tasks as well."""
    teacher = parameters.finetune.teacher.changed(encoder="teacher")
    trained = changed(parameters, "pretrain_distill", teacher=parameters.pretrain_distill.student)
    return changed(trained, "finetune", teacher=teacher)


@pytest.fixture(scope="module")
def pipelines(parameters):
    return build_pipelines(parameters)


@pytest.fixture(scope="module")
def recorded_search(parameters):
    """The search stage of a session with ``search.error_source=table``."""
    return build_pipelines(changed(parameters, "search", error_source="table"))["search"]


@pytest.fixture(scope="module", params=["all stages", "search of a recorded table"])
def nodes(request, pipelines):
    """Nodes of the default pipeline, and of the search that replays a table."""
    if request.param == "all stages":
        return pipelines["__default__"].nodes
    return request.getfixturevalue("recorded_search").nodes


def changed(parameters, stage, **values):
    return parameters.model_copy(update={stage: getattr(parameters, stage).model_copy(update=values)})


@cache
def catalog():
    """The catalog's entries and patterns."""
    return CatalogConfigResolver(yaml.safe_load((PROJECT / "conf" / "base" / "catalog.yml").read_text()))


def entry_of(name):
    """Of the name or of a pattern that fits it; empty of what stays in memory."""
    entry = catalog().resolve_pattern(name)
    return {} if entry["type"] == "kedro.io.MemoryDataset" else entry


def layer_of(name):
    return entry_of(name).get("metadata", {}).get("kedro-viz", {}).get("layer")


def drawn_first(pipeline):
    """Datasets that Kedro-Viz draws beside the boxes of the stages."""
    drawn = set()
    for stage in {node.namespace.partition(".")[0] for node in pipeline.nodes}:
        inside = pipeline.only_nodes_with_namespaces([stage])
        drawn |= inside.inputs() | inside.outputs() | ((pipeline - inside).inputs() & inside.all_outputs())
    return {name for name in drawn if not name.startswith("params:")}


def names_of(pipeline):
    return {node.name for node in pipeline.nodes}


def datasets_of(node):
    return [name for name in (*node.inputs, *node.outputs) if not name.startswith("params:")]


def test_registry_has_the_six_stages_and_a_default_with_all_their_nodes(pipelines):
    assert {name: names_of(pipeline) for name, pipeline in register_pipelines().items()} == {
        name: names_of(pipeline) for name, pipeline in pipelines.items()
    }
    assert set(pipelines) == {"__default__", *STAGES, *added_pipelines()}
    others = [names_of(pipeline) for name, pipeline in pipelines.items() if name != "__default__"]
    assert names_of(pipelines["__default__"]) == set().union(*others)
    assert {name.partition(".")[0] for stage in STAGES for name in names_of(pipelines[stage])} == set(STAGES)


@pytest.mark.parametrize("encoder", [None, "a/hub-id"])
@pytest.mark.parametrize("source", ["teacher", "candidate"])
def test_all_stages_together_ask_only_for_what_a_user_brings(parameters, encoder, source):
    """A maximum point that was opened has no history and is the teacher itself, and no node may wait for more."""
    start = parameters.pretrain_distill.student_start.changed(source=source)
    stage = changed(parameters, "pretrain_distill", student_start=start)
    pipelines = build_pipelines(changed(stage, "search", **({"maximum_point": encoder} if encoder else {})))
    asked = {name for name in pipelines["__default__"].inputs() if not name.startswith("params:")}
    assert asked <= NOT_VERSIONED - set(RESULTS.values())


@pytest.mark.parametrize("encoder", ["teacher", "student"])
@pytest.mark.parametrize("trains", [True, False])
def test_who_teaches_the_tasks_is_an_encoder_that_the_pretraining_makes(further, encoder, trains):
    every = changed(further, "finetune", teacher=further.finetune.teacher.changed(encoder=encoder))
    every = every if trains else changed(every, "pretrain_distill", teacher=None)
    pipelines = build_pipelines(every)
    larger = "teacher_encoder" if trains else "maximum_point_encoder"
    taught = {name for name in pipelines["finetune"].inputs() if name.endswith("_encoder")}
    assert taught == {"student_encoder"} | ({larger} if encoder == "teacher" else set())
    assert ("pretrain_distill.train_teacher_node" in names_of(pipelines["pretrain_distill"])) == trains
    assert larger in pipelines["pretrain_distill"].datasets()


def test_with_a_student_that_is_opened_nothing_is_searched_or_pretrained(parameters):
    teacher = parameters.finetune.teacher.changed(encoder="a/hub-id")
    opened = {"student": "a/hub-id", "teacher": teacher}
    default = build_pipelines(changed(parameters, "finetune", tasks=("mnli", "ax"), **opened))["__default__"]
    assert {node.name.partition(".")[0] for node in default.nodes} == {"tasks", "finetune", "evaluate"}
    asked = {name for name in default.inputs() if not name.startswith("params:")}
    assert asked == {"task_files", "training_states"}
    made = {"finetune.finetuning_student", "evaluate.mnli.metrics", "evaluate.mnli.export", "evaluate.task_scores"}
    assert made <= default.all_outputs()
    ends = ("mnli.model_card", "mnli.export", "report_page", "submission_archives", "submission_report")
    assert default.outputs() - {"finetune_results", "tasks_results"} >= {f"evaluate.{name}" for name in ends}
    built_in = build_pipelines(changed(parameters, "finetune", tasks=("library",), **opened))["__default__"]
    stages = {node.name.partition(".")[0] for node in built_in.nodes}
    assert stages == {"corpus", "tasks", "finetune", "evaluate"}


def test_search_brings_its_corpus_along_and_finetune_the_examples_of_its_tasks(pipelines):
    assert names_of(pipelines["corpus"]) <= names_of(pipelines["search"])
    assert pipelines["search"].inputs() - {"raw_corpus", "training_states"} == {
        name for name in pipelines["search"].inputs() if name.startswith("params:")
    }
    assert names_of(pipelines["tasks"]) <= names_of(pipelines["finetune"])
    asked = {name for name in pipelines["finetune"].inputs() if not name.startswith("params:")}
    assert asked == {"corpus_documents", "student_encoder", "training_states"}


def test_a_search_of_a_recorded_table_needs_the_table_and_nothing_else(recorded_search):
    assert recorded_search.inputs() == {"recorded_candidates", "params:search"}


def test_both_searches_make_the_same_choice_of_the_same_form(pipelines, recorded_search):
    trained = {name for node in pipelines["search"].nodes for name in node.outputs}
    replayed = {name for node in recorded_search.nodes for name in node.outputs}
    assert replayed - trained == {
        f"search.{name}" for name in ("recorded_counts", "strategy_comparison", "strategy_plot")
    }
    told = {f"search.{name}" for name in ("candidate_table", "search_report", "pareto_plot", "w_plot")}
    assert told | {"selected_shape", "search_results"} <= replayed & trained


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


def opened_in_memory(nodes):
    """What is opened of the results of earlier stages, and saved by those."""
    return {name for node in nodes if node.name.startswith("evaluate.open_") for name in node.outputs}


def test_every_dataset_has_a_catalog_entry_and_a_layer_inside_its_stage(nodes):
    opened = opened_in_memory(nodes)
    # Without an entry: one would save it a second time.
    assert [name for name in opened if entry_of(name)] == []
    beside = drawn_first(Pipeline(nodes))
    for name in {name for node in nodes for name in datasets_of(node)} - opened:
        assert entry_of(name), name
        assert (layer_of(name) is None) is (name in beside or name in PASSED), name


def test_a_twin_that_is_left_out_is_neither_trained_nor_asked_for(parameters):
    nodes = build_pipelines(changed(parameters, "pretrain_distill", twin=False))["__default__"].nodes
    assert [node.name for node in nodes if "without_teacher" in node.name] == []
    assert [name for node in nodes for name in datasets_of(node) if "undistilled" in name] == []


def test_what_passes_between_stages_has_a_plain_name_and_all_else_that_of_its_stage(parameters, further):
    used: dict[str, set[str]] = {}
    opened = changed(further, "finetune", student="a/hub-id", teacher=parameters.finetune.teacher)
    for given in (parameters, further, opened, changed(parameters, "pretrain_distill", training_data="stream")):
        for node in build_pipelines(given)["__default__"].nodes:
            for name in datasets_of(node):
                used.setdefault(name, set()).add(node.namespace.partition(".")[0])
    for name, stages in used.items():
        if passes(name):
            assert len(stages) > 1 or name in BROUGHT, name
        else:
            assert stages == {name.partition(".")[0]}, name
    reported = [f"{stage}.{name}" for stage, names in REPORTED.items() for name in names]
    reported += [
        f"{stage}.{task}.{name}"
        for stage, names in REPORTED_OF_TASKS.items()
        for task in parameters.finetune.tasks
        for name in names
    ]
    assert set(reported) <= set(used)
    assert {f"evaluate.{name.partition('.')[2]}" for name in reported} <= set(used)
    found = {name for name in used if passes(name)}
    found |= {"recorded_candidates", "recorded_latencies", "earlier_candidates", "task_files"}
    assert found == PASSED | {f"{task}.{name}" for task in parameters.finetune.tasks for name in PASSED_OF_TASKS}


# Datasets that are younger than the stages' names.
ALWAYS_OF_THEIR_STAGE = {
    *("evaluate.cola.floor_predictions", "evaluate.cola.floors_report"),
    "finetune.cola.points",
    "search.maximum_point_shape",
}


def test_every_name_that_left_its_stage_out_once_is_known(parameters, further):
    names = set()
    for values in ({}, {"teacher": parameters.finetune.teacher.model_copy(update={"encoder": "a/hub-id"})}):
        default = build_pipelines(changed(further, "finetune", tasks=("cola",), **values))["__default__"]
        names |= {name for node in default.nodes for name in datasets_of(node) if not passes(name)}
        names -= opened_in_memory(default.nodes)
    table = build_pipelines(changed(parameters, "search", error_source="table"))["search"]
    names |= {name for node in table.nodes for name in datasets_of(node) if not passes(name)}
    assert names - ALWAYS_OF_THEIR_STAGE == {
        *(f"{stage}.{name}" for stage, old in RENAMED.items() for name in old),
        *(f"{stage}.cola.{name}" for stage, old in RENAMED_OF_TASKS.items() for name in old),
    }


def layers_before(edges):
    """Of each layer those that come before it, also by way of datasets without one; edges are in order."""
    before: dict[str, set[str]] = {}
    reached: dict[str, set[str]] = {}
    for sources, targets in edges:
        layers = set().union(*({layer_of(name)} if layer_of(name) else reached.get(name, set()) for name in sources))
        for target in targets:
            reached[target] = layers
            if layer := layer_of(target):
                before.setdefault(layer, set()).update(layers - {layer})
    return before


def test_layers_follow_one_another_without_a_circle(nodes):
    """Kedro-Viz shows no layers at all where one would come before and after another."""
    edges = [([name for name in node.inputs if not name.startswith("params:")], node.outputs) for node in nodes]
    before = layers_before(edges)
    # A circle raises CycleError.
    assert list(TopologicalSorter(before).static_order())[-1] == "reporting"
    assert set(before) >= {"feature", "reporting"}


@pytest.mark.parametrize("depth", [1, 2])
def test_namespaces_drawn_as_boxes_make_no_circle(pipelines, depth):
    edges: dict[str, tuple[set[str], set[str]]] = {}
    for node in pipelines["__default__"].nodes:
        parts = node.namespace.split(".")
        box = ".".join(parts[:depth]) if len(parts) >= depth else node.name
        sources, targets = edges.setdefault(box, (set(), set()))
        sources.update(node.inputs)
        targets.update(node.outputs)
    before = {box: {other for other in edges if other != box and edges[other][1] & edges[box][0]} for box in edges}
    # A circle raises CycleError.
    order = list(TopologicalSorter(before).static_order())
    if depth == 1:
        assert sorted(order) == sorted(STAGES)
        assert order[0] == "corpus"
        assert order[-3:] == ["pretrain_distill", "finetune", "evaluate"]


def test_the_graph_opens_with_a_box_for_each_stage_and_what_passes_between_them(pipelines):
    """Few enough to be read without zooming, see `docs/decisions/0017-stages-as-boxes.md`."""
    tasks = ("library", "order")
    assert drawn_first(pipelines["__default__"]) == {
        *("raw_corpus", "training_states", "pretrain_distill.teacher_cache"),
        *("corpus_documents", "tokenizer", "tokens", "selected_shape"),
        *("maximum_point_encoder", "selected_encoder", "student_encoder"),
        *RESULTS.values(),
        *(f"{task}.{name}" for task in tasks for name in ("examples", "finetuned_model")),
        *(f"evaluate.{task}.{name}" for task in tasks for name in ("export", "model_card")),
        *("evaluate.encoder_card", "evaluate.report_page"),
    }


def test_everything_a_stage_makes_is_versioned(nodes):
    names = {name for node in nodes for name in datasets_of(node)} - opened_in_memory(nodes)
    for name in names | BROUGHT:
        assert entry_of(name).get("versioned", False) is (name not in NOT_VERSIONED), name


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

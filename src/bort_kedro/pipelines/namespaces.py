"""Stages as namespaces: which datasets pass between them, and how all others are named."""

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kedro.pipeline import Node, Pipeline

from bort_kedro.datasets.stage_results import StageResults

STAGES = ("corpus", "tasks", "search", "pretrain_distill", "finetune", "evaluate")
# The whole block everywhere: Kedro cannot build a block and a part of it in one run.
FINETUNE = "params:finetune"
# What a user brings.
BROUGHT = frozenset(
    {*("raw_corpus", "text_stream", "task_files"), *("recorded_candidates", "recorded_latencies", "earlier_candidates")}
)
# What a stage made that `evaluate` tells of; all of it passes on as one dataset, the results of the stage.
REPORTED = {
    "corpus": ("corpus_manifest",),
    "search": ("candidate_table", "search_report", "pareto_plot"),
    "pretrain_distill": (
        *("teacher_history", "student_history", "undistilled_history"),
        *("pretraining_metrics", "pretraining_plot"),
    ),
    "finetune": ("opened_student",),
}
# Likewise of each task.
REPORTED_OF_TASKS = {
    "tasks": ("examples_report",),
    "finetune": ("predictions", "finetuning_report", "teacher_report", "rival_predictions", "rivals_report"),
}
RESULTS = {stage: f"{stage}_results" for stage in (*REPORTED, *REPORTED_OF_TASKS)}
# What passes between stages: plain names.
PASSED = BROUGHT | {
    "training_states",
    *("corpus_documents", "tokenizer", "tokens", "selected_shape"),
    *("maximum_point_encoder", "selected_encoder", "teacher_encoder", "student_encoder"),
    *RESULTS.values(),
}
# Likewise of each task, whose name they carry: ``library.finetuned_model``.
PASSED_OF_TASKS = frozenset({"examples", "finetuned_model"})


def teacher_of(*, trains_teacher: bool) -> str:
    """The dataset of the larger encoder that teaches: what the maximum point was trained to, or itself."""
    return "teacher_encoder" if trains_teacher else "maximum_point_encoder"


def node_of(
    function: Callable[..., object],
    inputs: str | list[str] | dict[str, str] | None,
    outputs: str | list[str],
    *,
    tags: str | Iterable[str] | None = None,
) -> Node:
    """A node named after its function."""
    return Node(function, inputs, outputs, name=f"{function.__name__}_node", tags=tags)


def by_name(names: Iterable[str], **others: str) -> dict[str, str]:
    """Inputs whose datasets are called as the arguments, beside others by their arguments."""
    return {name: name for name in names} | others


@contextmanager
def across_namespaces() -> Iterator[None]:
    """Without Kedro's warning of dotted names, which it gives for those of a task in the namespace of a stage."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="[\\s\\S]*dataset names contain '.' characters")
        yield


def in_stage(stage: str, nodes: Iterable[Node | Pipeline]) -> Pipeline:
    """All nodes of a stage: what passes between stages keeps its name, the rest is named under the stage.

    A node that ends the stage makes its results of all that no other stage takes as it is; nodes before the others open
    the results of earlier stages.
    """
    pipeline = Pipeline(nodes)
    pipeline += Pipeline([*_opening_nodes(pipeline), *_gathering_nodes(stage, pipeline)])
    kept = {dataset for dataset in pipeline.datasets() if passes(dataset)}
    return _under(
        stage, Pipeline(pipeline, tags=stage), inputs=kept & pipeline.inputs(), outputs=kept & pipeline.all_outputs()
    )


def _opening_nodes(pipeline: Pipeline) -> Iterator[Node]:
    for stage, results in RESULTS.items():
        names = sorted(name for name in pipeline.inputs() if _reporter_of(name) == stage)
        if names:
            readers = [node for node in pipeline.nodes if set(names) & set(node.inputs)]
            tags = {tag for node in readers for tag in node.tags}
            yield node_of(opener_of(stage, names), results, names, tags=tags)


def _gathering_nodes(stage: str, pipeline: Pipeline) -> Iterator[Node]:
    if stage in RESULTS:
        ends = {name for name in pipeline.outputs() if not passes(name)}
        names = sorted(ends | {name for name in pipeline.all_outputs() if _reporter_of(name) == stage})
        yield node_of(gather_results, by_name(names), RESULTS[stage])


def _reporter_of(dataset: str) -> str | None:
    """The stage among whose results a dataset is."""
    _, dot, name = dataset.rpartition(".")
    stages = REPORTED_OF_TASKS if dot else REPORTED
    return next((stage for stage, names in stages.items() if name in names), None)


def gather_results(**results: Any) -> list[str]:
    """The names of what the stage made."""
    return list(results)


def opener_of(stage: str, names: Sequence[str]) -> Callable[[StageResults], tuple[Any, ...]]:
    """The node function that loads so many of the results of a stage."""

    def open_results(results: StageResults) -> tuple[Any, ...]:
        return tuple(results.load(f"{stage}.{name}") for name in names)

    open_results.__name__ = f"open_{RESULTS[stage]}"
    return open_results


def of_task(task: str, nodes: Iterable[Node], *, shared: Collection[str] = ()) -> Pipeline:
    """Nodes of a task inside a stage: named under the task but for what they read of other stages, or share.

    Datasets of the nodes have plain names, and those of another task its name before a dot.
    """
    pipeline = Pipeline(nodes)
    return _under(task, pipeline, inputs={each for each in pipeline.inputs() if each in shared or passes(each)})


def _under(name: str, pipeline: Pipeline, *, inputs: set[str], outputs: Collection[str] = ()) -> Pipeline:
    parameters = {dataset for dataset in pipeline.inputs() if dataset.startswith("params:")}
    return Pipeline(pipeline, namespace=name, inputs=inputs, outputs=set(outputs), parameters=parameters)


def passes(dataset: str) -> bool:
    """Whether a dataset passes between stages, a task's by its full name."""
    _, dot, of_task = dataset.rpartition(".")
    return dataset in PASSED or (bool(dot) and of_task in PASSED_OF_TASKS)


def stage_of(node: Node) -> str | None:
    """The stage that a node is of; None for one of a pipeline that a user has added."""
    stage = (node.namespace or "").partition(".")[0]
    return stage if stage in STAGES else None


def without_stage(dataset: str) -> str:
    """The name of a dataset without that of the one stage that uses it, as MLflow and versions on the disk have it."""
    stage, _, name = dataset.partition(".")
    return name if stage in STAGES and not passes(dataset) else dataset

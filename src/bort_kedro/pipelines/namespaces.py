"""Stages as namespaces: which datasets pass between them, and how all others are named."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from kedro.pipeline import Node, Pipeline

STAGES = ("corpus", "tasks", "search", "pretrain_distill", "finetune", "evaluate")
# What a user brings, what every training writes to, and what one stage makes for another: plain names.
BROUGHT = frozenset({"raw_corpus", "text_stream", "recorded_candidates", "task_files"})
PASSED = BROUGHT | {
    "training_states",
    *("corpus_documents", "corpus_manifest", "tokenizer", "tokens"),
    *("candidate_table", "selected_shape", "search_report", "pareto_plot", "maximum_point_encoder"),
    *("teacher_encoder", "student_encoder", "teacher_history", "student_history", "undistilled_history"),
    *("pretraining_metrics", "pretraining_plot"),
}
# Likewise of each task, whose name they carry: ``library.finetuned_model``.
PASSED_OF_TASKS = frozenset(
    {
        *("examples", "examples_report"),
        *("finetuned_model", "predictions", "finetuning_report"),
        *("teacher_report", "rival_predictions", "rivals_report"),
    }
)


@contextmanager
def across_namespaces() -> Iterator[None]:
    """Without Kedro's warning of dotted names, which it gives for those of a task in the namespace of a stage."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="[\\s\\S]*dataset names contain '.' characters")
        yield


def in_stage(stage: str, nodes: Iterable[Node | Pipeline]) -> Pipeline:
    """All nodes of a stage: what passes between stages keeps its name, the rest is named under the stage."""
    pipeline = Pipeline(nodes, tags=stage)
    kept = {dataset for dataset in pipeline.datasets() if passes(dataset)}
    return _under(stage, pipeline, inputs=kept & pipeline.inputs(), outputs=kept & pipeline.all_outputs())


def of_task(task: str, nodes: Iterable[Node], *, shared: Collection[str] = ()) -> Pipeline:
    """Nodes of a task inside a stage: all is named under the task but what it reads of other stages.

    Args:
        task: Its name.
        nodes: Their datasets have plain names, and those of another task its name before a dot.
        shared: What all tasks read of this stage.
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


def without_stage(dataset: str) -> str:
    """The name of a dataset without that of the one stage that uses it, as MLflow and versions on the disk have it."""
    stage, _, name = dataset.partition(".")
    return name if stage in STAGES and not passes(dataset) else dataset

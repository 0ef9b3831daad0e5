"""The tasks stage as a table of nodes: one for each task."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from bort_kedro.pipelines.namespaces import FINETUNE, across_namespaces, in_stage, node_of, of_task
from bort_kedro.pipelines.tasks.nodes import builder_of, reader_of
from bort_kedro.tasks.builtin import BUILTIN_TASKS


@across_namespaces()
def create_pipeline(tasks: Sequence[str]) -> Pipeline:
    """From task files, or the corpus, to the examples of each task."""
    return in_stage("tasks", [of_task(task, [_examples_node(task)]) for task in tasks])


def _examples_node(task: str) -> Node:
    made = ["examples", "examples_report"]
    if task in BUILTIN_TASKS:
        return node_of(builder_of(task), ["corpus_documents", FINETUNE], made)
    return node_of(reader_of(task), ["task_files", FINETUNE], made)

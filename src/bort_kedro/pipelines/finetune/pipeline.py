"""The finetune stage as a table of nodes: one small pipeline, wrapped once for each task."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from bort_kedro.core.builtin_tasks import BUILTIN_TASKS
from bort_kedro.pipelines.finetune.nodes import builder_of, finetuner_of

SHARED_INPUTS = {"student_encoder", "training_states"}
CORPUS = "corpus_documents"
BUILTIN = "params:finetune.builtin_tasks"
TRAINING = "params:finetune.training"


def create_pipeline(tasks: Sequence[str]) -> Pipeline:
    """From the student to a classifier and its predictions for each task.

    Args:
        tasks: Names of built-in tasks, whose examples are built here, or of tasks whose
            ``<task>.examples`` is an entry of the catalog.
    """
    return sum((_task_pipeline(task) for task in tasks), Pipeline([]))


def _task_pipeline(task: str) -> Pipeline:
    is_builtin = task in BUILTIN_TASKS
    nodes = [
        Node(
            finetuner_of(task),
            ["examples", "student_encoder", "training_states", TRAINING],
            ["finetuned_model", "history", "predictions", "finetuning_report"],
            name="finetune_task_node",
        )
    ]
    if is_builtin:
        nodes.insert(0, Node(builder_of(task), [CORPUS, BUILTIN], "examples", name="build_examples_node"))
    return Pipeline(
        nodes,
        namespace=task,
        inputs=SHARED_INPUTS | ({CORPUS} if is_builtin else set()),
        parameters={TRAINING} | ({BUILTIN} if is_builtin else set()),
        tags="finetune",
    )

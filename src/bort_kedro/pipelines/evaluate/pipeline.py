"""The evaluate stage as a table of nodes."""

import warnings
from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from bort_kedro.pipelines.evaluate.report_nodes import write_report
from bort_kedro.pipelines.evaluate.score_nodes import scorer_of, summarise_tasks
from bort_kedro.pipelines.evaluate.speed_nodes import measure_speed, plot_speed
from bort_kedro.pipelines.finetune.pipeline import FINETUNE, scoring_task


def create_pipeline(tasks: Sequence[str], *, has_teacher: bool = True, has_rivals: bool = True) -> Pipeline:
    """From predictions and the selected shape to scores, speed and the report.

    Args:
        tasks: Names of the fine-tuned tasks; each scores in a namespace of its own.
        has_teacher: Whether each task has a teacher of its own, as Agora needs.
        has_rivals: Whether other methods were trained beside Agora.
    """
    return Pipeline(
        [
            *(_task_pipeline(task, has_rivals=has_rivals and not scoring_task(task, tasks)) for task in tasks),
            _summary_node(tasks, has_teacher=has_teacher, has_rivals=has_rivals),
            Node(
                measure_speed,
                ["selected_shape", "params:evaluate.speed"],
                "speed_table",
                name="measure_speed_node",
            ),
            Node(plot_speed, "speed_table", "speed_plot", name="plot_speed_node"),
            Node(
                write_report,
                [
                    "corpus_manifest",
                    "search_report",
                    "candidate_table",
                    "pretraining_metrics",
                    "task_scores",
                    "speed_table",
                ],
                "report",
                name="write_report_node",
            ),
        ],
        tags="evaluate",
    )


def _task_pipeline(task: str, *, has_rivals: bool) -> Pipeline:
    inputs = ["predictions", "finetuning_report", FINETUNE, *(["rival_predictions"] if has_rivals else [])]
    node = Node(scorer_of(task), inputs, "metrics", name="score_task_node")
    return Pipeline([node], namespace=task, parameters={FINETUNE})


def _summary_node(tasks: Sequence[str], *, has_teacher: bool, has_rivals: bool) -> Node:
    """The one node that reads across namespaces."""
    learnt = [*(["teacher_report"] if has_teacher else []), *(["rivals_report"] if has_rivals else [])]
    names = [
        f"{task}.{dataset}"
        for task in tasks
        for dataset in (
            "metrics",
            "finetuning_report",
            "examples_report",
            *([] if scoring_task(task, tasks) else learnt),
        )
    ]
    with warnings.catch_warnings():
        # Kedro warns of every dotted name outside its own namespace; collecting the tasks is meant here.
        warnings.filterwarnings("ignore", message="[\\s\\S]*dataset names contain '.' characters")
        return Node(summarise_tasks, {name: name for name in names}, "task_scores", name="summarise_tasks_node")

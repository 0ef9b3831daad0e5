"""The evaluate stage as a table of nodes."""

from collections.abc import Callable, Sequence

from kedro.pipeline import Node, Pipeline

from bort_kedro.pipelines.evaluate.card_nodes import task_card_writer_of, write_encoder_card
from bort_kedro.pipelines.evaluate.export_nodes import exporter_of
from bort_kedro.pipelines.evaluate.report_nodes import cost_stages, write_opened_report, write_report, write_report_page
from bort_kedro.pipelines.evaluate.score_nodes import floors_of, scorer_of, summarise_tasks
from bort_kedro.pipelines.evaluate.speed_nodes import measure_speed, plot_speed
from bort_kedro.pipelines.evaluate.submission_nodes import average_tasks, write_submissions
from bort_kedro.pipelines.namespaces import FINETUNE, across_namespaces, by_name, in_stage, node_of, of_task
from bort_kedro.reporting.markdown import IllustratedText
from bort_kedro.reporting.report import PLOTS
from bort_kedro.tasks.table import TASKS, scoring_task

# What every model card tells of: of a student that was made here, and of one that was opened.
ORIGIN = ("corpus_manifest", "search_report", "pretraining_metrics")
OPENED_ORIGIN = ("opened_student",)
CARD = "params:evaluate.card"
BOOTSTRAP = "params:evaluate.bootstrap"
EXPORT = "params:evaluate.export"


@across_namespaces()
def create_pipeline(
    tasks: Sequence[str],
    *,
    has_teacher: bool = True,
    has_rivals: bool = True,
    trains_teacher: bool = True,
    trains_twin: bool = True,
    opens_student: bool = False,
) -> Pipeline:
    """From predictions and the selected shape to scores, speed and the report.

    Args:
        tasks: Names of the fine-tuned tasks; each scores in a namespace of its own.
        has_teacher: Whether each task has a teacher of its own, as Agora needs.
        has_rivals: Whether other methods were trained beside Agora.
        trains_teacher: Whether the maximum point was trained further to teach; else that has no history.
        trains_twin: Whether the student's twin was trained; likewise.
        opens_student: Whether the student is somebody's. Nothing tells of a search and a pretraining then, and the
            encoder itself has no card.
    """
    origin = OPENED_ORIGIN if opens_student else ORIGIN
    nodes: list[Node | Pipeline] = []
    for task in tasks:
        scored = _score_nodes(task, tasks, has_rivals=has_rivals)
        if not scoring_task(task, tasks):
            scored += _model_nodes(task, origin, has_teacher=has_teacher)
        nodes.append(of_task(task, scored, shared=origin))
    nodes += [_summary_node(tasks, has_teacher=has_teacher, has_rivals=has_rivals), *_leaderboard_nodes(tasks)]
    # The record of an opened student has the four values of its shape too.
    nodes += _speed_nodes("opened_student" if opens_student else "selected_shape")
    if opens_student:
        nodes += _report_nodes(tasks, write_opened_report, origin)
    else:
        trained = ("student", *(["undistilled"] if trains_twin else []), *(["teacher"] if trains_teacher else []))
        spent = ("search_report", "pretraining_metrics", *(f"{name}_history" for name in trained))
        told = (*origin, "candidate_table", "pareto_plot", "pretraining_plot")
        card_inputs = ["student_encoder", *origin, CARD]
        nodes += [
            node_of(write_encoder_card, card_inputs, "encoder_card"),
            *_report_nodes(tasks, write_report, told, spent),
        ]
    return in_stage("evaluate", nodes)


def _speed_nodes(shape: str) -> list[Node]:
    """Times and sizes of the shape of the student beside known ones."""
    return [
        node_of(measure_speed, [shape, "params:evaluate.speed"], "speed_table"),
        node_of(plot_speed, "speed_table", "speed_plot"),
    ]


def _score_nodes(task: str, tasks: Sequence[str], *, has_rivals: bool) -> list[Node]:
    """Scores of a task, beside its floors."""
    model_of = scoring_task(task, tasks)
    rivals = ["rival_predictions"] if has_rivals and not model_of else []
    floors = node_of(
        floors_of(task, model_of or task),
        ["examples", FINETUNE, *([f"{model_of}.examples"] if model_of else [])],
        ["floor_predictions", "floors_report"],
    )
    score = node_of(
        scorer_of(task),
        ["predictions", "finetuning_report", "floor_predictions", FINETUNE, BOOTSTRAP, *rivals],
        "metrics",
    )
    return [floors, score]


def _model_nodes(task: str, origin: Sequence[str], *, has_teacher: bool) -> list[Node]:
    """Of a task with a model of its own, the model for other runtimes and its card."""
    corpus = ["corpus_documents"] if "corpus_manifest" in origin else []
    export = node_of(
        exporter_of(task), ["finetuned_model", "examples", FINETUNE, EXPORT, *corpus], ["export", "export_report"]
    )
    learnt = ["teacher_report"] if has_teacher else []
    told = ["finetuned_model", "metrics", "finetuning_report", "examples_report", "export_report", *learnt, *origin]
    card = node_of(task_card_writer_of(task), by_name(told, finetune=FINETUNE, card=CARD), "model_card")
    return [export, card]


def _summary_node(tasks: Sequence[str], *, has_teacher: bool, has_rivals: bool) -> Node:
    """One row for each task."""
    learnt = [*(["teacher_report"] if has_teacher else []), *(["rivals_report"] if has_rivals else [])]
    names = [
        f"{task}.{dataset}"
        for task in tasks
        for dataset in (
            "metrics",
            "floors_report",
            "finetuning_report",
            "examples_report",
            *([] if scoring_task(task, tasks) else learnt),
        )
    ]
    return node_of(summarise_tasks, by_name(names), "task_scores")


def _report_nodes(
    tasks: Sequence[str], write: Callable[..., IllustratedText], told: Sequence[str], spent: Sequence[str] = ()
) -> list[Node]:
    """What is written from saved data alone: ``kedro run --tags report`` writes it again.

    It tells of tasks, speed, exports and what else is told, with the plots of that; the costs of other stages than
    fine-tuning are told by what was spent.
    """
    plots = [name for name in PLOTS.values() if name in (*told, "speed_plot")]
    exported = [f"{task}.export_report" for task in tasks if not scoring_task(task, tasks)]
    parts = ["task_scores", "speed_table", "stage_costs", "leaderboard"]
    return [
        node_of(cost_stages, by_name((*spent, "task_scores")), "stage_costs", tags="report"),
        node_of(write, by_name((*told, *parts, "speed_plot", *exported)), "report", tags="report"),
        node_of(write_report_page, by_name(("report", *plots)), "report_page", tags="report"),
    ]


def _leaderboard_nodes(tasks: Sequence[str]) -> list[Node]:
    """Averages of all tasks, and archives for the leaderboards where a task is of one."""
    listed = [task for task in tasks if task in TASKS and TASKS[task].submissions]
    metrics = [f"{task}.metrics" for task in tasks]
    answers = [f"{task}.{dataset}" for task in listed for dataset in ("predictions", "examples_report")]
    nodes = [node_of(average_tasks, by_name(metrics), "leaderboard")]
    if listed:
        inputs = by_name(("task_files", *answers), finetune=FINETUNE)
        nodes.append(node_of(write_submissions, inputs, ["submission_archives", "submission_report"]))
    return nodes

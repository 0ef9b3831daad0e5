"""The finetune stage as a table of nodes: one small pipeline, wrapped once for each task."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from bort_kedro.pipelines.finetune.nodes import (
    describe_student,
    diagnostic_predictor_of,
    open_finetuning_student,
    open_finetuning_teacher,
    rival_tuner_of,
    student_tuner_of,
    teacher_tuner_of,
)
from bort_kedro.pipelines.namespaces import FINETUNE, across_namespaces, in_stage, of_task
from bort_kedro.tasks.table import scoring_task

OWN_TEACHER, OWN_STUDENT = "finetuning_teacher", "finetuning_student"
LEARNT = ["finetuned_model", "history", "predictions", "finetuning_report"]


@across_namespaces()
def create_pipeline(
    tasks: Sequence[str],
    *,
    method: str = "agora",
    has_rivals: bool = True,
    teacher: str = "teacher_encoder",
    student: str = "student_encoder",
) -> Pipeline:
    """From the student to a model and its predictions for each task.

    Args:
        tasks: Names of the table of tasks, or of the user's own.
        method: ``agora``, or ``plain`` without a teacher.
        has_rivals: Whether other methods are trained beside Agora.
        teacher: The dataset of the encoder that teaches, `OWN_TEACHER` where it is opened here.
        student: The dataset of the encoder that learns, `OWN_STUDENT` where it is opened here.
    """
    nodes: list[Node | Pipeline] = []
    if student == OWN_STUDENT:
        nodes += [
            Node(open_finetuning_student, FINETUNE, OWN_STUDENT, name="open_finetuning_student_node"),
            Node(describe_student, [OWN_STUDENT, FINETUNE], "opened_student", name="describe_student_node"),
        ]
    if teacher == OWN_TEACHER and method == "agora":
        nodes.append(Node(open_finetuning_teacher, FINETUNE, OWN_TEACHER, name="open_finetuning_teacher_node"))
    for task in tasks:
        model_of = scoring_task(task, tasks)
        if model_of is not None:
            own = [_diagnostic_node(task, model_of)]
        else:
            is_plain = method == "plain"
            own = [_student_node(task, student)] if is_plain else _agora_nodes(task, student, teacher, has_rivals)
        nodes.append(of_task(task, own, shared={OWN_TEACHER, OWN_STUDENT}))
    return in_stage("finetune", nodes)


def _diagnostic_node(task: str, model_of: str) -> Node:
    inputs = ["examples", f"{model_of}.finetuned_model", FINETUNE]
    return Node(
        diagnostic_predictor_of(task), inputs, ["predictions", "finetuning_report"], name="predict_diagnostic_node"
    )


def _student_node(task: str, student: str, teacher: Sequence[str] = ()) -> Node:
    inputs = ["examples", student, "training_states", FINETUNE, *teacher]
    return Node(student_tuner_of(task), inputs, LEARNT, name="fine_tune_student_node")


def _agora_nodes(task: str, student: str, teacher: str, has_rivals: bool) -> list[Node]:
    nodes = [
        Node(
            teacher_tuner_of(task),
            ["examples", teacher, "training_states", FINETUNE],
            ["teacher_classifier", "teacher_history", "teacher_predictions", "teacher_report"],
            name="fine_tune_teacher_node",
        ),
        _student_node(task, student, [teacher, "teacher_classifier", "teacher_report"]),
    ]
    if has_rivals:
        nodes.append(
            Node(
                rival_tuner_of(task),
                [
                    "examples",
                    student,
                    "training_states",
                    FINETUNE,
                    teacher,
                    "teacher_classifier",
                    "finetuning_report",
                ],
                ["rivals_history", "rival_predictions", "rivals_report"],
                name="fine_tune_rivals_node",
            )
        )
    return nodes

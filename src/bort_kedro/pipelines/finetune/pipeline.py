"""The finetune stage as a table of nodes: one small pipeline, wrapped once for each task."""

from collections.abc import Collection, Mapping, Sequence

from kedro.pipeline import Node, Pipeline

from bort_kedro.pipelines.finetune.nodes import (
    describe_student,
    diagnostic_predictor_of,
    open_finetuning_student,
    open_finetuning_teacher,
    recorded_reader_of,
    rival_tuner_of,
    student_tuner_of,
    teacher_tuner_of,
)
from bort_kedro.pipelines.namespaces import FINETUNE, across_namespaces, by_name, in_stage, node_of, of_task
from bort_kedro.tasks.table import scoring_task

OWN_TEACHER, OWN_STUDENT = "finetuning_teacher", "finetuning_student"
LEARNT = ["finetuned_model", "history", "predictions", "finetuning_report", "points"]


@across_namespaces()
def create_pipeline(
    tasks: Sequence[str],
    *,
    method: str = "agora",
    has_rivals: bool = True,
    teacher: str = "teacher_encoder",
    student: str = "student_encoder",
    recorded: Collection[str] = (),
) -> Pipeline:
    """From the student to a model and its predictions for each task.

    Teacher and student are datasets of encoders, `OWN_TEACHER` and `OWN_STUDENT` where they are opened here; recorded
    are the tasks whose teacher is a file.
    """
    nodes: list[Node | Pipeline] = []
    if student == OWN_STUDENT:
        nodes += [
            node_of(open_finetuning_student, FINETUNE, OWN_STUDENT),
            node_of(describe_student, [OWN_STUDENT, FINETUNE], "opened_student"),
        ]
    taught = {task for task in tasks if method != "plain" and scoring_task(task, tasks) is None}
    if teacher == OWN_TEACHER and not taught <= set(recorded):
        nodes.append(node_of(open_finetuning_teacher, FINETUNE, OWN_TEACHER))
    for task in tasks:
        model_of = scoring_task(task, tasks)
        if model_of is not None:
            own = [_diagnostic_node(task, model_of)]
        elif task not in taught:
            own = [_student_node(task, student, {})]
        else:
            teacher_node, teaching = _recorded_teacher(task) if task in recorded else _encoder_teacher(task, teacher)
            own = [teacher_node, _student_node(task, student, {**teaching, "teacher_report": "teacher_report"})]
            own += [_rivals_node(task, student, teaching)] if has_rivals else []
        nodes.append(of_task(task, own, shared={OWN_TEACHER, OWN_STUDENT}))
    return in_stage("finetune", nodes)


def _diagnostic_node(task: str, model_of: str) -> Node:
    inputs = ["examples", f"{model_of}.finetuned_model", FINETUNE]
    return node_of(diagnostic_predictor_of(task), inputs, ["predictions", "finetuning_report"])


def _encoder_teacher(task: str, teacher: str) -> tuple[Node, dict[str, str]]:
    """The node that makes an encoder the teacher, and what those that it teaches read of it."""
    made = ["teacher_classifier", "teacher_history", "teacher_predictions", "teacher_report"]
    inputs = ["examples", teacher, "training_states", FINETUNE]
    node = node_of(teacher_tuner_of(task), inputs, made)
    return node, {"encoder": teacher, "teacher_classifier": "teacher_classifier"}


def _recorded_teacher(task: str) -> tuple[Node, dict[str, str]]:
    """Likewise of a file."""
    made = ["recorded_labels", "teacher_predictions", "teacher_report"]
    node = node_of(recorded_reader_of(task), ["examples", FINETUNE], made)
    return node, {"recorded_labels": "recorded_labels"}


def _student_node(task: str, student: str, taught: Mapping[str, str]) -> Node:
    return node_of(student_tuner_of(task), _learning(student) | dict(taught), LEARNT)


def _rivals_node(task: str, student: str, teaching: Mapping[str, str]) -> Node:
    inputs = _learning(student) | dict(teaching) | {"finetuning_report": "finetuning_report"}
    made = ["rivals_history", "rival_predictions", "rivals_report"]
    return node_of(rival_tuner_of(task), inputs, made)


def _learning(student: str) -> dict[str, str]:
    return by_name(["examples", "training_states"], student_encoder=student, finetune=FINETUNE)

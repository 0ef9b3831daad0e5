"""The pretraining stage as a table of nodes."""

from kedro.pipeline import Node, Pipeline

from bort_kedro.pipelines.namespaces import in_stage
from bort_kedro.pipelines.pretrain_distill.nodes import (
    distill_student,
    open_teacher,
    plot_training,
    score_pretraining,
    train_teacher,
    train_without_teacher,
)

PARAMETERS = "params:pretrain_distill"
CORPUS = "params:corpus"


def create_pipeline(
    *, has_pretrained_teacher: bool = False, training_data: str = "tokens", start: str = "teacher"
) -> Pipeline:
    """From the selected shape to a pretrained student, with what it is compared to.

    Args:
        has_pretrained_teacher: Whether the teacher is opened rather than trained from the maximum point.
        training_data: ``tokens``, or ``stream`` to train on the catalog's ``text_stream``.
        start: Where the student's weights begin.
    """
    given = ["selected_shape", "tokens", "tokenizer", "teacher_encoder", "training_states"]
    given += ["selected_encoder"] if start == "candidate" else []
    given += ["text_stream", "corpus_documents"] if training_data == "stream" else []
    inputs = {name: name for name in given} | {"pretrain_distill": PARAMETERS, "corpus": CORPUS}
    histories = ["student_history", "undistilled_history", *([] if has_pretrained_teacher else ["teacher_history"])]
    if has_pretrained_teacher:
        teacher = Node(
            open_teacher,
            [PARAMETERS, CORPUS],
            "teacher_encoder",
            name="open_teacher_node",
        )
    else:
        teacher = Node(
            train_teacher,
            ["maximum_point_encoder", "tokens", "training_states", PARAMETERS],
            ["teacher_encoder", "teacher_history"],
            name="train_teacher_node",
        )
    return in_stage(
        "pretrain_distill",
        [
            teacher,
            Node(
                distill_student,
                inputs | {"teacher_cache": "teacher_cache"},
                ["student_encoder", "student_history"],
                name="distill_student_node",
            ),
            Node(
                train_without_teacher,
                inputs,
                ["undistilled_encoder", "undistilled_history"],
                name="train_without_teacher_node",
            ),
            Node(
                score_pretraining,
                ["student_encoder", "undistilled_encoder", "teacher_encoder", "tokens", PARAMETERS, *histories],
                "pretraining_metrics",
                name="score_pretraining_node",
            ),
            Node(plot_training, histories, "pretraining_plot", name="plot_training_node"),
        ],
    )

"""The pretraining stage as a table of nodes."""

from kedro.pipeline import Node, Pipeline

from bort_kedro.pipelines.namespaces import in_stage, teacher_of
from bort_kedro.pipelines.pretrain_distill.nodes import (
    distill_student,
    plot_training,
    score_pretraining,
    train_teacher,
    train_without_teacher,
)

PARAMETERS = "params:pretrain_distill"
CORPUS = "params:corpus"


def create_pipeline(
    *, trains_teacher: bool = True, trains_twin: bool = True, training_data: str = "tokens", start: str = "teacher"
) -> Pipeline:
    """From the selected shape to a pretrained student, with what it is compared to.

    Args:
        trains_teacher: Whether the maximum point is trained further before it teaches.
        trains_twin: Whether the student's twin is trained beside it.
        training_data: ``tokens``, or ``stream`` to train on the catalog's ``text_stream``.
        start: Where the student's weights begin.
    """
    teacher = teacher_of(trains_teacher=trains_teacher)
    given = ["selected_shape", "tokens", "tokenizer", "training_states"]
    given += ["selected_encoder"] if start == "candidate" else []
    given += ["text_stream", "corpus_documents"] if training_data == "stream" else []
    inputs = {name: name for name in given}
    inputs |= {"teacher_encoder": teacher, "pretrain_distill": PARAMETERS, "corpus": CORPUS}
    histories = ["student_history"]
    histories += ["undistilled_history"] if trains_twin else []
    histories += ["teacher_history"] if trains_teacher else []
    scored = ["student_encoder", "tokens", *(["undistilled_encoder"] if trains_twin else []), *histories]
    trained = Node(
        train_teacher,
        ["maximum_point_encoder", "tokens", "training_states", PARAMETERS],
        ["teacher_encoder", "teacher_history"],
        name="train_teacher_node",
    )
    twin = Node(
        train_without_teacher,
        inputs,
        ["undistilled_encoder", "undistilled_history"],
        name="train_without_teacher_node",
    )
    return in_stage(
        "pretrain_distill",
        [
            *([trained] if trains_teacher else []),
            Node(
                distill_student,
                inputs | {"teacher_cache": "teacher_cache"},
                ["student_encoder", "student_history"],
                name="distill_student_node",
            ),
            *([twin] if trains_twin else []),
            Node(
                score_pretraining,
                {name: name for name in scored} | {"teacher_encoder": teacher, "pretrain_distill": PARAMETERS},
                "pretraining_metrics",
                name="score_pretraining_node",
            ),
            Node(plot_training, {name: name for name in histories}, "pretraining_plot", name="plot_training_node"),
        ],
    )

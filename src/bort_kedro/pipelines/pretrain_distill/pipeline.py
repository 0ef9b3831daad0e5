"""The pretraining stage as a table of nodes."""

from kedro.pipeline import Pipeline

from bort_kedro.pipelines.namespaces import by_name, in_stage, node_of, teacher_of
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

    The maximum point may be trained further before it teaches, the student's twin beside it; students are trained on
    ``tokens``, or on the catalog's ``text_stream`` with ``training_data`` ``stream``.
    """
    teacher = teacher_of(trains_teacher=trains_teacher)
    given = ["selected_shape", "tokens", "tokenizer", "training_states"]
    given += ["selected_encoder"] if start == "candidate" else []
    given += ["text_stream", "corpus_documents"] if training_data == "stream" else []
    inputs = by_name(given, teacher_encoder=teacher, pretrain_distill=PARAMETERS, corpus=CORPUS)
    histories = ["student_history"]
    histories += ["undistilled_history"] if trains_twin else []
    histories += ["teacher_history"] if trains_teacher else []
    scored = ["student_encoder", "tokens", *(["undistilled_encoder"] if trains_twin else []), *histories]
    trained = node_of(
        train_teacher,
        ["maximum_point_encoder", "tokens", "training_states", PARAMETERS],
        ["teacher_encoder", "teacher_history"],
    )
    twin = node_of(train_without_teacher, inputs, ["undistilled_encoder", "undistilled_history"])
    return in_stage(
        "pretrain_distill",
        [
            *([trained] if trains_teacher else []),
            node_of(distill_student, inputs | by_name(["teacher_cache"]), ["student_encoder", "student_history"]),
            *([twin] if trains_twin else []),
            node_of(
                score_pretraining,
                by_name(scored, teacher_encoder=teacher, pretrain_distill=PARAMETERS),
                "pretraining_metrics",
            ),
            node_of(plot_training, by_name(histories), "pretraining_plot"),
        ],
    )

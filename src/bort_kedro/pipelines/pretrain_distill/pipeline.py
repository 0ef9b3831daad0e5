"""The pretraining stage as a table of nodes."""

from kedro.pipeline import Node, Pipeline

from bort_kedro.pipelines.pretrain_distill.nodes import (
    distill_student,
    plot_training,
    score_pretraining,
    train_teacher,
    train_without_teacher,
)

STUDENT = "params:pretrain_distill.student"
POSITIONS = "params:corpus.max_positions"
HISTORIES = ["student_history", "undistilled_history", "teacher_history"]


def create_pipeline() -> Pipeline:
    """From the selected shape to a pretrained student, with what it is compared to."""
    return Pipeline(
        [
            Node(
                train_teacher,
                ["maximum_point_encoder", "tokens", "training_states", "params:pretrain_distill.teacher"],
                ["teacher_encoder", "teacher_history"],
                name="train_teacher_node",
            ),
            Node(
                distill_student,
                [
                    "selected_shape",
                    "tokens",
                    "teacher_encoder",
                    "training_states",
                    STUDENT,
                    "params:pretrain_distill.distillation",
                    POSITIONS,
                ],
                ["student_encoder", "student_history"],
                name="distill_student_node",
            ),
            Node(
                train_without_teacher,
                ["selected_shape", "tokens", "tokenizer", "training_states", STUDENT, POSITIONS],
                ["undistilled_encoder", "undistilled_history"],
                name="train_without_teacher_node",
            ),
            Node(
                score_pretraining,
                [
                    "student_encoder",
                    "undistilled_encoder",
                    "teacher_encoder",
                    *HISTORIES,
                    "tokens",
                    STUDENT,
                ],
                "pretraining_metrics",
                name="score_pretraining_node",
            ),
            Node(plot_training, HISTORIES, "pretraining_plot", name="plot_training_node"),
        ],
        tags="pretrain_distill",
    )

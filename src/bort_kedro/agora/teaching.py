"""Where the teachers of a task come from: an encoder that is fine-tuned, or a file; each for any of its splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bort_kedro.agora.out_of_fold import out_of_fold_beliefs
from bort_kedro.agora.points import Teaching
from bort_kedro.agora.recorded_teacher import RecordedTeacher
from bort_kedro.agora.teacher import TaskTeacher, fine_tune_teacher
from bort_kedro.finetuning.finetune import student_task
from bort_kedro.finetuning.theta import build_theta

if TYPE_CHECKING:
    import pandas as pd

    from bort_kedro.agora.settings import AgoraSettings
    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.finetuning.methods import StudentTask
    from bort_kedro.finetuning.settings import FinetuningSettings


class Teaches(Protocol):
    """Makes the teacher of a task."""

    def __call__(self, task: StudentTask, classifier: Pretrained | None = None) -> Teaching | None:
        """For the splits of a student's task; None where it is not over its bar.

        A classifier that was fine-tuned for these splits is over it; without one it is made.
        """


@dataclass(frozen=True)
class EncoderTeaches:
    """An encoder that is fine-tuned on a task.

    Args:
        num_folds: Of train, for beliefs of teachers that have not seen a row.
        seed: Of Theta and of the folds.
    """

    encoder: Pretrained
    training: FinetuningSettings
    settings: AgoraSettings
    num_folds: int
    seed: int

    def __call__(self, task: StudentTask, classifier: Pretrained | None = None) -> Teaching | None:
        if classifier is None:
            finetuned, report = fine_tune_teacher(self.task_beside(task))
            if not report.check.is_over:
                return None
            classifier = finetuned.model
        teacher = TaskTeacher(classifier, self.encoder, task.data, self.settings, self.training.max_tokens)
        # Its examples are encoded where somebody asks, which few methods do.
        return Teaching(
            teacher, lambda: out_of_fold_beliefs(self.task_beside(task), num_folds=self.num_folds, seed=self.seed)
        )

    def task_beside(self, task: StudentTask) -> StudentTask:
        """The teacher's own, of the same splits."""
        theta = build_theta(self.training, draw_seed=self.seed)
        return student_task(self.encoder, task.data, theta, self.training, task.states)


@dataclass(frozen=True)
class FileTeaches:
    """Labels that were recorded, as `tasks.reading.recorded` reads them, held against the bar when they were read."""

    table: pd.DataFrame
    settings: AgoraSettings

    def __call__(self, task: StudentTask, classifier: Pretrained | None = None) -> Teaching | None:
        teacher, train = RecordedTeacher(self.table, task.data, self.settings), task.data.units["train"]
        beliefs = (lambda: teacher.says(train)) if all(map(teacher.knows, train)) else None
        return Teaching(teacher, beliefs, lambda: teacher.points(task.states).labelled(teacher.pool))

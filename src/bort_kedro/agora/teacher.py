"""A teacher of one task, and what it must reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from accelerate import PartialState

from bort_kedro.agora.points import PointMaker
from bort_kedro.agora.settings import MASKED_LM
from bort_kedro.agora.teacher_bar import TeacherReport, check_teacher
from bort_kedro.agora.transformation import Transformation
from bort_kedro.agora.word_transformations import WORD_TRANSFORMATIONS
from bort_kedro.encoders.families import has_masked_lm_head
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.errors import TeacherError
from bort_kedro.finetuning.encoding import TaskEncoder
from bort_kedro.finetuning.finetune import PREDICTION_TOKENS, Finetuned, conclude, train_plainly
from bort_kedro.finetuning.methods import StudentTask
from bort_kedro.finetuning.objectives import predict
from bort_kedro.training.saved_state import States

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from bort_kedro.agora.settings import AgoraSettings, TransformationSettings
    from bort_kedro.agora.teacher_bar import TeacherCheck
    from bort_kedro.finetuning.data import TaskData
    from bort_kedro.tasks.units import Unit


def require_strong_teacher(check: TeacherCheck, task: str, better: str) -> None:
    """Stop where the teacher is too weak to label anything, and say how to come by a better one.

    Raises:
        TeacherError: If it is not over its bar.
    """
    if not check.is_over:
        raise TeacherError(
            f"Task `{task}`: {weakness(check)} {better}, or set params:finetune.weak_teacher to `plain`, which "
            "fine-tunes such tasks without Agora."
        )


def weakness(check: TeacherCheck) -> str:
    """What a teacher that is not over its bar lacks, as a sentence."""
    return (
        f"the teacher reaches {check.score:.1%} ± {check.error:.1%} on dev and must be over {check.bar:.1%} by that "
        f"standard error to label new points (chance {check.chance:.1%}), and ahead of the best constant answer, "
        f"{check.majority:.1%}, by {check.lead_error:.1%}, the standard error of the lead."
    )


BETTER_ENCODER = (
    "Give it more examples or epochs (params:finetune.teacher.training), name a stronger one "
    "(params:finetune.teacher.encoder)"
)


class TaskTeacher:
    """A fine-tuned encoder as Agora uses it, the student itself perhaps; the encoder it comes from replaces words."""

    def __init__(
        self, classifier: Pretrained, masked_lm: Pretrained, data: TaskData, settings: AgoraSettings, max_tokens: int
    ) -> None:
        self._classifier, self._masked_lm, self._data, self.settings = classifier, masked_lm, data, settings
        self._encoder = TaskEncoder(classifier, data.task, data.labels, max_tokens=max_tokens)
        self._max_tokens = max_tokens
        for model in (classifier.model, masked_lm.model):
            model.to(PartialState().device)

    def says(self, units: Sequence[Unit]) -> NDArray[np.float64]:
        """(N, C) of the rows of these units."""
        examples = self._encoder(units)
        return predict(self._classifier.model, self._data.task.form, examples, batch_tokens=PREDICTION_TOKENS)

    def points(self, states: States) -> PointMaker:
        """Makes points that repeat neither dev nor test, labelled by this teacher."""
        settings, protects_spans = self.settings, self._data.task.has_marked_spans
        identity = {
            "teacher": self._classifier.fingerprint,
            "masked_lm": self._masked_lm.fingerprint,
            "transformation": settings.transformation.model_dump() | {"protects_spans": protects_spans},
            "max_tokens": self._max_tokens,
            "num_threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        tau = Transformation(self._masked_lm, settings.transformation, protects_spans=protects_spans)
        return PointMaker(self._data, tau, self.says, identity, settings, states)


def require_words_can_be_replaced(encoder: Pretrained, settings: TransformationSettings) -> None:
    """Refuse a teacher without a masked-LM head where new points take one, before the teacher is fine-tuned.

    Raises:
        TeacherError: Says what to set.
    """
    if settings.replaces_words and not has_masked_lm_head(encoder.model):
        raise TeacherError(
            "The teacher has no masked-LM head to replace words with, which "
            f"params:finetune.agora.transformation.weights.{MASKED_LM} {settings.weights[MASKED_LM]:g} asks for. Set "
            f"it to 0, which leaves {', '.join(WORD_TRANSFORMATIONS)}; or params:finetune.method to plain; or name a "
            "masked-LM encoder as params:finetune.teacher.encoder."
        )


def fine_tune_teacher(task: StudentTask) -> tuple[Finetuned, TeacherReport]:
    """Fine-tune an encoder plainly, and say whether it is strong enough to teach."""
    finetuned = conclude(task, train_plainly(task, method="teacher"))
    predictions = finetuned.predictions
    check = check_teacher(task.data.task, task.data.labels, predictions[predictions["split"] == "dev"])
    return finetuned, TeacherReport(check=check, **dict(finetuned.report))

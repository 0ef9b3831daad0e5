"""Parameters of the pretraining stage."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bort_kedro.frozen import FrozenModel
from bort_kedro.params.base import MaskedLmParams


class DistillationParams(FrozenModel):
    """The pretraining loss under a teacher."""

    temperature: float = Field(gt=0, description="Softens both distributions.")
    masked_lm_weight: float = Field(ge=0, description="Of the cross-entropy with the true tokens.")
    distillation_weight: float = Field(gt=0, description="Of the divergence from the teacher.")


class TeacherCacheParams(FrozenModel):
    """What is kept of the teacher on the disk, instead of running it at every step."""

    top_k: int | None = Field(gt=0, description="Tokens kept for each predicted position; null runs the teacher live.")
    num_epochs: int | None = Field(
        gt=0, description="Passes over the corpus with masks of their own, repeated after; null is as many as are seen."
    )


class StudentStartParams(FrozenModel):
    """Where the student's weights begin."""

    source: Literal["random", "teacher", "checkpoint"] = Field(description="What the first weights are taken from.")
    checkpoint: str | None = Field(description="Hub id or folder of a BERT of the selected shape.")
    teacher_layers: tuple[int, ...] | None = Field(
        description="Of the teacher, from 0, one for each of the student; null spreads them evenly."
    )
    narrowing: Literal["truncation", "svd"] = Field(description="How the teacher's widths become the student's.")

    @model_validator(mode="after")
    def _checkpoint_is_named(self) -> Self:
        if (self.source == "checkpoint") != (self.checkpoint is not None):
            raise ValueError(
                f"source is {self.source} and checkpoint is {self.checkpoint}; a checkpoint is named where source is "
                "checkpoint, and only there"
            )
        return self


class LaunchParams(FrozenModel):
    """How many processes of this machine share a training."""

    num_processes: int = Field(gt=0, description="One for each GPU; under torchrun or accelerate launch theirs count.")
    sharding: Literal["none", "full"] = Field(
        description="full divides weights and optimiser over the GPUs (FSDP), for encoders too large for one."
    )

    @model_validator(mode="after")
    def _shards_need_processes(self) -> Self:
        if self.sharding == "full" and self.num_processes == 1:
            raise ValueError(
                "sharding is full with num_processes 1, which leaves nothing to divide; set it to 2 or more"
            )
        return self


class PretrainDistillParams(FrozenModel):
    """Pretraining of the selected shape."""

    pretrained_teacher: str | None = Field(
        description="Hub id or folder of a masked-LM encoder; null trains the maximum point further."
    )
    teacher: MaskedLmParams = Field(description="Further training of the maximum point.")
    student: MaskedLmParams = Field(description="Of the selected shape, with and without the teacher.")
    distillation: DistillationParams
    teacher_cache: TeacherCacheParams
    student_start: StudentStartParams
    launch: LaunchParams
    training_data: Literal["tokens", "stream"] = Field(
        description="Of the students: the train split of `tokens`, or the endless text of the catalog's `text_stream`."
    )

    @model_validator(mode="after")
    def _a_stream_has_no_cache(self) -> Self:
        if self.training_data == "stream" and self.teacher_cache.top_k is not None:
            raise ValueError(
                f"teacher_cache.top_k is {self.teacher_cache.top_k} with training_data stream; a stream is larger than "
                "the disk, and so is what a teacher says of it. Set top_k to null"
            )
        return self

"""Parameters of the pretraining stage."""

from typing import Literal, Self

from pydantic import Field, model_validator

from bort_kedro.encoders.settings import StudentStartSettings
from bort_kedro.frozen import FrozenModel
from bort_kedro.pretraining.report import TwinLacks
from bort_kedro.pretraining.settings import (
    DistillationSettings,
    LaunchSettings,
    PretrainingSettings,
    StreamSettings,
    TeacherCacheSettings,
)


class PretrainDistillParams(FrozenModel):
    """Pretraining of the selected shape."""

    teacher: PretrainingSettings | None = Field(
        description="Further training of a maximum point that the search trained; null lets it teach as it is."
    )
    student: PretrainingSettings = Field(description="Of the selected shape and its twin.")
    distillation: DistillationSettings
    teacher_cache: TeacherCacheSettings
    student_start: StudentStartSettings
    twin: bool = Field(description="Whether the student's twin, what it is held against, is trained too.")
    launch: LaunchSettings
    training_data: Literal["tokens", "stream"] = Field(
        description="Of the students: the train split of `tokens`, or the endless text of the catalog's `text_stream`."
    )
    stream: StreamSettings

    @property
    def student_training(self) -> PretrainingSettings:
        """Of the student and its twin, as it is done: beside a teacher no tokens are reconstructed."""
        return self.student.changed(num_reconstructed=0) if self.distillation.kinds else self.student

    @property
    def twin_lacks(self) -> TwinLacks:
        """In what alone the student's twin differs from it: the teacher in its loop, else what it began with."""
        if self.distillation.kinds:
            return "distillation"
        return "nothing" if self.student_start.source == "random" else "start"

    @model_validator(mode="after")
    def _a_cache_is_of_a_teacher_that_runs(self) -> Self:
        if self.teacher_cache.top_k is not None and not self.distillation.logits.weight:
            raise ValueError(
                f"teacher_cache.top_k is {self.teacher_cache.top_k} with distillation.logits.weight 0, under "
                "which no teacher is asked about tokens; set top_k to null, or the weight above 0"
            )
        return self

    @model_validator(mode="after")
    def _shards_are_not_read(self) -> Self:
        if self.launch.sharding == "full" and self.distillation.reads_layers:
            raise ValueError(
                "launch.sharding is full with a weight of distillation.relations or .hidden_states above 0, which read "
                "the student's last layer, and a process has a part of it; set sharding to none, or teach by logits"
            )
        return self

    @model_validator(mode="after")
    def _a_stream_has_no_cache(self) -> Self:
        if self.training_data == "stream" and self.teacher_cache.top_k is not None:
            raise ValueError(
                f"teacher_cache.top_k is {self.teacher_cache.top_k} with training_data stream; a stream is larger than "
                "the disk, and so is what a teacher says of it. Set top_k to null"
            )
        return self

    @model_validator(mode="after")
    def _processes_divide_the_readers(self) -> Self:
        readers, processes = self.stream.num_readers, self.launch.num_processes
        if self.training_data == "stream" and readers % processes:
            raise ValueError(
                f"stream.num_readers is {readers} with launch.num_processes {processes}, which does not divide it, so "
                "that processes would read and tokenise the same text several times; set num_readers to a multiple of "
                f"{processes}"
            )
        return self

"""Parameters: the settings of the rooms, under the stages' names, with the rules across rooms.

Values live in ``conf`` alone.
"""

from typing import Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from bort_kedro.exports.formats import FORMATS
from bort_kedro.frozen import FrozenModel
from bort_kedro.params.evaluate import EvaluateParams
from bort_kedro.params.finetune import FinetuneParams, task_of
from bort_kedro.params.pretrain_distill import PretrainDistillParams
from bort_kedro.search.settings import SearchSettings
from bort_kedro.text.settings import CorpusSettings
from bort_kedro.training.saved_state import Circumstance

__all__ = ["EvaluateParams", "FinetuneParams", "Parameters", "PretrainDistillParams"]


class Parameters(FrozenModel):
    """Everything under ``conf/*/parameters_*.yml``: one block a stage, and what the blocks of trainings share.

    Blocks for pipelines that a user has added come along as they are; `configuration.check_parameters` says which.
    """

    model_config = ConfigDict(extra="allow")

    corpus: CorpusSettings
    search: SearchSettings
    pretrain_distill: PretrainDistillParams
    finetune: FinetuneParams
    evaluate: EvaluateParams
    accepted_changes: tuple[Circumstance, ...] = Field(
        description="What may differ of an earlier training or teacher cache that is taken; [] begins anew."
    )
    masked_lm: dict[str, JsonValue] = Field(
        default={},
        exclude=True,
        description="What search.training, pretrain_distill.teacher and .student take where they do not state it.",
    )
    distillation: dict[str, JsonValue] = Field(
        default={}, exclude=True, description="Likewise of search.distillation and pretrain_distill.distillation."
    )
    task_training: dict[str, JsonValue] = Field(
        default={}, exclude=True, description="Likewise of finetune.training and finetune.teacher.training."
    )

    @property
    def trains_teacher(self) -> bool:
        """Whether the maximum point is trained further before it teaches; one that was opened never is."""
        return self.search.encoder is None and self.pretrain_distill.teacher is not None

    @model_validator(mode="after")
    def _one_tokenizer_is_named(self) -> Self:
        if self.search.encoder is not None and self.corpus.tokenizer.pretrained is not None:
            raise ValueError(
                f"corpus.tokenizer.pretrained is {self.corpus.tokenizer.pretrained} and search.maximum_point the "
                f"encoder {self.search.encoder}, whose tokenizer all encoders take. Set corpus.tokenizer.pretrained to "
                "null"
            )
        return self

    @model_validator(mode="after")
    def _the_searched_task_can_be_learned(self) -> Self:
        name, tasks = self.search.searched_task, self.finetune.tasks
        if name is not None and name not in tasks:
            raise ValueError(
                f"search.task is `{name}`, allowed are {', '.join(tasks)}; a task of another name stands in "
                "finetune.tasks first"
            )
        if name is not None and task_of(name, self.finetune).is_diagnostic:
            raise ValueError(
                f"search.task is `{name}`, a diagnostic that has no train and no dev split to learn and score on; name "
                "another of finetune.tasks"
            )
        return self

    @model_validator(mode="after")
    def _candidates_are_exported_as_tasks_are(self) -> Self:
        runtime = self.search.latency.runtime
        if runtime is not None and runtime not in FORMATS:
            raise ValueError(f"search.latency.runtime is `{runtime}`, allowed are {', '.join(FORMATS)}, and null")
        return self

    @model_validator(mode="after")
    def _a_student_that_replaces_words_predicts(self) -> Self:
        # What the files of a student that is opened lack is found when they are opened.
        is_made_here = self.finetune.has_encoder_as_teacher and self.finetune.student is None
        is_taught_by_student = is_made_here and self.finetune.teacher.encoder == "student"
        replaces_words = is_taught_by_student and self.finetune.agora.transformation.replaces_words
        if replaces_words and not self.pretrain_distill.distillation.predicts:
            raise ValueError(
                "finetune.teacher.encoder is student, which Agora asks for words, and nothing trains its masked-LM "
                "head: masked_lm_weight and logits.weight of pretrain_distill.distillation are 0. Raise one of them, "
                "set finetune.agora.transformation.weights.masked_lm to 0, or name another teacher"
            )
        return self

    @model_validator(mode="after")
    def _examples_fit_positions(self) -> Self:
        if self.finetune.student is not None:  # whose files say how long its inputs may be
            return self
        positions, longest = self.corpus.max_positions, {"training": self.finetune.training.max_tokens}
        made_here = ("teacher", "student") if self.search.encoder is None else ("student",)
        if self.finetune.has_encoder_as_teacher and self.finetune.teacher.encoder in made_here:
            longest["teacher.training"] = self.finetune.teacher.training.max_tokens
        for place, max_tokens in longest.items():
            if max_tokens > positions:
                raise ValueError(
                    f"finetune.{place}.max_tokens {max_tokens} is over corpus.max_positions {positions}: an encoder "
                    f"has no embedding for the positions beyond. Set max_tokens to at most {positions}, or raise "
                    "max_positions"
                )
        export = self.evaluate.export
        if export.formats and export.sequence_length > positions:
            raise ValueError(
                f"evaluate.export.sequence_length {export.sequence_length} is over corpus.max_positions {positions}: "
                f"exports are timed on inputs of that length. Set it to at most {positions}, or raise max_positions"
            )
        return self

"""How an encoder is pretrained, by itself and under a teacher, as parameters say it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from bort_kedro.frozen import FrozenModel
from bort_kedro.training.settings import OptimizationSettings

# What changes how a training is carried out and not, but for rounding and dropout's draws, where it ends.
ONLY_HOW = {
    "checkpoint_every_steps",
    "gradient_accumulation_steps",
    "gradient_checkpointing",
    "torch_compile",
    "validate_every_steps",
}


class PretrainingSettings(FrozenModel):
    """Masked-LM training of one encoder."""

    optimization: OptimizationSettings
    batch_tokens: int = Field(gt=0, description="Padded tokens of a step.")
    masked_share: float = Field(gt=0, lt=1, description="Share of the tokens that are predicted.")
    dropout: float = Field(ge=0, lt=1, description="Of hidden units and attention.")
    initialization: Literal["published", "neighbours"] = Field(
        description="Random weights as published, or heads that start on neighbouring tokens."
    )
    num_threads: int = Field(gt=0, description="CPU threads; part of the result, since sums depend on it.")
    whole_word_masking: bool = Field(description="Whether the tokens of a word are hidden together.")
    gradient_checkpointing: bool = Field(
        description="Compute activations of all layers but the last again in the backward pass, to save memory."
    )
    torch_compile: bool = Field(description="Compile model and loss; pays on CUDA, takes a minute to start.")
    validate_every_steps: int | None = Field(
        default=None,
        gt=0,
        description="Steps between looks at the validation split, the last among them; null never looks.",
    )
    num_reconstructed: int = Field(
        default=0,
        ge=0,
        description="Tokens of each block that its first token has to tell from their positions, so that it sums up "
        "the text for a classifier; not beside a teacher.",
    )

    def identity(self) -> dict[str, JsonValue]:
        """The part that a result depends on; what has a default is younger than trainings that are kept."""
        not_told = {"optimization": ONLY_HOW} | dict.fromkeys(ONLY_HOW, True)
        return self.model_dump(exclude=not_told, exclude_defaults=True)


class KindSettings(FrozenModel):
    """One kind of what a teacher teaches."""

    weight: float = Field(ge=0, description="Of its part of the loss; 0 leaves it out.")
    until: float = Field(gt=0, le=1, description="Share of the steps after which it is dropped.")

    def steps_taught(self, num_steps: int) -> int:
        """Steps before it is dropped, at least one."""
        return max(1, round(self.until * num_steps))


class LogitsSettings(KindSettings):
    """What the teacher believes of each hidden token."""

    temperature: float = Field(gt=0, description="Softens both distributions.")


class LayerSettings(KindSettings):
    """What the student's last layer learns from one of the teacher's, at every token."""

    teacher_layer: int | None = Field(ge=0, description="Of the teacher, from 0; null is its last.")


class RelationsSettings(LayerSettings):
    """How queries, keys and values are related among themselves (MiniLMv2)."""

    num_heads: int = Field(gt=0, description="Relation heads; must divide the widths of both.")


class DistillationSettings(FrozenModel):
    """The pretraining loss under a teacher: any mixture of these."""

    masked_lm_weight: float = Field(ge=0, description="Of the cross-entropy with the true tokens.")
    logits: LogitsSettings
    relations: RelationsSettings
    hidden_states: LayerSettings

    @property
    def kinds(self) -> dict[str, KindSettings]:
        """Those with a weight; without one no teacher runs."""
        every = {"logits": self.logits, "relations": self.relations, "hidden_states": self.hidden_states}
        return {name: kind for name, kind in every.items() if kind.weight}

    @property
    def reads_layers(self) -> bool:
        """Whether something is learned inside the encoders rather than of their predictions."""
        return bool(self.relations.weight or self.hidden_states.weight)

    @property
    def predicts(self) -> bool:
        """Whether tokens are hidden and predicted; else both see the true ones."""
        return bool(self.masked_lm_weight or self.logits.weight)

    def dropped_at(self, step: int, num_steps: int) -> list[str]:
        """Kinds that are over at a step counted from 0."""
        return [name for name, kind in self.kinds.items() if step >= kind.steps_taught(num_steps)]

    @model_validator(mode="after")
    def _something_is_learned(self) -> Self:
        if not self.masked_lm_weight and all(kind.until < 1 for kind in self.kinds.values()):
            raise ValueError(
                "masked_lm_weight is 0, and of logits, relations and hidden_states none has a weight above 0 until 1, "
                "which leaves nothing to learn at the end; raise one of these"
            )
        return self


class TeacherCacheSettings(FrozenModel):
    """What is kept of the teacher on the disk, instead of running it at every step."""

    top_k: int | None = Field(gt=0, description="Tokens kept for each predicted position; null runs the teacher live.")
    num_epochs: int | None = Field(
        gt=0, description="Passes over the corpus with masks of their own, repeated after; null is as many as are seen."
    )


class StreamSettings(FrozenModel):
    """How streamed text is read; both are part of the result, and the number of processes is not."""

    num_readers: int = Field(
        gt=0,
        description="Who share the text, fewer where a step has fewer blocks; the processes divide them among "
        "themselves, so it is their number or a multiple of it.",
    )
    shuffle_blocks: int = Field(gt=0, description="Token blocks held to be shuffled, of all readers together.")


class LaunchSettings(FrozenModel):
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

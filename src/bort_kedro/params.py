"""Parameters: typed, frozen, and refusing what they do not know. Values live in ``conf`` alone."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bort_kedro.core.shapes import BertShape, head_remainder
from bort_kedro.core.strategies import STRATEGIES

Share = Field(gt=0, lt=1)


class FrozenModel(BaseModel):
    """Base of all parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TokenizerParams(FrozenModel):
    """Where the tokenizer comes from."""

    pretrained: str | None = Field(description="Hub id or folder to open; null trains one on the corpus.")
    vocabulary_size: int = Field(gt=261, description="Ids of a trained tokenizer; 261 are bytes and specials.")


class SplitShares(FrozenModel):
    """Shares of the documents kept out of training; the rest is the training split."""

    validation: float = Field(gt=0, lt=1, description="Measured by the search and while pretraining.")
    test: float = Field(gt=0, lt=1, description="Measured once, at the end of pretraining.")
    tasks: float = Field(ge=0, lt=1, description="Raw material of the built-in tasks.")

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.validation + self.test + self.tasks >= 1:
            raise ValueError(
                f"validation + test + tasks is {self.validation + self.test + self.tasks:g}; it must stay below "
                "1, the rest is what training sees"
            )
        return self


class CorpusParams(FrozenModel):
    """From text to token blocks."""

    seed: int = Field(ge=0, description="Of the division of documents.")
    splits: SplitShares
    tokenizer: TokenizerParams
    sequence_length: int = Field(ge=8, description="Tokens of a block, the two special ones included.")
    max_positions: int = Field(ge=8, description="Position embeddings of every encoder trained on it.")

    @model_validator(mode="after")
    def _blocks_fit_positions(self) -> Self:
        if self.sequence_length > self.max_positions:
            raise ValueError(
                f"sequence_length {self.sequence_length} is over max_positions {self.max_positions}: an encoder "
                f"has no embedding for the positions beyond. Set sequence_length to at most {self.max_positions}, "
                "or raise max_positions"
            )
        return self


class OptimizationParams(FrozenModel):
    """How weights move; one training."""

    num_steps: int = Field(gt=0, description="Optimiser steps.")
    learning_rate: float = Field(gt=0, description="Peak, per step.")
    warmup_share: float = Field(ge=0, lt=1, description="Share of the steps spent rising to the peak.")
    weight_decay: float = Field(ge=0, description="AdamW's, none on biases and layer norms.")
    adam_beta2: float = Field(gt=0, lt=1, description="Decay of the second moment.")
    adam_epsilon: float = Field(gt=0, description="Added to the root of the second moment.")
    max_gradient_norm: float = Field(gt=0, description="Gradients are scaled down to this norm.")
    seed: int = Field(ge=0, description="Of initial weights, dropout, batches and masks.")
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(description="Of accelerate.")
    checkpoint_every_steps: int = Field(gt=0, description="Steps between saved states.")


class MaskedLmParams(FrozenModel):
    """Masked-LM training of one encoder."""

    optimization: OptimizationParams
    batch_tokens: int = Field(gt=0, description="Padded tokens of a step.")
    masked_share: float = Field(gt=0, lt=1, description="Share of the tokens that are predicted.")
    dropout: float = Field(ge=0, lt=1, description="Of hidden units and attention.")
    num_threads: int = Field(gt=0, description="CPU threads; part of the result, since sums depend on it.")


class ShapeParams(FrozenModel):
    """One BERT shape (D, A, H, I)."""

    num_hidden_layers: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    intermediate_size: int = Field(ge=1)

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if remainder := head_remainder(self.hidden_size, self.num_attention_heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} leaves a remainder of {remainder} when split over "
                f"{self.num_attention_heads} heads"
            )
        return self

    def to_shape(self) -> BertShape:
        """As the value `core` computes with."""
        return BertShape(**self.model_dump())


class SpaceParams(FrozenModel):
    """Lists whose every combination is a candidate."""

    num_hidden_layers: tuple[int, ...] = Field(min_length=1)
    num_attention_heads: tuple[int, ...] = Field(min_length=1)
    hidden_size: tuple[int, ...] = Field(min_length=1)
    intermediate_size: tuple[int, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _something_can_be_built(self) -> Self:
        for name, values in self.model_dump().items():
            if min(values) < 1 or len(set(values)) < len(values):
                raise ValueError(f"{name} is {list(values)}, allowed are different integers from 1 up")
        if all(head_remainder(h, a) for h in self.hidden_size for a in self.num_attention_heads):
            raise ValueError(
                f"no number of heads in {list(self.num_attention_heads)} divides a hidden_size in "
                f"{list(self.hidden_size)}, so no candidate can be built"
            )
        return self


class LatencyParams(FrozenModel):
    """How long, and on what, shapes are timed."""

    batch_size: int = Field(gt=0, description="Sequences per forward pass.")
    sequence_length: int = Field(gt=0, description="Tokens per sequence, no padding.")
    warmup_rounds: int = Field(ge=1, description="Passes of each shape run and thrown away first.")
    timed_rounds: int = Field(ge=3, description="Passes of each shape kept; the median is reported.")
    num_threads: int = Field(gt=0, description="CPU threads while timing.")


class SearchParams(FrozenModel):
    """Optimal subarchitecture extraction."""

    space: SpaceParams
    maximum_point: ShapeParams = Field(description="T: larger than every candidate.")
    strategy: str = Field(description="Which candidates are trained.")
    interval: int = Field(gt=0, description="Candidates per interval of the ordered space (fptas).")
    training: MaskedLmParams = Field(description="The short training of T and of every candidate.")
    maximum_point_learning_rate: float = Field(gt=0, description="T's own peak: wide encoders need a lower one.")
    maximum_point_threads: int = Field(gt=0, description="CPU threads while training T, which trains alone.")
    engine: Literal["loky", "threading", "sequential"] = Field(description="joblib's way to run candidates.")
    num_workers: int = Field(gt=0, description="Candidates trained at a time.")
    latency: LatencyParams

    @model_validator(mode="after")
    def _strategy_is_known(self) -> Self:
        if self.strategy not in STRATEGIES:
            raise ValueError(f"strategy is `{self.strategy}`, allowed are {', '.join(STRATEGIES)}")
        return self

    @model_validator(mode="after")
    def _maximum_point_is_largest(self) -> Self:
        for name, largest in self.maximum_point.model_dump().items():
            if name != "num_attention_heads" and largest < max(getattr(self.space, name)):
                raise ValueError(
                    f"maximum_point.{name} is {largest}, below the space's largest {max(getattr(self.space, name))}; "
                    "the maximum point must be larger than every candidate"
                )
        return self


class DistillationParams(FrozenModel):
    """The pretraining loss under a teacher."""

    temperature: float = Field(gt=0, description="Softens both distributions.")
    masked_lm_weight: float = Field(ge=0, description="Of the cross-entropy with the true tokens.")
    distillation_weight: float = Field(gt=0, description="Of the divergence from the teacher.")


class PretrainDistillParams(FrozenModel):
    """Pretraining of the selected shape."""

    teacher: MaskedLmParams = Field(description="Further training of the maximum point.")
    student: MaskedLmParams = Field(description="Of the selected shape, with and without the teacher.")
    distillation: DistillationParams

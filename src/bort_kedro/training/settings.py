"""How weights move, as parameters say it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bort_kedro.frozen import FrozenModel

Schedule = Literal["linear", "cosine", "warmup_stable_decay"]


class OptimizationSettings(FrozenModel):
    """How weights move; one training."""

    num_steps: int = Field(gt=0, description="Optimiser steps.")
    learning_rate: float = Field(gt=0, description="Peak, per step.")
    warmup_share: float = Field(ge=0, lt=1, description="Share of the steps spent rising to the peak.")
    schedule: Schedule = Field(description="How the rate falls after its peak: see `training.schedules`.")
    weight_decay: float = Field(ge=0, description="AdamW's, none on biases and layer norms.")
    adam_beta2: float = Field(gt=0, lt=1, description="Decay of the second moment.")
    adam_epsilon: float = Field(gt=0, description="Added to the root of the second moment.")
    max_gradient_norm: float = Field(gt=0, description="Gradients are scaled down to this norm.")
    seed: int = Field(ge=0, lt=2**32, description="Of initial weights, dropout, batches and masks.")
    mixed_precision: Literal["no", "bf16", "fp16", "auto"] = Field(
        description="Of accelerate; auto is bf16 where the hardware has it, else fp16 on CUDA, else no."
    )
    checkpoint_every_steps: int = Field(gt=0, description="Steps between saved states.")
    bias_correction: bool = Field(description="AdamW's; false is BertAdam, as published.")
    gradient_accumulation_steps: int = Field(
        gt=0,
        description="Parts of a step's rows, to save memory; without dropout the result stays, but for rounding.",
    )
    optimizer: Literal["adamw", "sgd"] = Field(
        default="adamw", description="sgd is plain stochastic gradient descent, which has no moments."
    )
    max_weight: float | None = Field(
        default=None,
        gt=0,
        description="Weights are clipped to it, and to its negative, after each step; null: none.",
    )

    @model_validator(mode="after")
    def _skipped_steps_can_be_told(self) -> Self:
        if self.optimizer == "sgd" and self.mixed_precision in ("fp16", "auto"):
            raise ValueError(
                f"mixed_precision is {self.mixed_precision} with optimizer sgd; allowed are no and bf16, since "
                "the steps that fp16 skips are told by the moments of adamw"
            )
        return self

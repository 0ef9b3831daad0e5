"""How one task is learned, as parameters say it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bort_kedro.frozen import FrozenModel

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class ThetaSettings(FrozenModel):
    """Theta: every combination of the lists, or so many of them."""

    learning_rates: tuple[Positive, ...] = Field(min_length=1, description="Peak learning rates.")
    weight_decays: tuple[NotNegative, ...] = Field(min_length=1, description="AdamW's, on matrices only.")
    warmup_shares: tuple[Share, ...] = Field(min_length=1, description="Shares of the steps that raise the rate.")
    batch_tokens: tuple[Annotated[int, Field(ge=8)], ...] = Field(min_length=1, description="Padded tokens of a batch.")
    seeds: tuple[Seed, ...] = Field(min_length=1, description="Of the head, the order of batches and dropout.")
    max_sets: int | None = Field(gt=0, description="Draw so many of the combinations; null takes all.")


class TrialSettings(FrozenModel):
    """What all trials of a task share."""

    max_tokens: int = Field(ge=8, description="Longest input, special tokens included; longer ones are cut.")
    num_epochs: float = Field(gt=0, description="Passes over the training examples, at most.")
    looks_per_epoch: int = Field(gt=0, description="How often dev is scored; the best weights there are kept.")
    patience: int | None = Field(
        gt=0, description="Looks without gain that end a trial early, those of the warm-up left out; null never does."
    )
    class_weights: Literal["none", "balanced"] = Field(description="Whether rare classes count more in the loss.")
    adam_beta2: float = Field(gt=0, lt=1, description="AdamW decay of the squared gradients.")
    adam_epsilon: float = Field(gt=0, description="AdamW epsilon.")
    max_gradient_norm: float = Field(gt=0, description="Gradients are scaled down to this norm.")
    dropout: float = Field(ge=0, lt=1, description="Of encoder and head while fine-tuning.")
    mixed_precision: Literal["no", "bf16", "fp16", "auto"] = Field(
        description="Of accelerate; auto is bf16 where the hardware has it, else fp16 on CUDA, else no."
    )
    checkpoint_every_steps: int = Field(gt=0, description="Steps between two saved training states.")
    num_threads: int = Field(gt=0, description="CPU threads; part of the result, since sums depend on it.")


class FinetuningSettings(ThetaSettings, TrialSettings):
    """How one task is learned."""

"""What parameters of several stages share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bort_kedro.frozen import FrozenModel


class OptimizationParams(FrozenModel):
    """How weights move; one training."""

    num_steps: int = Field(gt=0, description="Optimiser steps.")
    learning_rate: float = Field(gt=0, description="Peak, per step.")
    warmup_share: float = Field(ge=0, lt=1, description="Share of the steps spent rising to the peak.")
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


class MaskedLmParams(FrozenModel):
    """Masked-LM training of one encoder."""

    optimization: OptimizationParams
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


class LatencyParams(FrozenModel):
    """How long, and on what, shapes are timed."""

    batch_size: int = Field(gt=0, description="Sequences per forward pass.")
    sequence_length: int = Field(gt=0, description="Tokens per sequence, no padding.")
    warmup_rounds: int = Field(ge=1, description="Passes of each shape run and thrown away first.")
    timed_rounds: int = Field(ge=3, description="Passes of each shape kept; the median is reported.")
    num_threads: int = Field(gt=0, description="CPU threads while timing.")

"""Theta: the sets of hyperparameters that a fine-tuning tries."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bort_kedro.finetuning.settings import ThetaSettings


@dataclass(frozen=True)
class HyperparameterSet:
    """One member of Theta, what the code released with Bort varies.

    Args:
        learning_rate: Peak.
        weight_decay: AdamW's, on matrices.
        warmup_share: Share of the steps that raise the learning rate.
        batch_tokens: Padded tokens of a batch; the released code counts examples instead.
        seed: Draws the head, the order of batches and dropout.
    """

    learning_rate: float
    weight_decay: float
    warmup_share: float
    batch_tokens: int
    seed: int


def build_theta(settings: ThetaSettings, *, draw_seed: int) -> tuple[HyperparameterSet, ...]:
    """Every combination, learning rates slowest; or so many of them drawn without repetition, in the same order."""
    lists = (
        settings.learning_rates,
        settings.weight_decays,
        settings.warmup_shares,
        settings.batch_tokens,
        settings.seeds,
    )
    every = [HyperparameterSet(*values) for values in product(*lists)]
    if settings.max_sets is None or settings.max_sets >= len(every):
        return tuple(every)
    drawn = np.random.default_rng(draw_seed).choice(len(every), settings.max_sets, replace=False)
    return tuple(every[index] for index in sorted(drawn))

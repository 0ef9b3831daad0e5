"""How weights move: fused AdamW, the published variant without bias correction, and plain gradient descent."""

from __future__ import annotations

import torch
from torch import nn

from bort_kedro.training.schedules import learning_rate_factor
from bort_kedro.training.settings import OptimizationSettings

ADAM_BETA1 = 0.9


def build_optimizer(model: nn.Module, settings: OptimizationSettings) -> torch.optim.Optimizer:
    """The optimiser; no weight decay on biases and layer norms (anything with one dimension)."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate)
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(ADAM_BETA1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        fused=True,
    )


def clip_weights(model: nn.Module, settings: OptimizationSettings) -> None:
    """Bring weights beyond the largest that is allowed back to it (in place): a compact set, as the theory asks."""
    if settings.max_weight is not None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.clamp_(-settings.max_weight, settings.max_weight)


def steps_taken(optimizer: torch.optim.Optimizer) -> int:
    """AdamW's own count of steps, its t: those that fp16 skips for an overflow are not among them."""
    return next((int(moments["step"]) for moments in optimizer.state.values()), 0)


def set_step(
    optimizer: torch.optim.Optimizer, settings: OptimizationSettings, step: int, *, num_skipped: int = 0
) -> float:
    """Prepare the optimiser for a step counted from 0 (modified in place); returns the learning rate.

    Without bias correction (BertAdam, as published with Bort) the moments are used as they are. AdamW divides the
    first by ``c1 = 1 - beta1^t`` and the second by ``c2 = 1 - beta2^t``; a learning rate times ``c1 / sqrt(c2)``, an
    epsilon over ``sqrt(c2)``, and a weight decay divided by that same factor undo it exactly, so the fused kernel
    serves both.

    Args:
        optimizer: From `build_optimizer`.
        settings: Of the training.
        step: Counted from 0; the schedule goes by it.
        num_skipped: Steps before this one that fp16 skipped for an overflow, which AdamW does not count in its t.
    """
    factor = learning_rate_factor(
        step, schedule=settings.schedule, num_steps=settings.num_steps, warmup_share=settings.warmup_share
    )
    rate = settings.learning_rate * factor
    if settings.optimizer == "sgd":
        for group in optimizer.param_groups:
            group["lr"] = rate
        return rate
    undo, epsilon = 1.0, settings.adam_epsilon
    if not settings.bias_correction:
        taken = step + 1 - num_skipped
        root = (1 - settings.adam_beta2**taken) ** 0.5
        undo, epsilon = (1 - ADAM_BETA1**taken) / root, settings.adam_epsilon / root
    for group, decay in zip(optimizer.param_groups, (settings.weight_decay, 0.0), strict=True):
        group["lr"], group["eps"], group["weight_decay"] = rate * undo, epsilon, decay / undo
    return rate

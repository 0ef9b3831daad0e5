"""One training loop for search, pretraining and fine-tuning, on accelerate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from bort_kedro.core.schedules import linear_warmup_then_decay
from bort_kedro.errors import CheckpointError, TrainingError
from bort_kedro.progress import track
from bort_kedro.training.state import SavedState, StateStore, capture, restore, restore_weights, weights_of

Batch = dict[str, Tensor]
Loss = Callable[[nn.Module, Batch], dict[str, Tensor]]


@dataclass(frozen=True)
class OptimizationSettings:
    """How weights move. Units and meaning stand beside the fields in `params.OptimizationParams`."""

    num_steps: int
    learning_rate: float
    warmup_share: float
    weight_decay: float
    adam_beta2: float
    adam_epsilon: float
    max_gradient_norm: float
    seed: int
    mixed_precision: str
    checkpoint_every_steps: int


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves besides the weights.

    Args:
        history: One row per logged step: ``step``, the loss parts, ``learning_rate``, ``gradient_norm``.
        seconds: Wall time of all steps, those before a resume included.
    """

    history: list[dict[str, float]]
    seconds: float


class StateBeyondStopError(CheckpointError):
    """A training was asked to stop before where it already is."""


# Rows of history kept per training, about.
HISTORY_ROWS = 200


def train(
    model: nn.Module,
    loss: Loss,
    batch_at: Callable[[int], Batch],
    settings: OptimizationSettings,
    *,
    states: StateStore | None = None,
    stop_at: int | None = None,
    description: str = "training",
) -> TrainingResult:
    """Train a model in place, resuming from the newest whole state that ``states`` holds.

    A step's batch is ``batch_at(step)``, a pure function, and the generators are part of the state, so a
    training that was interrupted ends with the same weights bit for bit on the same machine. So does one that
    was stopped with ``stop_at`` and goes on later: the schedule is always that of all steps.

    Args:
        model: Changed in place; left in evaluation mode.
        loss: Given the model and a batch on its device, returns named scalars; ``loss`` is minimised.
        batch_at: The batch of a step counted from 0.
        settings: Steps, learning rate and the rest.
        states: Where states are kept; None trains without.
        stop_at: End after so many steps, counted from the first of all, with the whole state saved; 1 to
            ``num_steps``. None trains to the end.
        description: For the progress bar and for errors.

    Raises:
        TrainingError: If the loss or the gradient is not finite; the last good state is kept. If ``stop_at``
            is out of its range.
        StateBeyondStopError: If the newest state is beyond ``stop_at``: trainings go forward only, so the caller
            keeps what it measured at a stop.
    """
    stop = settings.num_steps if stop_at is None else stop_at
    if not 1 <= stop <= settings.num_steps:
        raise TrainingError(
            f"{description}: stop_at is {stop}, allowed is 1 to num_steps, which is {settings.num_steps} in the "
            "parameters of this stage."
        )
    saved = states.latest() if states else None
    if saved is not None and saved.step > stop:
        raise StateBeyondStopError(
            f"{description}: the newest saved state is at step {saved.step}, beyond step {stop} asked for, and "
            "trainings go forward only. Remove the folder of its states to train anew."
        )
    if saved is not None and saved.step == stop:
        restore_weights(model, saved.tensors)
        # Where training would have left it, so that scores do not depend on whether it was repeated.
        model.to(Accelerator().device).eval()
        return TrainingResult(saved.record["history"], saved.record["seconds"])
    # Generators of the caller are left as they were: dropout draws from a fork. Devices are named because
    # torch warns of several otherwise.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(settings.seed)
        return _train(model, loss, batch_at, settings, states, saved, stop, description)


def _train(
    model: nn.Module,
    loss: Loss,
    batch_at: Callable[[int], Batch],
    settings: OptimizationSettings,
    states: StateStore | None,
    saved: SavedState | None,
    stop: int,
    description: str,
) -> TrainingResult:
    # accelerate fixes the precision at a process's first training and refuses another; stages may differ.
    AcceleratorState._reset_state()
    accelerator = Accelerator(mixed_precision=settings.mixed_precision)
    optimizer = build_optimizer(model, settings)
    prepared, optimizer = accelerator.prepare(model, optimizer)
    history: list[dict[str, float]] = []
    start, seconds_before = 0, 0.0
    if saved is not None:
        restore(model, optimizer, saved.tensors)
        start, history, seconds_before = saved.step, saved.record["history"], saved.record["seconds"]
    prepared.train()
    began = time.perf_counter()

    def record() -> dict[str, Any]:
        return {"history": history, "seconds": seconds_before + time.perf_counter() - began}

    log_every = max(1, settings.num_steps // HISTORY_ROWS)
    for step in track(range(start, stop), description, total=stop, start=start):
        batch = {name: value.to(accelerator.device) for name, value in batch_at(step).items()}
        row = _advance(accelerator, prepared, optimizer, loss, batch, settings, step)
        _require_finite(row, settings.mixed_precision, description)
        # A stop leaves no row of its own, so that the history does not tell where stops were.
        if step + 1 == settings.num_steps or (step + 1) % log_every == 0:
            history.append(row)
        if states and step + 1 < stop and (step + 1) % settings.checkpoint_every_steps == 0:
            states.put(SavedState(step + 1, capture(model, optimizer), record()))
    model.eval()
    result = record()
    if states:
        # What is finished never goes on, so its weights are enough.
        tensors = weights_of(model) if stop == settings.num_steps else capture(model, optimizer)
        states.put(SavedState(stop, tensors, result))
    return TrainingResult(**result)


def _advance(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    batch: Batch,
    settings: OptimizationSettings,
    step: int,
) -> dict[str, float]:
    """One optimiser step; the row it leaves in the history."""
    factor = linear_warmup_then_decay(step, num_steps=settings.num_steps, warmup_share=settings.warmup_share)
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * factor
    with accelerator.autocast():
        parts = loss(model, batch)
    accelerator.backward(parts["loss"])
    norm = accelerator.clip_grad_norm_(model.parameters(), settings.max_gradient_norm)
    optimizer.step()
    optimizer.zero_grad()
    return {
        "step": step + 1,
        **{name: float(value.detach()) for name, value in parts.items()},
        "learning_rate": settings.learning_rate * factor,
        "gradient_norm": float(norm),
    }


def build_optimizer(model: nn.Module, settings: OptimizationSettings) -> torch.optim.Optimizer:
    """Fused AdamW; no weight decay on biases and layer norms (anything with one dimension)."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(0.9, settings.adam_beta2),
        eps=settings.adam_epsilon,
        fused=True,
    )


def _require_finite(row: dict[str, float], mixed_precision: str, description: str) -> None:
    # Under fp16 the gradient's norm may be infinite: the scaler then skips the step and lowers its scale.
    may_overflow = {"gradient_norm"} if mixed_precision == "fp16" else set()
    broken = [name for name, value in row.items() if name not in may_overflow and not math.isfinite(value)]
    if broken:
        raise TrainingError(
            f"{description}: {', '.join(broken)} is not finite at step {row['step']}. The last good state is kept. "
            "Lower learning_rate, raise warmup_share, or set mixed_precision to `no` in the parameters of this "
            "stage, then run the same command again."
        )

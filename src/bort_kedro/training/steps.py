"""One step of a training, divided over parts and processes, and what its numbers say of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from bort_kedro.errors import FailedTrainingError
from bort_kedro.training.loss_watch import LossWatch
from bort_kedro.training.memory import freed_memory_kept
from bort_kedro.training.observer import Row
from bort_kedro.training.optimizer import build_optimizer, clip_weights, set_step, steps_taken
from bort_kedro.training.settings import OptimizationSettings
from bort_kedro.training.threads import half_attention, tensor_float32

Batch = dict[str, Tensor]
Loss = Callable[[nn.Module, Batch], dict[str, Tensor]]

# Steps in a row that fp16 may skip while it finds a scale for the loss; from 2**16 down to 1 takes 17.
SKIPS_IN_A_ROW = 50
ADVICE = (
    "The last good state is kept. Lower learning_rate or max_gradient_norm, raise warmup_share, or set mixed_precision "
    "to `no` in the parameters of this stage, then run the same command again: other settings train anew from the "
    "start."
)


def pinned(batch: Batch) -> Batch:
    """A batch in memory that the system never moves, without which a copy to a device waits for it."""
    return {name: value.pin_memory() for name, value in batch.items()}


def moved(batch: Batch, device: torch.device) -> Batch:
    """A batch on a device, whose copy is under way if it is `pinned`."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


@contextmanager
def made_fast(accelerator: Accelerator) -> Iterator[None]:
    """Take steps with the kernels and the memory of `tensor_float32`, `half_attention` and `freed_memory_kept`."""
    where = accelerator.device, accelerator.mixed_precision
    with tensor_float32(where[0]), half_attention(*where), freed_memory_kept(*where):
        yield


class ModelWithLoss(nn.Module):
    """A model whose forward pass ends in its loss, since gradients of several processes meet in one forward call."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self._loss = loss

    def forward(self, batch: Batch, loss: Loss | None = None) -> dict[str, Tensor]:
        return (loss or self._loss)(self.model, batch)


class Steps:
    """The optimiser steps of one training in one process.

    Args:
        accelerator: Of the process.
        model: Changed in place. Under sharding its weights are replaced by their shards, inside the very module.
        loss: As for `loop.train`; likewise the settings, the description and ``compiles``.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        loss: Loss,
        settings: OptimizationSettings,
        *,
        description: str,
        compiles: bool,
    ) -> None:
        self.accelerator, self.model, self.settings, self.description = accelerator, model, settings, description
        whole = ModelWithLoss(model, loss)
        if compiles:
            whole.compile()
        self.objective, self.optimizer = accelerator.prepare(whole, build_optimizer(model, settings))
        if accelerator.scaler is None:
            # Only a scaler needs accelerate's wrapper, which searches the disk for other optimisers at every step.
            self.optimizer = self.optimizer.optimizer
        self.parameters = list(model.parameters())
        self.num_parts = accelerator.num_processes * settings.gradient_accumulation_steps
        self.watch = LossWatch()
        # Steps that moved the weights, and those in a row until now that fp16 skipped for an overflow.
        self.num_taken = self.skipped_in_a_row = 0

    def advance(self, step: int, parts: list[Batch]) -> tuple[int, float, dict[str, Tensor]]:
        """One optimiser step; what it leaves, still on the device."""
        accelerator, settings = self.accelerator, self.settings
        learning_rate = set_step(self.optimizer, settings, step, num_skipped=step - self.num_taken)
        batches = [moved(part, accelerator.device) for part in parts]
        shares = self._shares(batches)
        totals: dict[str, Tensor] = {}
        for number, (batch, share) in enumerate(zip(batches, shares, strict=True)):
            is_last = number == len(batches) - 1
            with nullcontext() if is_last else accelerator.no_sync(self.objective):
                with accelerator.autocast():
                    values = self.objective(batch)
                # Gradients of several processes are averaged, so each counts as many times.
                accelerator.backward(
                    values["loss"] if share is None else values["loss"] * share * accelerator.num_processes
                )
            for name, value in values.items():
                share_of_value = value.detach() if share is None else value.detach() * share
                totals[name] = totals[name] + share_of_value if name in totals else share_of_value
        if accelerator.num_processes > 1:
            totals = accelerator.reduce(totals, reduction="sum")
        norm = accelerator.clip_grad_norm_(self.parameters, settings.max_gradient_norm)
        totals["gradient_norm"] = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        self.optimizer.step()
        clip_weights(self.model, settings)
        self._count_skipped(step)
        self.optimizer.zero_grad()
        return step, learning_rate, totals

    def _count_skipped(self, step: int) -> None:
        # accelerate takes every step of a fused optimiser for done, since its kernel is what skips. Only fp16 skips,
        # and reading the count waits for the device.
        taken = self.num_taken + 1 if self.accelerator.scaler is None else steps_taken(self.optimizer)
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if taken == self.num_taken else 0
        self.num_taken = taken
        if self.skipped_in_a_row == SKIPS_IN_A_ROW:
            reason = f"the gradient overflows fp16 at step {step + 1}, as at the {SKIPS_IN_A_ROW - 1} before it"
            raise self._failure(f"{reason}, however small the loss is scaled")

    def _shares(self, batches: list[Batch]) -> list[Tensor | None]:
        """What share of the step's predictions each part on its device holds; None where one part holds them all."""
        if self.num_parts == 1:
            return [None]
        weights = torch.stack([batch["weight"] for batch in batches])
        total = self.accelerator.reduce(weights.sum(), reduction="sum")
        return list(weights / total)

    def settle(self, pending: list[tuple[int, float, dict[str, Tensor]]]) -> Row:
        """Read the steps since the last look in one transfer; the last one's row. Empties ``pending``."""
        names = list(pending[-1][2])
        values = torch.stack([torch.stack([parts[name].float() for name in names]) for _, _, parts in pending]).tolist()
        row: Row = {}
        for (step, learning_rate, _), numbers in zip(pending, values, strict=True):
            *parts, norm = zip(names, numbers, strict=True)
            row = {"step": step + 1, **dict(parts), "learning_rate": learning_rate, norm[0]: norm[1]}
            self._require_sound(row)
        pending.clear()
        return row

    def _require_sound(self, row: Row) -> None:
        # Under fp16 the gradient's norm may be infinite: the scaler then skips the step and lowers its scale.
        may_overflow = {"gradient_norm"} if self.accelerator.scaler is not None else set()
        broken = [name for name, value in row.items() if name not in may_overflow and not math.isfinite(value)]
        if broken:
            raise self._failure(f"{', '.join(broken)} is not finite at step {row['step']}")
        if self.watch.has_climbed(row["loss"]):
            raise self._failure(
                f"the loss has climbed to {row['loss']:.3f} at step {row['step']}, above where it "
                f"began ({self.watch.first:.3f}) and far above its best ({self.watch.best:.3f}, means of 50 steps)"
            )

    def _failure(self, reason: str) -> FailedTrainingError:
        return FailedTrainingError(self.description, reason, ADVICE)

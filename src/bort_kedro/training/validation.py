"""What a model makes of batches that are kept from its training, asked on its way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

    from bort_kedro.training.observer import Row
    from bort_kedro.training.steps import Batch, Loss, ModelWithLoss

PREFIX = "validation_"


@dataclass(frozen=True)
class Validation:
    """A look at held-out batches every few steps, which draws no random numbers and changes no weight.

    Args:
        every_steps: Steps between two looks; the last step is always looked at.
        num_batches: Of the held-out data.
        batch_at: One of them, with ``weight``, the number of predictions that its loss is a mean over.
        loss: As for `loop.train`.
    """

    every_steps: int
    num_batches: int
    batch_at: Callable[[int], Batch]
    loss: Loss

    def is_due(self, step: int, num_steps: int) -> bool:
        """Whether a look follows on this step, counted from 1."""
        return step % self.every_steps == 0 or step == num_steps

    def look(self, model: ModelWithLoss, accelerator: Accelerator) -> Row:
        """Means of the loss and its parts over all predictions, each as ``validation_<name>``.

        Processes divide the batches. All of them make as many passes, since sharded weights are gathered at each.

        Args:
            model: As it is trained; left in training mode.
            accelerator: Of the process.
        """
        sums: defaultdict[str, float] = defaultdict(float)
        first, stride = accelerator.process_index, accelerator.num_processes
        model.eval()
        with torch.no_grad():
            for number in range(first, first + -(-self.num_batches // stride) * stride, stride):
                batch = self.batch_at(number % self.num_batches)
                moved = {name: value.to(accelerator.device) for name, value in batch.items()}
                with accelerator.autocast():
                    values = model(moved, self.loss)
                weight = float(batch["weight"]) if number < self.num_batches else 0.0
                for name, value in {"weight": torch.tensor(1.0), **values}.items():
                    sums[name] += float(value) * weight
        model.train()
        whole: dict[str, Tensor] = {
            name: torch.tensor(value, device=accelerator.device, dtype=torch.float32) for name, value in sums.items()
        }
        whole = accelerator.reduce(whole, reduction="sum")
        total = whole.pop("weight")
        return {f"{PREFIX}{name}": float(value / total) for name, value in whole.items()}

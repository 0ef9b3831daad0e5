"""Batches of a training under a teacher: which kinds still teach at a step, and what they teach of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bort_kedro.training.throughput import token_lengths

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bort_kedro.pretraining.masked_blocks import Batch, Batches
    from bort_kedro.pretraining.settings import DistillationSettings


def dropped_mark(kind: str) -> str:
    """The key that a batch has where a kind teaches no more."""
    return f"without_{kind}"


def with_true_tokens(batch: Batch) -> Batch:
    """A batch with nothing hidden and nothing to predict."""
    ids = batch["input_ids"]
    true_ids = ids.flatten().scatter(0, batch["predicted"], batch["targets"]).view_as(ids)
    return {**batch, "input_ids": true_ids, "predicted": batch["predicted"][:0], "targets": batch["targets"][:0]}


def as_taught(batch: Batch, settings: DistillationSettings, dropped: Iterable[str]) -> Batch:
    """A batch as a student learns from it where these kinds teach no more."""
    if not settings.predicts:
        # A part that only repeats another's row has weight 0.
        batch = with_true_tokens(batch) | {"weight": token_lengths(batch).sum() * (batch["weight"] > 0)}
    return batch | {dropped_mark(kind): torch.tensor(True) for kind in dropped}


@dataclass(frozen=True)
class TaughtBatches:
    """The batches of a step, as a training loop asks for them.

    Where nothing is predicted they have the true tokens, no predicted position, and count by their tokens.

    Args:
        batches: Of a split or of a stream, whose state is passed on.
        settings: What is taught, and until when.
        num_steps: Of the whole training.
        cached: The same batches with what the teacher said of them, asked while its logits teach; None runs it.
    """

    batches: Batches
    settings: DistillationSettings
    num_steps: int
    cached: Batches | None = None

    def __call__(self, step: int, *part: int) -> Batch:
        dropped = self.settings.dropped_at(step, self.num_steps)
        source = self.batches if self.cached is None or "logits" in dropped else self.cached
        return as_taught(source(step, *part), self.settings, dropped)

    def __getattr__(self, name: str) -> Any:
        if name == "batches":  # not there yet, as while it is read from a pickle
            raise AttributeError(name)
        return getattr(self.batches, name)

"""The state of a training as a value, and what training asks of whoever stores it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True)
class SavedState:
    """Training after some steps.

    Args:
        step: Number of steps done, which is the data position too.
        tensors: Weights under ``model.``, optimiser moments under ``optimizer.``, generators under
            ``generator.``. A finished training keeps the weights alone.
        record: What is no tensor, as JSON: ``history``, ``seconds``, and what watches and streams go on from.
    """

    step: int
    tensors: dict[str, Tensor]
    record: dict[str, Any] = field(default_factory=dict)


class StateStore(Protocol):
    """Where one training keeps its states; the folder, the retention and the checks are the store's."""

    def latest(self) -> SavedState | None:
        """The newest state that is whole, or None."""

    def put(self, state: SavedState) -> None:
        """Keep a state; when this returns it survives a power cut."""

"""The state of a training as a value, and what training asks of whoever stores it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from bort_kedro.frozen import JsonObject

if TYPE_CHECKING:
    from torch import Tensor

    from bort_kedro.training.observer import TrainingObserver

# Parts of a training's identity that a user may have changed without wanting another training.
Circumstance = Literal["bort_kedro", "torch", "num_threads", "num_steps"]
CIRCUMSTANCES = get_args(Circumstance)


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
    record: JsonObject = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether it is that of a finished training, which never goes on."""
        return bool(self.record.get("has_ended"))

    @property
    def is_kept(self) -> bool:
        """Whether it outlives its training, so that another one of more steps goes on from it."""
        return bool(self.record.get("is_kept"))

    @property
    def goes_on(self) -> bool:
        """Whether it is whole, so that a training goes on from it."""
        return any(name.startswith("generator.") for name in self.tensors)


class StateStore(Protocol):
    """Where one training keeps its states; the folder, the retention and the checks are the store's."""

    def latest(self) -> SavedState | None:
        """The newest state that is whole, or None."""

    def put(self, state: SavedState) -> None:
        """Keep a state; when this returns it survives a power cut."""


class States(Protocol):
    """Where all trainings keep their states, each under its name and all that its result depends on."""

    @property
    def observer(self) -> TrainingObserver:
        """Who listens to these trainings."""

    def of(self, name: str, identity: JsonObject) -> StateStore:
        """The states of one training.

        Args:
            name: For people, such as ``search/D2-A4-H128-I256``.
            identity: JSON-able; a changed value leads to another store, hence to training anew.
        """

    def names(self, folder: str) -> set[str]:
        """Names of all trainings of a folder such as ``search/scores``, without it, whatever their identity."""

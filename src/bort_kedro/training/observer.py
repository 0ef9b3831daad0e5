"""Who listens to trainings while they run: an object that the handle of their states carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from bort_kedro.frozen import JsonObject

Row = dict[str, float]
# The kind of a training of a search.
CANDIDATE = "candidate"


@dataclass(frozen=True)
class Training:
    """A training of an encoder, by what tells it from the others of a session.

    Args:
        name: For people.
        kind: ``candidate``, ``maximum point``, ``teacher``, ``student`` or ``twin``.
        parameters: What it is a training of, such as a shape; no part of what tells it from others.
    """

    name: str
    kind: str
    parameters: JsonObject = field(compare=False)


@dataclass(frozen=True)
class TrialEnded:
    """A fine-tuning that has ended, for whoever tracks it.

    Args:
        task: That was learned.
        method: It was part of, such as ``agora``.
        round: Of the method, from 0.
        setting: Place of its hyperparameters among those tried, from 0.
        row: Hyperparameters, steps, score and seconds.
        history: Rows of the training, each with a ``step``.
        looks: ``step`` and ``score`` of each look at dev.
    """

    task: str
    method: str
    round: int
    setting: int
    row: JsonObject
    history: list[Row]
    looks: list[Row]


class TrainingObserver(Protocol):
    """Hears of trainings; it changes nothing of them."""

    def row_logged(self, training: Training, row: Row) -> None:
        """A row of a running training's history."""

    def training_ended(self, training: Training, results: Row, history: list[Row], failure: str | None) -> None:
        """What a training reached, all rows of its history, and why it failed where it did; again of a later rung."""

    def trial_ended(self, trial: TrialEnded) -> None:
        """A fine-tuning that has ended."""


class SilentObserver:
    """Lets everything pass."""

    def row_logged(self, training: Training, row: Row) -> None:
        """Nothing."""

    def training_ended(self, training: Training, results: Row, history: list[Row], failure: str | None) -> None:
        """Nothing."""

    def trial_ended(self, trial: TrialEnded) -> None:
        """Nothing."""

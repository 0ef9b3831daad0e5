"""Who listens to trainings while they run: an object that the handle of their states carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bort_kedro.frozen import JsonObject

Row = dict[str, float]


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

    def row_logged(self, name: str, row: Row) -> None:
        """A row of a running training's history, under the name of the dataset that will hold it."""

    def trial_ended(self, trial: TrialEnded) -> None:
        """A fine-tuning that has ended."""


class SilentObserver:
    """Lets everything pass."""

    def row_logged(self, name: str, row: Row) -> None:
        """Nothing."""

    def trial_ended(self, trial: TrialEnded) -> None:
        """Nothing."""

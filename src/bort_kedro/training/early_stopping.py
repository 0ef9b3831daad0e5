"""Keep the weights that score best on dev while a training goes on, and end it when they stay the best."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from bort_kedro.frozen import JsonObject
from bort_kedro.training.state import restore_weights, weights_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bort_kedro.training.saved_state import SavedState

_PREFIX = "best."


class EarlyStopping:
    """Looks at a training every few steps; part of its saved states, so that a resumed training ends alike.

    Args:
        score: Of a model in evaluation mode, larger is better; it must draw no random numbers.
        every_steps: Steps between two looks; the last step is always looked at.
        patience: Looks in a row without a better score that end the training; None never ends it.
        warmup_steps: Whose looks use up no patience: a model that has hardly moved cannot be judged by standing still.
    """

    def __init__(
        self, score: Callable[[nn.Module], float], *, every_steps: int, patience: int | None, warmup_steps: int = 0
    ) -> None:
        self._score, self.every_steps, self._patience, self._warmup_steps = score, every_steps, patience, warmup_steps
        self.scores: list[dict[str, float]] = []
        self._best: dict[str, Tensor] = {}

    @property
    def best(self) -> dict[str, float]:
        """``step`` and ``score`` of the best look, the first among equals.

        Raises:
            ValueError: If there was no look yet.
        """
        return max(self.scores, key=lambda look: look["score"])

    def is_due(self, step: int, num_steps: int) -> bool:
        """Whether a look follows on this step, counted from 1."""
        return step % self.every_steps == 0 or step == num_steps

    def look(self, model: nn.Module, step: int) -> bool:
        """Score the model, keep its weights if none was better; True if the training should end here."""
        model.eval()
        score = self._score(model)
        # A metric of nothing but infinities is worse than any other.
        score = -math.inf if math.isnan(score) else score
        model.train()
        if not self.scores or score > self.best["score"]:
            self._best = {name.replace("model.", _PREFIX, 1): value for name, value in weights_of(model).items()}
        self.scores.append({"step": step, "score": score})
        since_best = sum(look["step"] > max(self.best["step"], self._warmup_steps) for look in self.scores)
        return self._patience is not None and since_best >= self._patience

    def put_best(self, model: nn.Module) -> None:
        """Give the model the best weights that were seen (modified in place)."""
        restore_weights(model, {name.replace(_PREFIX, "model.", 1): value for name, value in self._best.items()})

    def record(self) -> JsonObject:
        """What a state keeps beside `tensors`."""
        return {"scores": list(self.scores)}

    def tensors(self) -> dict[str, Tensor]:
        """The best weights until now, under ``best.``."""
        return self._best

    def go_on_from(self, saved: SavedState) -> None:
        """Undo `record` and `tensors`."""
        self.scores = list(saved.record["early_stopping"]["scores"])
        self._best = {name: value for name, value in saved.tensors.items() if name.startswith(_PREFIX)}

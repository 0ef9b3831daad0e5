"""Tell a training that has come apart from one that merely learns slowly."""

from __future__ import annotations

from dataclasses import dataclass

# Losses are compared as means over so many steps, so that one hard batch is no alarm.
WINDOW_STEPS = 50
# A window's mean above the best one's by this factor, and above the first one's by the other, is divergence.
ABOVE_BEST = 1.5
ABOVE_FIRST = 1.1


@dataclass
class LossWatch:
    """Watches the loss of a training, step by step (our decision; the sources give no rule).

    A loss that is not a number is another fault, told at once. This one is for losses that stay finite and climb:
    the mean of a window is both above that of the best window and above that of the first, before anything was
    learned. A training that learns nothing is never flagged.

    Args:
        first: Mean of the first window; None before it is full.
        best: Least mean of a window so far; None likewise.
        sum: Of the losses of the window under way.
        count: Of its steps.
    """

    first: float | None = None
    best: float | None = None
    sum: float = 0.0
    count: int = 0

    def has_climbed(self, loss: float) -> bool:
        """Take the loss of one more step in; True when the window that it fills has diverged."""
        self.sum, self.count = self.sum + loss, self.count + 1
        if self.count < WINDOW_STEPS:
            return False
        mean, self.sum, self.count = self.sum / self.count, 0.0, 0
        if self.first is None or self.best is None:
            self.first = self.best = mean
            return False
        diverged = mean > ABOVE_BEST * self.best and mean > ABOVE_FIRST * self.first
        self.best = min(self.best, mean)
        return diverged

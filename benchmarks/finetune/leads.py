"""What methods answer rightly, and how far one is ahead of another over several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bort_kedro.reporting.markdown import percent

AGORA = "agora"
# Standard errors of the true lead that four comparisons of five tell from none, where two are asked of a found one.
POWER = 2 + 0.84


@dataclass(frozen=True)
class Lead:
    """A difference of accuracies.

    Args:
        by_seed: Each seed against the same seed.
        examples_error: Standard error over the test examples, where all seeds have the same ones; where each draws its
            own, theirs is part of that over the seeds.
    """

    by_seed: tuple[float, ...]
    examples_error: float = 0.0

    @property
    def value(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.by_seed))

    @property
    def error(self) -> float:
        """Standard error of the mean, over seeds and examples as if these were independent."""
        return float(np.hypot(np.std(self.by_seed, ddof=1) / np.sqrt(len(self.by_seed)), self.examples_error))

    @property
    def is_above_noise(self) -> bool:
        """More than two standard errors above zero."""
        return self.value > 2 * self.error

    @property
    def smallest_seen(self) -> float:
        """The true lead that would be found above noise four times of five."""
        return POWER * self.error


def right_on_test(predictions: pd.DataFrame) -> np.ndarray:
    """(N,) whether each test example is answered rightly."""
    test = predictions[predictions["split"] == "test"]
    return (test["label"] == test["prediction"]).to_numpy()


def over_seeds(shares: Sequence[float]) -> str:
    """Their mean as a percentage, with its standard error where there are several."""
    error = np.std(shares, ddof=1) / np.sqrt(len(shares)) if len(shares) > 1 else float("nan")
    return percent(float(np.mean(shares)), float(error))


def lead_over(
    rival: str, found: Sequence[Mapping[str, np.ndarray]], *, ours: str = AGORA, same_examples: bool = False
) -> Lead:
    """Of one method over another.

    Args:
        rival: The other.
        found: By seed, and by method, (N,) whether each test example is answered rightly.
        ours: The one.
        same_examples: Whether all seeds are tested on the same ones; then each is paired with itself.
    """
    by_seed = tuple(float(each[ours].mean() - each[rival].mean()) for each in found)
    if not same_examples:
        return Lead(by_seed)
    by_example = np.mean([each[ours].astype(float) - each[rival] for each in found], axis=0)
    return Lead(by_seed, float(by_example.std(ddof=1) / np.sqrt(len(by_example))))

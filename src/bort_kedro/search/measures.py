"""The measures of an error that W may take, and how pages name them."""

from __future__ import annotations

from typing import NamedTuple


class Measure(NamedTuple):
    """What one of them is.

    Attributes:
        label: In words.
        unit: ``%`` for a share, else as it is measured.
    """

    label: str
    unit: str

    @property
    def scale(self) -> float:
        """From a value to its number in that unit."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def title(self) -> str:
        """Of an axis."""
        return f"{self.label}, {self.unit}" if self.unit else self.label


# By the column of the candidate table, the standard error's being `<name>_standard_error`. The first two are measured
# of every training, another where it is asked for.
MEASURES = {
    "error": Measure("share of hidden tokens guessed wrong", "%"),
    "loss": Measure("masked-LM loss on held-out text", "nats"),
    "divergence": Measure("cross-entropy against T on held-out text", "nats"),
}
ALWAYS_MEASURED = ("error", "loss")


def measured_with(measure: str) -> tuple[str, ...]:
    """Names of all that is measured of a training where W takes this."""
    return tuple(dict.fromkeys((*ALWAYS_MEASURED, measure)))

"""The measures of an error that W may take, and how pages name them."""

from __future__ import annotations

from typing import NamedTuple


class Measure(NamedTuple):
    """What one of them is.

    Attributes:
        label: In words.
        unit: ``%`` for a share, else as it is measured.
        column: Of the candidate table, the standard error's being ``<column>_standard_error``.
    """

    label: str
    unit: str
    column: str

    @property
    def scale(self) -> float:
        """From a value to its number in that unit."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def title(self) -> str:
        """Of an axis."""
        return f"{self.label}, {self.unit}" if self.unit else self.label


# By name. Where tokens are predicted the first two are measured of every training, and the third where it is asked for;
# where none are, the distance is all there is, and stands in the place of the error.
MEASURES = {
    "error": Measure("share of hidden tokens guessed wrong", "%", "error"),
    "loss": Measure("masked-LM loss on held-out text", "nats", "loss"),
    "divergence": Measure("cross-entropy against T on held-out text", "nats", "divergence"),
    "distance": Measure("distance from T on held-out text", "nats", "error"),
}
# Columns that a candidate table may have beside that of the error.
BESIDE_ERROR = {name: measure for name, measure in MEASURES.items() if measure.column != "error"}


def measured_with(measure: str) -> tuple[str, ...]:
    """Columns of all that is measured of a training where W takes this."""
    return ("error",) if measure == "distance" else tuple(dict.fromkeys(("error", "loss", measure)))

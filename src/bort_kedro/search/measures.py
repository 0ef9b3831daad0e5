"""The measures of an error that W may take, and how pages name them."""

from collections.abc import Mapping
from typing import NamedTuple


class Measure(NamedTuple):
    """What one of them is.

    Attributes:
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
# of the others nothing hidden is guessed, and what they are stands in the place of the error.
MEASURES = {
    "error": Measure("share of hidden tokens guessed wrong", "%", "error"),
    "loss": Measure("masked-LM loss on held-out text", "nats", "loss"),
    "divergence": Measure("cross-entropy against T on held-out text", "nats", "divergence"),
    "distance": Measure("distance from T on held-out text", "nats", "error"),
    "task": Measure("error on the task, 1 - its score on dev after a short fine-tuning", "", "error"),
}
# Columns that a candidate table may have beside that of the error.
BESIDE_ERROR = {name: measure for name, measure in MEASURES.items() if measure.column != "error"}


def guesses_tokens(measure: str) -> bool:
    """Whether it is told by hidden tokens, as an error that is a share of them is."""
    return measure not in ("distance", "task")


# Baselines, which no text is looked at for, by name; the first of those there are bounds the plateau.
BASELINES = {
    "unigram": "the most frequent token",
    "constant": "the best constant answer",
    "bigram": "the most frequent follower",
}


def plateau_error(baseline_errors: Mapping[str, float]) -> float | None:
    """That of the baseline which a candidate must beat to be ranked; None where there is none."""
    return next((baseline_errors[name] for name in BASELINES if name in baseline_errors), None)


def measured_with(measure: str) -> tuple[str, ...]:
    """Columns of all that is measured of a training where W takes this."""
    return tuple(dict.fromkeys(("error", "loss", measure))) if guesses_tokens(measure) else ("error",)

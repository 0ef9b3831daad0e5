"""What the inference benchmark times, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.configured import DEFAULT_CHOICE
from bort_kedro.encoders.shapes import KNOWN_SHAPES, BertShape
from bort_kedro.latency.conditions import CHOSEN

MAX_POSITIONS = 512
# A system that is matrix products and nothing else.
PRODUCTS = "products"


@dataclass(frozen=True)
class Setting:
    """What is timed, and in which rounds.

    Args:
        vocabulary_size: V of all encoders.
        sequence_length: Tokens of the one sequence of a pass in the runtimes.
        num_threads: Of such a pass.
        warmup_rounds: As `latency.measure.measure_latency` takes them, with those below.
        timed_rounds: Likewise.
        turn_ms: Likewise.
        shapes: By their keys in `KNOWN_SHAPES`.
        chosen: Beside these, that of `make run`.
    """

    vocabulary_size: int = 50_265
    sequence_length: int = 128
    num_threads: int = 1
    warmup_rounds: int = 1
    timed_rounds: int = 6
    turn_ms: float = 50.0
    shapes: Mapping[str, BertShape] = field(
        default_factory=lambda: {key: known.shape for key, known in KNOWN_SHAPES.items()}
    )
    chosen: BertShape = DEFAULT_CHOICE

    def shape_of(self, key: str) -> BertShape:
        """Of an encoder; the products are those of BERT-large's layers."""
        return self.chosen if key == CHOSEN else self.shapes["bert_large" if key == PRODUCTS else key]


def title_of(key: str) -> str:
    """For readers."""
    own = {CHOSEN: f"choice of `make run` {DEFAULT_CHOICE}", PRODUCTS: "matrix products of BERT-large"}
    return own[key] if key in own else KNOWN_SHAPES[key].title

"""What the inference benchmark times, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bort_kedro.encoders.shapes import KNOWN_SHAPES, BertShape

MAX_POSITIONS = 512


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

"""Parameters of the evaluate stage."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from bort_kedro.core.shapes import KNOWN_SHAPES
from bort_kedro.params.base import FrozenModel, LatencyParams


class SpeedParams(LatencyParams):
    """The chosen shape timed next to encoders people know, all without a head."""

    compare_with: tuple[str, ...] = Field(description="Known shapes timed beside the chosen one, by key.")
    turn_ms: float = Field(ge=0, description="Milliseconds a shape keeps the machine each round; fast ones pass often.")
    vocabulary_size: int = Field(gt=0, description="Rows of every word-embedding table, for time and counts.")
    max_positions: int = Field(gt=0, description="Rows of every position table, for counts.")

    @field_validator("compare_with")
    @classmethod
    def _shapes_are_known(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [key for key in keys if key not in KNOWN_SHAPES]
        if unknown or len(set(keys)) < len(keys):
            raise ValueError(
                f"compare_with is {list(keys)}, allowed are different keys out of {', '.join(KNOWN_SHAPES)}"
            )
        return keys

    @model_validator(mode="after")
    def _sequence_fits_positions(self) -> Self:
        if self.sequence_length > self.max_positions:
            raise ValueError(
                f"sequence_length {self.sequence_length} is over max_positions {self.max_positions}; set "
                f"it to at most {self.max_positions}, or raise max_positions"
            )
        return self


class EvaluateParams(FrozenModel):
    """Evaluate: scores need no choice, speed does."""

    speed: SpeedParams

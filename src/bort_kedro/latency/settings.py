"""What is timed, how long and on what, as parameters say it."""

from typing import Self

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from bort_kedro.encoders.shapes import KNOWN_SHAPES
from bort_kedro.frozen import FrozenModel


class LatencySettings(FrozenModel):
    """How long, and on what, shapes are timed."""

    batch_size: int = Field(gt=0, description="Sequences per forward pass.")
    sequence_length: int = Field(gt=0, description="Tokens per sequence, no padding.")
    warmup_rounds: int = Field(ge=1, description="Passes of each shape run and thrown away first.")
    timed_rounds: int = Field(ge=3, description="Passes of each shape kept; the median is reported.")
    num_threads: int = Field(gt=0, description="CPU threads while timing.")


class SpeedSettings(FrozenModel):
    """The chosen shape timed next to encoders people know, under every combination of the conditions."""

    compare_with: tuple[str, ...] = Field(description="Known shapes timed beside the chosen one, by key.")
    batch_sizes: tuple[PositiveInt, ...] = Field(
        min_length=1, description="Sequences per pass; the report tells of the first, as of the two lists below."
    )
    sequence_lengths: tuple[PositiveInt, ...] = Field(min_length=1, description="Tokens per sequence, no padding.")
    num_threads: tuple[PositiveInt, ...] = Field(min_length=1, description="CPU threads while timing.")
    with_head: bool = Field(description="Whether each is also timed with a masked-LM head over all positions.")
    warmup_rounds: int = Field(ge=1, description="Turns of each shape run and thrown away first.")
    timed_rounds: int = Field(ge=6, description="Turns of each shape kept; fewer than 6 give no interval of a median.")
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

    @field_validator("batch_sizes", "sequence_lengths", "num_threads")
    @classmethod
    def _values_differ(cls, values: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if len(set(values)) < len(values):
            raise ValueError(f"{info.field_name} is {list(values)}, allowed are different numbers")
        return values

    @model_validator(mode="after")
    def _sequences_fit_positions(self) -> Self:
        if max(self.sequence_lengths) > self.max_positions:
            raise ValueError(
                f"sequence_lengths holds {max(self.sequence_lengths)}, which is over max_positions "
                f"{self.max_positions}; set it to at most {self.max_positions}, or raise max_positions"
            )
        return self

"""Parameters of the evaluate stage."""

from __future__ import annotations

from typing import Self

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from bort_kedro.encoders.shapes import KNOWN_SHAPES
from bort_kedro.exports.formats import PACKAGES
from bort_kedro.frozen import FrozenModel
from bort_kedro.params.base import LatencyParams


class SpeedParams(FrozenModel):
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


class CardParams(FrozenModel):
    """What the model cards say that no data does."""

    language: tuple[str, ...] = Field(description="Codes of ISO 639 of the texts' languages; empty: not stated.")
    license: str | None = Field(description="Of the models, as the hub spells it (apache-2.0); null: not stated.")
    encoder_repository: str | None = Field(
        description="Hub id under which the pretrained encoder is found; fine-tuned models name it as their base."
    )

    @field_validator("language")
    @classmethod
    def _languages_are_codes(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [code for code in codes if not (code.isalpha() and code.islower() and len(code) in (2, 3))]
        if unknown:
            raise ValueError(f"language holds {unknown}, allowed are codes of two or three small letters such as en")
        return codes


class BootstrapParams(FrozenModel):
    """The intervals of task scores."""

    level: float = Field(gt=0, lt=1, description="Share of the resampled scores that lie within the interval.")
    num_resamples: int = Field(ge=100, description="Of the test examples, with replacement.")
    seed: int = Field(ge=0, description="Of the resamples.")


class ExportParams(LatencyParams):
    """The fine-tuned models written for other runtimes, each held against PyTorch."""

    formats: tuple[str, ...] = Field(description="Runtimes, by key; empty: safetensors for PyTorch alone.")
    tolerance: float = Field(gt=0, description="Largest difference of a logit in fp32; beyond it an export is refused.")
    allowed_drop: float = Field(ge=0, description="Of the task's first metric on test, from PyTorch to the export.")
    refuse: bool = Field(description="Whether an export that drops more is left out; false keeps it with a warning.")
    num_calibration: int = Field(gt=0, description="Texts of the corpus that static int8 is calibrated on.")
    num_checked: int = Field(gt=0, description="Examples of test whose logits are compared with PyTorch's.")
    seed: int = Field(ge=0, description="Of the texts and examples drawn.")

    @field_validator("formats")
    @classmethod
    def _formats_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in PACKAGES]
        if unknown or len(set(names)) < len(names):
            raise ValueError(f"formats is {list(names)}, allowed are different keys out of {', '.join(PACKAGES)}")
        return names


class EvaluateParams(FrozenModel):
    """Evaluate: scores need no choice, speed does."""

    speed: SpeedParams
    card: CardParams
    bootstrap: BootstrapParams
    export: ExportParams

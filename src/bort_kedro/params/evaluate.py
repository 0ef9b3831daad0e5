"""Parameters of the evaluate stage."""

from __future__ import annotations

from pydantic import Field, field_validator

from bort_kedro.exports.formats import PACKAGES
from bort_kedro.frozen import FrozenModel
from bort_kedro.latency.settings import LatencySettings, SpeedSettings


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


class ExportParams(LatencySettings):
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

    speed: SpeedSettings
    card: CardParams
    bootstrap: BootstrapParams
    export: ExportParams

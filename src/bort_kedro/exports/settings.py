"""How models are exported and checked, as parameters say it."""

from pydantic import Field, field_validator

from bort_kedro.exports.formats import FORMATS
from bort_kedro.latency.settings import LatencySettings


class ExportSettings(LatencySettings):
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
        unknown = [name for name in names if name not in FORMATS]
        if unknown or len(set(names)) < len(names):
            raise ValueError(f"formats is {list(names)}, allowed are different keys out of {', '.join(FORMATS)}")
        return names

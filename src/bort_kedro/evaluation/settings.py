"""How sure a score is told to be, as parameters say it."""

from pydantic import Field

from bort_kedro.frozen import FrozenModel


class BootstrapSettings(FrozenModel):
    """The intervals of task scores."""

    level: float = Field(gt=0, lt=1, description="Share of the resampled scores that lie within the interval.")
    num_resamples: int = Field(ge=100, description="Of the test examples, with replacement.")
    seed: int = Field(ge=0, description="Of the resamples.")

"""How new points are made and how Agora goes, as parameters say it."""

from typing import Literal

from pydantic import Field, field_validator

from bort_kedro.agora.word_transformations import WORD_TRANSFORMATIONS
from bort_kedro.frozen import FrozenModel

MASKED_LM = "masked_lm"
TRANSFORMATIONS = (MASKED_LM, *WORD_TRANSFORMATIONS)
# Examples of dev that must be recorded where dev has more: at the bar of two labels the standard error of a score is
# 4.7 points then.
LEAST_DEV = 100


class TransformationSettings(FrozenModel):
    """tau: how a text becomes a similar one."""

    weights: dict[str, float] = Field(description="How often each is drawn, in proportion; those left out never are.")
    changed_share: float = Field(gt=0, lt=1, description="Share of the words that change.")
    temperature: float = Field(gt=0, description="Of the masked-LM head's distribution.")
    top_k: int = Field(gt=0, description="Likeliest tokens that a replacement is drawn from.")
    batch_tokens: int = Field(ge=8, description="Padded tokens of a batch of the masked-LM encoder.")
    max_tokens: int = Field(ge=8, description="Of a text that it sees; words further on stay.")

    @property
    def replaces_words(self) -> bool:
        """Whether it takes a masked-LM head."""
        return self.weights.get(MASKED_LM, 0.0) > 0

    @field_validator("weights")
    @classmethod
    def _something_is_drawn(cls, weights: dict[str, float]) -> dict[str, float]:
        is_known = set(weights) <= set(TRANSFORMATIONS)
        if not is_known or min(weights.values(), default=0) < 0 or not sum(weights.values()):
            raise ValueError(
                f"weights is {weights}, allowed are {', '.join(TRANSFORMATIONS)}, none below 0 and one at least above "
                "it"
            )
        return weights


class PointSettings(FrozenModel):
    """How points are made."""

    points_per_mistake: int = Field(gt=0, description="New points made of each mistake on dev.")
    max_points_share: float = Field(gt=0, description="Points of a round, at most, as a share of the train split.")
    max_overlap: float = Field(
        gt=0, le=1, description="Points that share this much of their word n-grams with one of dev or test are copies."
    )
    ngram_words: int = Field(gt=0, description="Words of an n-gram of that check.")
    teacher_labels: Literal["hard", "soft"] = Field(description="The likeliest label, as published, or all beliefs.")


class AgoraSettings(PointSettings):
    """Agora: learn from a teacher where the student errs."""

    seed: int = Field(ge=0, description="Of the points.")
    max_replays: int = Field(ge=0, description="Rounds that may be repeated with other points, in all.")
    distillation_share: float = Field(
        ge=0, le=1, description="Of the rival `distilled`: weight of the teacher's beliefs beside the labels."
    )
    transformation: TransformationSettings

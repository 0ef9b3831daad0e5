"""Shapes of encoders and where their weights begin, as parameters say it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bort_kedro.encoders.shapes import BertShape, head_remainder
from bort_kedro.frozen import FrozenModel


class ShapeSettings(FrozenModel):
    """One BERT shape (D, A, H, I)."""

    num_hidden_layers: int = Field(ge=1, description="Layers, D.")
    num_attention_heads: int = Field(ge=1, description="Attention heads of each layer, A.")
    hidden_size: int = Field(ge=1, description="Numbers that stand for a token between layers, H; the heads divide it.")
    intermediate_size: int = Field(ge=1, description="Numbers inside the feed-forward part of a layer, I.")

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if remainder := head_remainder(self.hidden_size, self.num_attention_heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} leaves a remainder of {remainder} when split over "
                f"{self.num_attention_heads} heads"
            )
        return self

    def __str__(self) -> str:
        return str(self.to_shape())

    def to_shape(self) -> BertShape:
        """As the value that is computed with."""
        return BertShape(**self.model_dump())


class StudentStartSettings(FrozenModel):
    """Where the student's weights begin."""

    source: Literal["random", "teacher", "candidate", "checkpoint"] = Field(
        description="What the first weights are taken from; candidate is the end of the chosen shape's short training."
    )
    checkpoint: str | None = Field(description="Hub id or folder of a BERT of the selected shape.")
    teacher_layers: tuple[int, ...] | None = Field(
        description="Of the teacher, from 0, one for each of the student; null spreads them evenly."
    )
    narrowing: Literal["truncation", "svd"] = Field(description="How the teacher's widths become the student's.")

    @model_validator(mode="after")
    def _checkpoint_is_named(self) -> Self:
        if (self.source == "checkpoint") != (self.checkpoint is not None):
            raise ValueError(
                f"source is {self.source} and checkpoint is {self.checkpoint}; a checkpoint is named where source is "
                "checkpoint, and only there"
            )
        return self

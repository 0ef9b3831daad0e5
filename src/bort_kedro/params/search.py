"""Parameters of the search stage."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bort_kedro.core.shapes import BertShape, head_remainder
from bort_kedro.core.strategies import STRATEGIES
from bort_kedro.params.base import FrozenModel, LatencyParams, MaskedLmParams


class ShapeParams(FrozenModel):
    """One BERT shape (D, A, H, I)."""

    num_hidden_layers: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    intermediate_size: int = Field(ge=1)

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if remainder := head_remainder(self.hidden_size, self.num_attention_heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} leaves a remainder of {remainder} when split over "
                f"{self.num_attention_heads} heads"
            )
        return self

    def to_shape(self) -> BertShape:
        """As the value `core` computes with."""
        return BertShape(**self.model_dump())


class SpaceParams(FrozenModel):
    """Lists whose every combination is a candidate."""

    num_hidden_layers: tuple[int, ...] = Field(min_length=1)
    num_attention_heads: tuple[int, ...] = Field(min_length=1)
    hidden_size: tuple[int, ...] = Field(min_length=1)
    intermediate_size: tuple[int, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _something_can_be_built(self) -> Self:
        for name, values in self.model_dump().items():
            if min(values) < 1 or len(set(values)) < len(values):
                raise ValueError(f"{name} is {list(values)}, allowed are different integers from 1 up")
        if all(head_remainder(h, a) for h in self.hidden_size for a in self.num_attention_heads):
            raise ValueError(
                f"no number of heads in {list(self.num_attention_heads)} divides a hidden_size in "
                f"{list(self.hidden_size)}, so no candidate can be built"
            )
        return self


class SearchParams(FrozenModel):
    """Optimal subarchitecture extraction."""

    space: SpaceParams
    maximum_point: ShapeParams = Field(description="T: larger than every candidate.")
    strategy: str = Field(description="Which candidates are trained.")
    interval: int = Field(gt=0, description="Candidates per interval of the ordered space (fptas).")
    error_measure: Literal["error", "loss"] = Field(
        description="What W takes as the error: the share of hidden tokens guessed wrong, or the masked-LM loss."
    )
    training: MaskedLmParams = Field(description="The short training of T and of every candidate.")
    maximum_point_learning_rate: float = Field(gt=0, description="T's own peak: wide encoders need a lower one.")
    maximum_point_threads: int = Field(gt=0, description="CPU threads while training T, which trains alone.")
    engine: Literal["loky", "sequential"] = Field(
        description="joblib's way to run candidates: in processes, or one after the other in this one."
    )
    num_workers: int = Field(gt=0, description="Candidates trained at a time.")
    latency: LatencyParams

    @model_validator(mode="after")
    def _strategy_is_known(self) -> Self:
        if self.strategy not in STRATEGIES:
            raise ValueError(f"strategy is `{self.strategy}`, allowed are {', '.join(STRATEGIES)}")
        return self

    @model_validator(mode="after")
    def _maximum_point_is_largest(self) -> Self:
        for name, largest in self.maximum_point.model_dump().items():
            if name != "num_attention_heads" and largest < max(getattr(self.space, name)):
                raise ValueError(
                    f"maximum_point.{name} is {largest}, below the space's largest {max(getattr(self.space, name))}; "
                    "the maximum point must be larger than every candidate"
                )
        return self

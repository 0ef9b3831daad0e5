"""How text becomes blocks of tokens, as parameters say it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bort_kedro.frozen import FrozenModel


class TokenizerSettings(FrozenModel):
    """Where the tokenizer comes from."""

    pretrained: str | None = Field(
        description="Hub id or folder to open; null trains one, where search.maximum_point is no encoder."
    )
    vocabulary_size: int = Field(gt=261, description="Ids of a trained tokenizer; 261 are bytes and specials.")
    min_count: int | None = Field(
        ge=1, description="Drop ids that occur less often in the training split; null keeps all."
    )


class SplitShares(FrozenModel):
    """Shares of the documents kept out of training; the rest is the training split."""

    validation: float = Field(gt=0, lt=1, description="Measured by the search and while pretraining.")
    test: float = Field(gt=0, lt=1, description="Measured once, at the end of pretraining.")
    tasks: float = Field(ge=0, lt=1, description="Raw material of the built-in tasks.")

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.validation + self.test + self.tasks >= 1:
            raise ValueError(
                f"validation + test + tasks is {self.validation + self.test + self.tasks:g}; it must stay below "
                "1, the rest is what training sees"
            )
        return self


Packing = Literal["documents", "joined", "full"]


class CorpusSettings(FrozenModel):
    """From text to token blocks."""

    seed: int = Field(ge=0, description="Of the division of documents.")
    splits: SplitShares
    tokenizer: TokenizerSettings
    sequence_length: int = Field(ge=8, description="Tokens of a block, the two special ones included.")
    packing: Packing = Field(
        description="documents: a block holds a piece of one; joined: as many pieces as fit, attention inside each; "
        "full: documents run on from block to block, attention over all of a block, so that none is padded."
    )
    max_positions: int = Field(ge=8, description="Position embeddings of every encoder trained on it.")

    @model_validator(mode="after")
    def _blocks_fit_positions(self) -> Self:
        if self.sequence_length > self.max_positions:
            raise ValueError(
                f"sequence_length {self.sequence_length} is over max_positions {self.max_positions}: an encoder "
                f"has no embedding for the positions beyond. Set sequence_length to at most {self.max_positions}, "
                "or raise max_positions"
            )
        return self

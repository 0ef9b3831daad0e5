"""What no data says of a model, as parameters say it."""

from pydantic import Field, field_validator

from bort_kedro.frozen import FrozenModel


class CardSettings(FrozenModel):
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

"""Values that are checked once and never change: settings of the rooms, and the records that pass between stages."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict

# Names to numbers, texts, truth values, None, lists and objects of these, as JSON and YAML have them.
JsonObject = dict[str, Any]
# A row of a table: cells by the names of their columns.
TableRow = Mapping[str, Any]


def as_written(value: object) -> str:
    """The text of what YAML read: a whole number as it is, but never what it made of a word."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(
            "expected a text; put it in quotes, without which YAML reads no, yes, 1.0, ~ and dates as something else"
        )
    return str(value).strip()


Written = Annotated[str, BeforeValidator(as_written)]


class FrozenModel(BaseModel):
    """Base of settings and records: frozen, and refusing what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> JsonObject:
        """As JSON has it; `from_json` gives an equal value back."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """The value that `to_json` wrote.

        Raises:
            pydantic.ValidationError: If something is missing, of another type, or not known.
        """
        return cls.model_validate(value)

    def changed(self, **values: object) -> Self:
        """A copy with other values of some fields.

        Raises:
            pydantic.ValidationError: As for a new one.
        """
        return type(self).model_validate(dict(self) | values)

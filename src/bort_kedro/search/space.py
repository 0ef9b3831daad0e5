"""The candidates as parameters say them, their shapes in a fixed order, and the space that T itself suggests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from bort_kedro.encoders.settings import ShapeSettings
from bort_kedro.encoders.shapes import SHAPE_COLUMNS, BertShape, head_remainder
from bort_kedro.errors import ConfigurationError
from bort_kedro.frozen import FrozenModel, JsonObject

if TYPE_CHECKING:
    from bort_kedro.search.settings import SearchSettings

# The sizes (D, A, H, I) of a combination, which need not be one to build.
Four = tuple[int, int, int, int]
# Forms of a parameter. They are part of the place of a fault, and of no parameter's name.
LIST, RULE = "<list>", "<rule>"


def _form(value: Any) -> str:
    """Which one a value has that is not checked yet."""
    return RULE if isinstance(value, Mapping | FrozenModel) else LIST


def _all_different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
    if twice is not None:
        raise ValueError(f"{twice} stands there twice, allowed are different ones")
    return values


def _four_sizes(value: Any) -> Any:
    """The sizes by their names, of a shape that is written as a list."""
    if isinstance(value, Mapping | FrozenModel):
        return value
    if not isinstance(value, list | tuple) or len(value) != len(SHAPE_COLUMNS):
        raise ValueError(f"a shape has four sizes: [{', '.join(SHAPE_COLUMNS)}]")
    return dict(zip(SHAPE_COLUMNS, value, strict=True))


Size = Annotated[int, Field(ge=1)]
Sizes = Annotated[tuple[Size, ...], Field(min_length=1), AfterValidator(_all_different)]


class HeadSize(FrozenModel):
    """As many heads as make each this wide."""

    head_size: Size = Field(description="Width of a head; it divides every hidden size.")


class TimesHiddenSize(FrozenModel):
    """Sizes that follow the hidden size."""

    times_hidden_size: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1), AfterValidator(_all_different)
    ] = Field(description="Each times the hidden size, which gives whole numbers.")


def _beside(hidden: int, sizes: tuple[int, ...] | HeadSize | TimesHiddenSize) -> tuple[int, ...]:
    """The sizes that go with a hidden size."""
    if isinstance(sizes, HeadSize):
        return (hidden // sizes.head_size,)
    if isinstance(sizes, TimesHiddenSize):
        return tuple(round(hidden * times) for times in sizes.times_hidden_size)
    return sizes


class LeftOut(FrozenModel):
    """Combinations that are no candidates: all that have each of the sizes given here."""

    num_hidden_layers: int | None = Field(default=None, description="Layers of what is left out; null is any number.")
    num_attention_heads: int | None = Field(default=None, description="Its heads, likewise.")
    hidden_size: int | None = Field(default=None, description="Its hidden size, likewise.")
    intermediate_size: int | None = Field(default=None, description="Its intermediate size, likewise.")

    def __str__(self) -> str:
        return f"{{{', '.join(f'{name}: {size}' for name, size in self.model_dump(exclude_none=True).items())}}}"

    def matches(self, sizes: Four) -> bool:
        """Whether a combination has all sizes that are given."""
        return all(given in (None, size) for given, size in zip(vars(self).values(), sizes, strict=True))


class SpaceSettings(FrozenModel):
    """Sizes whose every combination is a candidate, but for those left out."""

    num_hidden_layers: Sizes = Field(description="A list.")
    num_attention_heads: Annotated[
        Annotated[Sizes, Tag(LIST)] | Annotated[HeadSize, Tag(RULE)], Discriminator(_form)
    ] = Field(description="A list, or {head_size: 64}.")
    hidden_size: Sizes = Field(description="A list.")
    intermediate_size: Annotated[
        Annotated[Sizes, Tag(LIST)] | Annotated[TimesHiddenSize, Tag(RULE)], Discriminator(_form)
    ] = Field(description="A list, or {times_hidden_size: [2, 4]}.")
    without: tuple[LeftOut, ...] = Field(
        default=(), description="Combinations left out, such as [{num_hidden_layers: 1, hidden_size: 160}]."
    )

    def combinations(self) -> list[Four]:
        """Every one (D, A, H, I), those left out and those that cannot be built too, in the order of the lists."""
        placed = [
            ((d, a, h, i), (depth, heads, hidden, wide))
            for d, depth in enumerate(self.num_hidden_layers)
            for h, hidden in enumerate(self.hidden_size)
            for a, heads in enumerate(_beside(hidden, self.num_attention_heads))
            for i, wide in enumerate(_beside(hidden, self.intermediate_size))
        ]
        return [sizes for _, sizes in sorted(placed)]

    @model_validator(mode="after")
    def _rules_give_sizes(self) -> Self:
        heads, wide = self.num_attention_heads, self.intermediate_size
        for hidden in self.hidden_size:
            if isinstance(heads, HeadSize) and hidden % heads.head_size:
                raise ValueError(
                    f"hidden_size {hidden} cannot be split into heads of size {heads.head_size}, allowed are its "
                    "multiples"
                )
            for times in wide.times_hidden_size if isinstance(wide, TimesHiddenSize) else ():
                if not (hidden * times).is_integer():
                    raise ValueError(
                        f"intermediate_size is {times:g} times hidden_size {hidden}, which is {hidden * times:g}; "
                        "allowed is what gives whole numbers"
                    )
        return self

    @model_validator(mode="after")
    def _what_is_left_out_was_there(self) -> Self:
        combinations = self.combinations()
        for number, left_out in enumerate(self.without):
            if not left_out.model_dump(exclude_none=True):
                raise ValueError(
                    f"without.{number} gives no size; allowed are one or more of {', '.join(SHAPE_COLUMNS)}"
                )
            if not any(left_out.matches(sizes) for sizes in combinations):
                raise ValueError(
                    f"without.{number} is {left_out}, and no combination of the space has these sizes; allowed are "
                    "sizes of the space"
                )
        return self

    @model_validator(mode="after")
    def _something_can_be_built(self) -> Self:
        if enumerate_shapes(self).shapes:
            return self
        heads = self.num_attention_heads
        if not isinstance(heads, HeadSize) and all(head_remainder(h, a) for h in self.hidden_size for a in heads):
            raise ValueError(
                f"no number of heads in {list(heads)} divides a hidden_size in {list(self.hidden_size)}, so no "
                "candidate can be built"
            )
        raise ValueError("without leaves out every candidate that can be built; allowed is what leaves one or more")


# Shapes, each as the list of its four sizes.
Listed = Annotated[ShapeSettings, BeforeValidator(_four_sizes)]
Shapes = Annotated[tuple[Listed, ...], AfterValidator(_all_different)]
# The candidates as combinations of sizes, or each as the list of its four. A list takes the place of the combinations
# of another environment, into which a key beside theirs would be merged.
Space = Annotated[
    Annotated[SpaceSettings, Tag(RULE)]
    | Annotated[tuple[Listed, ...], Field(min_length=1), AfterValidator(_all_different), Tag(LIST)],
    Discriminator(_form),
]


@dataclass(frozen=True)
class SearchSpace:
    """The shapes that can be built, and the tuples (D, A, H, I) that cannot.

    Args:
        shapes: In the order of the lists, depth slowest; those added come last.
    """

    shapes: tuple[BertShape, ...]
    invalid: tuple[Four, ...]


def enumerate_shapes(space: Space, *, added: Shapes = ()) -> SearchSpace:
    """Every shape of a list, or every combination (Xi in the paper) that is not left out, and those added to them."""
    more = tuple(shape.to_shape() for shape in added)
    if not isinstance(space, SpaceSettings):
        return SearchSpace(tuple(dict.fromkeys((*(shape.to_shape() for shape in space), *more))), ())
    kept = [sizes for sizes in space.combinations() if not any(left_out.matches(sizes) for left_out in space.without)]
    built = tuple(BertShape(*sizes) for sizes in kept if not head_remainder(sizes[2], sizes[1]))
    return SearchSpace(
        tuple(dict.fromkeys((*built, *more))), tuple(sizes for sizes in kept if head_remainder(sizes[2], sizes[1]))
    )


def require_contained(space: Space, maximum: BertShape, whose: str = "the space's") -> None:
    """Refuse a space that T does not contain. A candidate of its own size is allowed: it has no W, and is never chosen.

    Raises:
        ValueError: Names the first size that is too large.
    """
    shapes = enumerate_shapes(space).shapes
    for name, largest in maximum.to_row().items():
        if largest < (needed := max((getattr(shape, name) for shape in shapes), default=0)):
            raise ValueError(
                f"maximum_point.{name} is {largest}, below {whose} largest {needed}; the maximum point must be at "
                "least as large as every candidate"
            )


# Shares of T's sizes that make up the space where none is stated.
PARTS = {
    "num_hidden_layers": (Fraction(1, 3), Fraction(1, 2), Fraction(2, 3), Fraction(1)),
    "num_attention_heads": (Fraction(1, 2), Fraction(1)),
    "hidden_size": (Fraction(1, 2), Fraction(3, 4), Fraction(1)),
    "intermediate_size": (Fraction(1, 4), Fraction(1, 2), Fraction(1)),
}


def parts_of(maximum: BertShape) -> SpaceSettings:
    """The space of T's own parts: up to 71 shapes, and T itself where it has no other."""
    sizes = maximum.to_row()
    parts = {name: tuple(sorted({max(1, int(sizes[name] * share)) for share in of})) for name, of in PARTS.items()}
    has_others = any(len(of) > 1 for of in parts.values())
    return SpaceSettings.model_validate({**parts, "without": [sizes] if has_others else []})


def space_within(search: SearchSettings, maximum: BertShape) -> Space:
    """The space that is stated, or T's own parts where none is.

    Raises:
        ConfigurationError: If T does not contain it, which is known of an opened T only now.
    """
    space = parts_of(maximum) if search.space is None else search.space
    try:
        require_contained(space, maximum)
        require_contained(search.always_train, maximum, "search.always_train's")
    except ValueError as fault:
        raise ConfigurationError(
            f"The encoder `{search.maximum_point}` cannot be the maximum point: {fault}. Change params:search.space "
            "(null takes parts of the encoder's own sizes), params:search.always_train, or params:search.maximum_point."
        ) from fault
    return space


def shape_of_maximum(search: SearchSettings, opened: JsonObject | None) -> BertShape:
    """Of T: as stated, or as the configuration of an encoder that was opened has it."""
    return search.stated_maximum() if opened is None else BertShape.from_row(opened)

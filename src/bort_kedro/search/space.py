"""The shapes of a space in a fixed order, those that cannot be built, and the space that T itself suggests."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from bort_kedro.encoders.shapes import BertShape, head_remainder
from bort_kedro.errors import ConfigurationError
from bort_kedro.frozen import JsonObject
from bort_kedro.search.settings import SearchSettings, SpaceSettings, require_contained


@dataclass(frozen=True)
class SearchSpace:
    """The shapes that can be built, and the tuples (D, A, H, I) that cannot.

    Args:
        shapes: In the order of the lists, depth slowest.
        invalid: Tuples whose hidden size the heads do not divide.
    """

    shapes: tuple[BertShape, ...]
    invalid: tuple[tuple[int, int, int, int], ...]


# Shares of T's sizes that make up the space where none is stated.
PARTS = {
    "num_hidden_layers": (Fraction(1, 3), Fraction(1, 2), Fraction(2, 3), Fraction(1)),
    "num_attention_heads": (Fraction(1, 2), Fraction(1)),
    "hidden_size": (Fraction(1, 2), Fraction(3, 4), Fraction(1)),
    "intermediate_size": (Fraction(1, 4), Fraction(1, 2), Fraction(1)),
}


def parts_of(maximum: BertShape) -> SpaceSettings:
    """The space of T's own parts: up to 72 shapes, T among them."""
    sizes = maximum.to_row()
    return SpaceSettings(
        **{name: tuple(sorted({max(1, int(sizes[name] * share)) for share in of})) for name, of in PARTS.items()}
    )


def space_within(search: SearchSettings, maximum: BertShape) -> SpaceSettings:
    """The space that is stated, or T's own parts where none is.

    Raises:
        ConfigurationError: If T does not contain it, which is known of an opened T only now.
    """
    if search.space is None:
        return parts_of(maximum)
    try:
        require_contained(search.space, maximum)
    except ValueError as fault:
        raise ConfigurationError(
            f"The encoder `{search.maximum_point}` cannot be the maximum point: {fault}. Change params:search.space "
            "(null takes parts of the encoder's own sizes), or params:search.maximum_point."
        ) from fault
    return search.space


def shape_of_maximum(search: SearchSettings, opened: JsonObject | None) -> BertShape:
    """Of T: as stated, or as the configuration of an encoder that was opened has it."""
    return search.stated_maximum() if opened is None else BertShape.from_row(opened)


def enumerate_shapes(space: SpaceSettings) -> SearchSpace:
    """Every combination of the four lists (Xi in the paper)."""
    shapes, invalid = [], []
    for depth, heads, hidden, intermediate in product(
        space.num_hidden_layers, space.num_attention_heads, space.hidden_size, space.intermediate_size
    ):
        if head_remainder(hidden, heads):
            invalid.append((depth, heads, hidden, intermediate))
        else:
            shapes.append(BertShape(depth, heads, hidden, intermediate))
    return SearchSpace(tuple(shapes), tuple(invalid))

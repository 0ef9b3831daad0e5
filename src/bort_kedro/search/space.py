"""Enumerate the shapes of a space in a fixed order, and say which of them cannot be built."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from bort_kedro.encoders.shapes import BertShape, head_remainder
from bort_kedro.search.settings import SpaceSettings


@dataclass(frozen=True)
class SearchSpace:
    """The shapes that can be built, and the tuples (D, A, H, I) that cannot.

    Args:
        shapes: In the order of the lists, depth slowest.
        invalid: Tuples whose hidden size the heads do not divide.
    """

    shapes: tuple[BertShape, ...]
    invalid: tuple[tuple[int, int, int, int], ...]


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

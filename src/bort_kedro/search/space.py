"""Enumerate the shapes of a space in a fixed order, and say which of them cannot be built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from bort_kedro.encoders.shapes import BertShape, head_remainder
from bort_kedro.errors import ShapeError


@dataclass(frozen=True)
class SearchSpace:
    """The shapes that can be built, and the tuples (D, A, H, I) that cannot.

    Args:
        shapes: In the order of the lists, depth slowest.
        invalid: Tuples whose hidden size the heads do not divide.
    """

    shapes: tuple[BertShape, ...]
    invalid: tuple[tuple[int, int, int, int], ...]


def enumerate_shapes(
    *,
    num_hidden_layers: Sequence[int],
    num_attention_heads: Sequence[int],
    hidden_size: Sequence[int],
    intermediate_size: Sequence[int],
) -> SearchSpace:
    """Every combination of the four lists (Xi in the paper).

    Raises:
        ShapeError: If no combination can be built.
    """
    shapes, invalid = [], []
    for depth, heads, hidden, intermediate in product(
        num_hidden_layers, num_attention_heads, hidden_size, intermediate_size
    ):
        if head_remainder(hidden, heads):
            invalid.append((depth, heads, hidden, intermediate))
        else:
            shapes.append(BertShape(depth, heads, hidden, intermediate))
    if not shapes:
        raise ShapeError(
            f"None of the {len(invalid)} combinations in the search space can be built: no number of heads in "
            f"{list(num_attention_heads)} divides a hidden size in {list(hidden_size)}. Change "
            "num_attention_heads or hidden_size under params:search.space."
        )
    return SearchSpace(tuple(shapes), tuple(invalid))

"""What the paper says of Bort's size and speed, beside what each of its shapes counts to.

The published figures do not fit the released shape (4, 8, 1024, 768). They fit the shape with hidden and
intermediate size exchanged, also a member of the published space. So each claim is counted for each shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bort_kedro.encoders.costs import ParameterCount, count_operations, count_parameters
from bort_kedro.encoders.shapes import BERT_BASE, BERT_LARGE, KNOWN_SHAPES, BertShape
from bort_kedro.frozen import JsonObject, TableRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Of RoBERTa and of the released Bort.
VOCABULARY_SIZE = 50_265
MAX_POSITIONS = 512
SEQUENCE_LENGTH = 128
# The shapes that the paper and the released code call Bort.
BORT_KEYS = ("bort", "bort_exchanged", "bort_alternative")


def embedding_weights(shape: BertShape) -> int:
    """Scalars of the embeddings."""
    return _count(shape).embeddings


def other_weights(shape: BertShape) -> int:
    """Scalars of layers, pooler and masked-LM head, which the paper counts too."""
    count = _count(shape)
    return count.total_with_pooler - count.embeddings


def all_weights(shape: BertShape) -> int:
    """Scalars of the whole."""
    return _count(shape).total_with_pooler


def operations_ratio(shape: BertShape, reference: BertShape, *, sequence_length: int = SEQUENCE_LENGTH) -> float:
    """How many times fewer operations the encoder of ``shape`` does than that of ``reference``."""
    return (
        count_operations(reference, sequence_length=sequence_length).total
        / count_operations(shape, sequence_length=sequence_length).total
    )


def _count(shape: BertShape) -> ParameterCount[int]:
    return count_parameters(shape, vocabulary_size=VOCABULARY_SIZE, max_positions=MAX_POSITIONS)


@dataclass(frozen=True)
class Claim:
    """One published figure and how to count it.

    Args:
        published: As printed, in ``unit``.
        unit: ``M`` (million scalars), ``%`` or ``x``.
        count: The same figure for any shape.
        reference: Of a speed: key of the shape that is said to be slower; empty for sizes.
    """

    statement: str
    published: float
    unit: str
    count: Callable[[BertShape], float]
    reference: str = ""

    def nearest(self) -> str:
        """Key of the Bort shape whose count is nearest to the published figure, by ratio."""
        return min(BORT_KEYS, key=lambda key: abs(math.log(self.count(KNOWN_SHAPES[key].shape) / self.published)))


# de Wynter and Perry 2020, arXiv 2010.10499: abstract, and the figures quoted from its body.
CLAIMS = (
    Claim("parameters", 56, "M", lambda shape: all_weights(shape) / 1e6),
    Claim("of these, embeddings", 39, "M", lambda shape: embedding_weights(shape) / 1e6),
    Claim("size against BERT-large", 16, "%", lambda shape: 100 * all_weights(shape) / all_weights(BERT_LARGE)),
    Claim(
        "the same without embeddings", 5.5, "%", lambda shape: 100 * other_weights(shape) / other_weights(BERT_LARGE)
    ),
    Claim("faster than BERT-large", 20, "x", lambda shape: operations_ratio(shape, BERT_LARGE), "bert_large"),
    # The abstract leaves out than what; the README of the authors' code names BERT-base, and BERT-large for 20x.
    Claim("faster on a CPU than BERT-base", 7.9, "x", lambda shape: operations_ratio(shape, BERT_BASE), "bert_base"),
)


def speed_claim_rows(speed: Sequence[TableRow]) -> list[JsonObject]:
    """Each published speed-up beside the operations and the measured time of each shape called Bort.

    The speeds are of one condition of the speed table, the references among them.

    Returns:
        For each claim and each of `BORT_KEYS`: ``statement``, ``published``, the shape's title as ``name``, ``counted``
        by operations at 128 tokens, ``measured`` (NaN where the shape or the reference was not timed), and
        ``is_nearest``: whether this is the shape whose count is nearest to the published figure.
    """
    measured = {BertShape.from_row(row): row for row in speed}
    return [
        {
            "statement": claim.statement,
            "published": claim.published,
            "name": KNOWN_SHAPES[key].title,
            "counted": claim.count(KNOWN_SHAPES[key].shape),
            "measured": measured.get(KNOWN_SHAPES[key].shape, {}).get(f"measured_vs_{claim.reference}", math.nan),
            "is_nearest": key == claim.nearest(),
        }
        for claim in CLAIMS
        if claim.reference
        for key in BORT_KEYS
    ]

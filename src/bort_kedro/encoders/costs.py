"""Parameters and operations of a BERT encoder in closed form: the p and i of the search.

The counts follow transformers' ``BertForMaskedLM`` as `encoders.encoder` builds it: one row of token-type
embeddings (zeros, never trained), decoder weights tied to the word embeddings, no pooler. Every formula
is a polynomial in D, A, H and I, as the AB^nC property asks (de Wynter 2020, arXiv 2010.08512):
the first and last parts (embeddings, head) hold no D, the middle part is D times one layer.

Every count takes one `BertShape` and answers in integers, or a `ShapeArrays` and answers in arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bort_kedro.encoders.shapes import SHAPE_COLUMNS, BertShape

if TYPE_CHECKING:
    import pandas as pd

# Of one shape, or of many.
Count = TypeVar("Count", int, NDArray[np.int64])
Size_co = TypeVar("Size_co", int, NDArray[np.int64], covariant=True)


class Sizes(Protocol[Size_co]):
    """What a count reads: the four numbers of one shape, or an array of each."""

    @property
    def num_hidden_layers(self) -> Size_co:
        """D."""

    @property
    def num_attention_heads(self) -> Size_co:
        """A."""

    @property
    def hidden_size(self) -> Size_co:
        """H."""

    @property
    def intermediate_size(self) -> Size_co:
        """I."""


@dataclass(frozen=True)
class ShapeArrays:
    """Many shapes as four (N,) arrays, so that tens of thousands are counted at once.

    Nothing is checked: the heads of a shape that somebody else built need not divide its hidden size.
    """

    num_hidden_layers: NDArray[np.int64]
    num_attention_heads: NDArray[np.int64]
    hidden_size: NDArray[np.int64]
    intermediate_size: NDArray[np.int64]

    @classmethod
    def of(cls, shapes: Sequence[BertShape] | NDArray[np.integer]) -> ShapeArrays:
        """From shapes, or from (N, 4) rows of (D, A, H, I)."""
        if not isinstance(shapes, np.ndarray):
            shapes = np.array([[getattr(shape, name) for name in SHAPE_COLUMNS] for shape in shapes])
        return cls(*shapes.astype(np.int64).reshape(-1, len(SHAPE_COLUMNS)).T)


@dataclass(frozen=True)
class ParameterCount(Generic[Count]):
    """Weights of an encoder by part, in scalars.

    ``pooler`` is that of transformers' ``BertModel``: H^2 + H over the first token. The masked-LM model has none,
    so it is not in ``total``; the paper counts one (`total_with_pooler`).
    """

    embeddings: Count
    encoder: Count
    masked_lm_head: Count
    pooler: Count

    @property
    def total(self) -> Count:
        """Embeddings, layers and masked-LM head; tied weights count once."""
        return self.embeddings + self.encoder + self.masked_lm_head

    @property
    def total_with_pooler(self) -> Count:
        """The paper's count."""
        return self.total + self.pooler


@dataclass(frozen=True)
class OperationCount(Generic[Count]):
    """Operations of one forward pass over one sequence.

    ``multiply_accumulates`` are those of matrix products; ``other`` are the rest, one per scalar result
    of an addition, multiplication, exponential or similar.
    """

    multiply_accumulates: Count
    other: Count

    @property
    def total(self) -> Count:
        """Multiplications and additions of the products, and the others, each as one operation."""
        return 2 * self.multiply_accumulates + self.other


def count_parameters(shape: Sizes[Count], *, vocabulary_size: int, max_positions: int) -> ParameterCount[Count]:
    """Exact number of parameters of a masked-LM encoder.

    Args:
        shape: The encoder's shape, or the shapes of many.
        vocabulary_size: V, rows of the word embeddings.
        max_positions: Rows of the position embeddings.
    """
    hidden, intermediate = shape.hidden_size, shape.intermediate_size
    layer_norm = 2 * hidden
    attention = 4 * (hidden * hidden + hidden) + layer_norm
    feed_forward = 2 * hidden * intermediate + intermediate + hidden + layer_norm
    return ParameterCount(
        embeddings=(vocabulary_size + max_positions + 1) * hidden + layer_norm,
        encoder=shape.num_hidden_layers * (attention + feed_forward),
        masked_lm_head=hidden * hidden + hidden + layer_norm + vocabulary_size,
        pooler=hidden * hidden + hidden,
    )


# Scalar operations per element, beside the matrix products. [our reading] The sources only say "additions,
# multiplications and other operations per layer"; docs/decisions/0002-operation-count.md lists each one.
LAYER_NORM_OPERATIONS = 8
SOFTMAX_OPERATIONS = 4
GELU_OPERATIONS = 8
# Two exponentials, a difference, a sum and a quotient.
TANH_OPERATIONS = 5


def count_operations(shape: Sizes[Count], *, sequence_length: int) -> OperationCount[Count]:
    """Exact operations of the encoder's layers for one sequence, batch 1, without embeddings and head.

    Args:
        shape: The encoder's shape, or the shapes of many.
        sequence_length: L, tokens of the sequence.
    """
    length, hidden, intermediate = sequence_length, shape.hidden_size, shape.intermediate_size
    projections = 4 * length * hidden * hidden
    scores_and_mixing = 2 * length * length * hidden
    feed_forward = 2 * length * hidden * intermediate
    biases = length * (5 * hidden + intermediate)
    residuals_and_norms = 2 * length * hidden * (1 + LAYER_NORM_OPERATIONS)
    softmax = shape.num_attention_heads * length * length * (1 + SOFTMAX_OPERATIONS)
    activation = GELU_OPERATIONS * length * intermediate
    return OperationCount(
        multiply_accumulates=shape.num_hidden_layers * (projections + scores_and_mixing + feed_forward),
        other=shape.num_hidden_layers * (biases + residuals_and_norms + softmax + activation),
    )


def count_embedding_operations(shape: Sizes[Count], *, sequence_length: int) -> OperationCount[Count]:
    """Exact operations of the embeddings for one sequence: two additions of three rows, and a layer norm.

    Looking a row up is no operation.
    """
    hidden = shape.hidden_size
    return OperationCount(
        multiply_accumulates=0 * hidden,
        other=sequence_length * hidden * (2 + LAYER_NORM_OPERATIONS),
    )


def count_head_operations(shape: Sizes[Count], *, vocabulary_size: int, num_positions: int) -> OperationCount[Count]:
    """Exact operations of the masked-LM head over ``num_positions`` tokens."""
    hidden = shape.hidden_size
    return OperationCount(
        multiply_accumulates=num_positions * hidden * (hidden + vocabulary_size),
        other=num_positions * (hidden * (1 + GELU_OPERATIONS + LAYER_NORM_OPERATIONS) + vocabulary_size),
    )


def count_pooler_operations(shape: Sizes[Count]) -> OperationCount[Count]:
    """Exact operations of a pooler, which reads the first token of a sequence."""
    hidden = shape.hidden_size
    return OperationCount(multiply_accumulates=hidden * hidden, other=hidden * (1 + TANH_OPERATIONS))


def candidate_counts(
    shapes: Sequence[BertShape], *, vocabulary_size: int, max_positions: int, sequence_length: int
) -> dict[str, NDArray[np.int64]]:
    """Counts of N candidates by column of the candidate table, (N,) each.

    Returns:
        ``parameters`` and its parts ``embedding_parameters``, ``layer_parameters`` and ``head_parameters``;
        ``pooler_parameters`` beside it; ``operations`` of the layers, and ``multiply_accumulates`` among them;
        ``embedding_operations``, ``pooler_operations``, and ``head_operations`` over all positions, beside them.
    """
    arrays = ShapeArrays.of(shapes)
    parameters = count_parameters(arrays, vocabulary_size=vocabulary_size, max_positions=max_positions)
    operations = count_operations(arrays, sequence_length=sequence_length)
    return {
        "parameters": parameters.total,
        "embedding_parameters": parameters.embeddings,
        "layer_parameters": parameters.encoder,
        "head_parameters": parameters.masked_lm_head,
        "pooler_parameters": parameters.pooler,
        "operations": operations.total,
        "multiply_accumulates": operations.multiply_accumulates,
        "embedding_operations": count_embedding_operations(arrays, sequence_length=sequence_length).total,
        "pooler_operations": count_pooler_operations(arrays).total,
        "head_operations": count_head_operations(
            arrays, vocabulary_size=vocabulary_size, num_positions=sequence_length
        ).total,
    }


def recorded_operations(table: pd.DataFrame, *, sequence_length: int) -> NDArray[np.int64]:
    """(N,) operations of the layers of recorded candidates, from the columns of their shapes."""
    shapes = ShapeArrays.of(table[list(SHAPE_COLUMNS)].to_numpy(np.int64))
    return count_operations(shapes, sequence_length=sequence_length).total

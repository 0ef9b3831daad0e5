"""Parameters and operations of a BERT encoder in closed form: the p and i of the search.

The counts follow transformers' ``BertForMaskedLM`` as `models.encoder` builds it: one row of token-type
embeddings (zeros, never trained), decoder weights tied to the word embeddings, no pooler. Every formula
is a polynomial in D, A, H and I, as the AB^nC property asks (de Wynter 2020, arXiv 2010.08512):
the first and last parts (embeddings, head) hold no D, the middle part is D times one layer.
"""

from __future__ import annotations

from dataclasses import dataclass

from bort_kedro.core.shapes import BertShape


@dataclass(frozen=True)
class ParameterCount:
    """Weights of an encoder by part, in scalars."""

    embeddings: int
    encoder: int
    masked_lm_head: int

    @property
    def total(self) -> int:
        """Embeddings, layers and masked-LM head; tied weights count once."""
        return self.embeddings + self.encoder + self.masked_lm_head


@dataclass(frozen=True)
class OperationCount:
    """Operations of one forward pass over one sequence.

    ``multiply_accumulates`` are those of matrix products; ``other`` are the rest, one per scalar result
    of an addition, multiplication, exponential or similar.
    """

    multiply_accumulates: int
    other: int

    @property
    def total(self) -> int:
        """Multiplications and additions of the products, and the others, each as one operation."""
        return 2 * self.multiply_accumulates + self.other


def count_parameters(shape: BertShape, *, vocabulary_size: int, max_positions: int) -> ParameterCount:
    """Exact number of parameters of a masked-LM encoder.

    Args:
        shape: The encoder's shape.
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
    )


# Scalar operations per element, beside the matrix products. [our reading] The sources only say "additions,
# multiplications and other operations per layer"; docs/decisions/0002-operation-count.md lists each one.
LAYER_NORM_OPERATIONS = 8
SOFTMAX_OPERATIONS = 4
GELU_OPERATIONS = 8


def count_operations(shape: BertShape, *, sequence_length: int) -> OperationCount:
    """Exact operations of the encoder's layers for one sequence, batch 1, without embeddings and head.

    Args:
        shape: The encoder's shape.
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


def count_head_operations(shape: BertShape, *, vocabulary_size: int, num_positions: int) -> OperationCount:
    """Exact operations of the masked-LM head over ``num_positions`` tokens."""
    hidden = shape.hidden_size
    return OperationCount(
        multiply_accumulates=num_positions * hidden * (hidden + vocabulary_size),
        other=num_positions * (hidden * (1 + GELU_OPERATIONS + LAYER_NORM_OPERATIONS) + vocabulary_size),
    )

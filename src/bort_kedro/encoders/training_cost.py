"""Floating-point operations of a training step, counted as model-FLOP utilisation counts them."""

from __future__ import annotations

from bort_kedro.encoders.shapes import BertShape


def layer_weights(shape: BertShape) -> int:
    """Weights of all matrices in the layers: four of H x H and two of H x I in each."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    return shape.num_hidden_layers * (4 * hidden * hidden + 2 * hidden * inner)


def spared_weights(shape: BertShape) -> int:
    """Weights of the last layer that only predicted positions pass where it is spared: all but keys and values."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    return 2 * hidden * hidden + 2 * hidden * inner


def forward_flops(
    shape: BertShape,
    *,
    vocabulary_size: int,
    num_tokens: int,
    sum_of_squared_lengths: int,
    num_predicted: int,
    sum_of_predicted_lengths: int | None = None,
) -> float:
    """FLOPs of the matrix products of one forward pass, a multiplication and an addition counted as two.

    Two for every weight and token; in each layer four times H for every pair of tokens that see each other (scores and
    their sum); the masked-LM head on the predicted positions only. Norms, activations and softmax are left out, as is
    usual for model-FLOP utilisation (Chowdhery et al. 2022, arXiv 2204.02311, appendix B).

    Args:
        shape: Of the encoder.
        vocabulary_size: V.
        num_tokens: Padding not counted.
        sum_of_squared_lengths: Over the sequences of the batch, in tokens squared.
        num_predicted: Positions that go through the head.
        sum_of_predicted_lengths: Over the predicted positions, the length of the sequence each stands in, where the
            last layer is run at these alone (`encoders.last_layer`); None where it is run everywhere.
    """
    hidden = shape.hidden_size
    passed = layer_weights(shape) * num_tokens
    seen = shape.num_hidden_layers * sum_of_squared_lengths
    if sum_of_predicted_lengths is not None:
        passed -= spared_weights(shape) * (num_tokens - num_predicted)
        seen -= sum_of_squared_lengths - sum_of_predicted_lengths
    head = num_predicted * hidden * (hidden + vocabulary_size)
    return float(2 * passed + 4 * hidden * seen + 2 * head)

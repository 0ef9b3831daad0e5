"""Where training starts: as published, or with heads that already look at neighbouring tokens.

docs/decisions/0005-initialization.md says why, with figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bort_kedro.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BertForMaskedLM

PUBLISHED = "published"
NEIGHBOURS = "neighbours"
INITIALIZATIONS = (PUBLISHED, NEIGHBOURS)

PUBLISHED_STANDARD_DEVIATION = 0.02
PUBLISHED_HIDDEN_SIZE = 1024

# First-layer heads start by looking at these tokens, one head each, counted from the token itself.
NEIGHBOUR_OFFSETS = (-1, 1, -2, 2)
# Lead of that token's attention score over an unrelated token's: at 14, about half of the weight starts there.
NEIGHBOUR_SCORE = 14.0
# Length of a position row over that of a word row: short, so that words are not drowned in the sum.
POSITION_LENGTH = 0.5
# The slowest wave of the positions turns once in 2 pi times this many tokens.
POSITION_WAVES = 100.0


def standard_deviation(initialization: str, hidden_size: int) -> float:
    """Of the normal distribution that weights are drawn from.

    ``published``: 0.02. ``neighbours``: 0.02 at the published width of 1024, and at every other width what gives a
    layer's output the same variance.

    Raises:
        ConfigurationError: If the initialization is unknown.
    """
    if initialization not in INITIALIZATIONS:
        raise ConfigurationError(
            f"Unknown initialization `{initialization}`. Allowed: {', '.join(INITIALIZATIONS)}. Change "
            "`initialization` beside the optimization settings of the stage."
        )
    if initialization == PUBLISHED:
        return PUBLISHED_STANDARD_DEVIATION
    return float(PUBLISHED_STANDARD_DEVIATION * (PUBLISHED_HIDDEN_SIZE / hidden_size) ** 0.5)


@torch.no_grad()
def point_first_layer_at_neighbours(model: BertForMaskedLM) -> None:
    """Start the first layer's heads on the tokens beside each token (weights only, modified in place).

    From plain random weights a tiny encoder spends thousands of steps on the word frequencies before a
    head finds out that neighbours matter. So the positions start as sines and cosines in a plane of K
    dimensions that the word rows leave free, and head h starts with a query that is the key's map turned by
    ``NEIGHBOUR_OFFSETS[h]`` positions: its score is highest there. Everything stays trainable. Heads beyond the
    list, and all other layers, keep their random weights. The random numbers come from torch's generator.
    """
    config = model.config
    hidden, head_size = config.hidden_size, config.hidden_size // config.num_attention_heads
    plane = head_size // 2 * 2
    if plane == 0:
        return
    basis = torch.linalg.qr(torch.randn(hidden, plane)).Q
    frequencies = POSITION_WAVES ** (-torch.arange(plane // 2) / (plane // 2))
    angles = torch.arange(config.max_position_embeddings)[:, None] * frequencies
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    embeddings = model.bert.embeddings
    words, positions = embeddings.word_embeddings.weight, embeddings.position_embeddings.weight
    words -= (words @ basis) @ basis.T
    row_length = config.initializer_range * hidden**0.5
    positions.copy_(waves @ basis.T * (POSITION_LENGTH * row_length / (plane / 2) ** 0.5))
    # After the layer norm a token has squared length `hidden`, of which this is the position's part.
    squared_length = hidden * POSITION_LENGTH**2 / (1 + POSITION_LENGTH**2)
    scale = (NEIGHBOUR_SCORE * head_size**0.5 / squared_length) ** 0.5
    attention = model.bert.encoder.layer[0].attention.self
    for head, offset in enumerate(NEIGHBOUR_OFFSETS[: config.num_attention_heads]):
        rows = slice(head * head_size, head * head_size + plane)
        attention.query.weight[rows] = scale * _turn(frequencies * offset) @ basis.T
        attention.key.weight[rows] = scale * basis.T


@torch.no_grad()
def silence_later_layers(model: BertForMaskedLM) -> None:
    """Start every layer after the first as the identity (modified in place).

    The maps that close its two branches start at zero, so a deep encoder starts as a shallow one instead of
    blurring what the first layer found, and is not behind it in a short training.

    References:
        Zhang et al. 2019, Fixup initialization, arXiv 1901.09321, which starts residual branches at zero.
    """
    for layer in model.bert.encoder.layer[1:]:
        torch.nn.init.zeros_(layer.attention.output.dense.weight)
        torch.nn.init.zeros_(layer.output.dense.weight)


def _turn(angles: Tensor) -> Tensor:
    """(2n, 2n) matrix that takes (sin a, cos a) to (sin(a + angle), cos(a + angle)) in each of n pairs."""
    sine, cosine = angles.sin(), angles.cos()
    pairs = torch.stack([torch.stack([cosine, sine], -1), torch.stack([-sine, cosine], -1)], -2)
    blocks: Tensor = torch.block_diag(*pairs)
    return blocks

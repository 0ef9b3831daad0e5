"""Build transformers' BERT from a shape, so that every checkpoint opens with ``AutoModel.from_pretrained``."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, PreTrainedModel

from bort_kedro.core.shapes import BertShape

if TYPE_CHECKING:
    from torch import Tensor

Model = TypeVar("Model", bound=PreTrainedModel)

LAYER_NORM_EPS = 1e-5  # the code released with Bort
INITIALISATION_STD = 0.02

# First-layer heads start by looking at these tokens, one head each, counted from the token itself.
NEIGHBOURS = (-1, 1, -2, 2)
# Lead of that token's attention score over an unrelated token's: at 14, about half of the weight starts there.
NEIGHBOUR_SCORE = 14.0
# Length of a position row over that of a word row: short, so that words are not drowned in the sum.
POSITION_LENGTH = 0.5
# The slowest wave of the positions turns once in 2 pi times this many tokens.
POSITION_WAVES = 100.0


def bert_config(
    shape: BertShape, *, vocabulary_size: int, max_positions: int, pad_token_id: int = 1, dropout: float = 0.1
) -> BertConfig:
    """The configuration of a Bort-style encoder.

    Bort has no token types. transformers always adds a token-type row, so there is exactly one, zero and
    never trained (see `build_masked_lm`).
    """
    return BertConfig(
        vocab_size=vocabulary_size,
        max_position_embeddings=max_positions,
        type_vocab_size=1,
        layer_norm_eps=LAYER_NORM_EPS,
        initializer_range=INITIALISATION_STD * (1024 / shape.hidden_size) ** 0.5,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=pad_token_id,
        bos_token_id=0,
        eos_token_id=2,
        **shape.to_row(),
    )


def build_masked_lm(config: BertConfig, *, seed: int) -> BertForMaskedLM:
    """A masked-LM encoder with random weights drawn from ``seed``; global generators are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForMaskedLM(config)
        point_first_layer_at_neighbours(model)
        silence_later_layers(model)
    return freeze_token_types(model)


@torch.no_grad()
def point_first_layer_at_neighbours(model: BertForMaskedLM) -> None:
    """Start the first layer's heads on the tokens beside each token (weights only, modified in place).

    From plain random weights a tiny encoder spends thousands of steps on the word frequencies before a
    head finds out that neighbours matter. So the positions start as sines and cosines in a plane of K
    dimensions that the word rows leave free, and head h starts with a query that is the key's map turned by
    ``NEIGHBOURS[h]`` positions: its score is highest there. Everything stays trainable. Heads beyond the
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
    for head, offset in enumerate(NEIGHBOURS[: config.num_attention_heads]):
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
    return torch.block_diag(*pairs)


def build_classifier(
    encoder: PreTrainedModel, *, labels: list[str], seed: int, dropout: float
) -> BertForSequenceClassification:
    """A classifier over a pretrained encoder: dense(H), tanh on the first token, dropout, dense(classes).

    The encoder's weights are copied. One dropout fewer than the released head, which also drops units of
    the first token before the dense layer; the last layer of the encoder already ends in a dropout.
    """
    config = BertConfig.from_dict(
        {
            **encoder.config.to_dict(),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: index for index, label in enumerate(labels)},
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForSequenceClassification(config)
    model.bert.load_state_dict(encoder.bert.state_dict(), strict=False)
    return freeze_token_types(model)


def freeze_token_types(model: Model) -> Model:
    """Set the single token-type row to zero and keep it out of training (modified in place)."""
    row = model.bert.embeddings.token_type_embeddings.weight
    torch.nn.init.zeros_(row)
    row.requires_grad_(False)
    return model


def shape_of(config: BertConfig) -> BertShape:
    """The shape that a configuration describes."""
    return BertShape.from_row(config.to_dict())


def predicted_logits(
    model: BertForMaskedLM, input_ids: Tensor, attention_mask: Tensor, is_predicted: Tensor
) -> Tensor:
    """Logits at the predicted positions only: (B, L) ids to (N, V), N the number of True in ``is_predicted``.

    The head costs as much as the encoder at these sizes; running it on 15 % of the positions more than
    halves a step.
    """
    hidden = model.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    return model.cls(hidden[is_predicted])

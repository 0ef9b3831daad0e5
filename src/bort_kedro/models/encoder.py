"""Build transformers' BERT from a shape, so that every checkpoint opens with ``AutoModel.from_pretrained``."""

from __future__ import annotations

from typing import TypeVar

import torch
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, PreTrainedModel

from bort_kedro.core.shapes import BertShape
from bort_kedro.models.initialization import (
    NEIGHBOURS,
    point_first_layer_at_neighbours,
    silence_later_layers,
    standard_deviation,
)

Model = TypeVar("Model", bound=PreTrainedModel)

LAYER_NORM_EPS = 1e-5  # the code released with Bort


def bert_config(
    shape: BertShape,
    *,
    vocabulary_size: int,
    max_positions: int,
    pad_token_id: int = 1,
    dropout: float = 0.1,
    initialization: str = NEIGHBOURS,
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
        initializer_range=standard_deviation(initialization, shape.hidden_size),
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=pad_token_id,
        bos_token_id=0,
        eos_token_id=2,
        **shape.to_row(),
    )


def build_masked_lm(config: BertConfig, *, seed: int, initialization: str = NEIGHBOURS) -> BertForMaskedLM:
    """A masked-LM encoder with weights drawn from ``seed``; global generators are left as they were.

    Args:
        config: From `bert_config`, with the same initialization.
        seed: Of torch's CPU generator while the weights are drawn.
        initialization: See `models.initialization`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = BertForMaskedLM(config)
        if initialization == NEIGHBOURS:
            point_first_layer_at_neighbours(model)
            silence_later_layers(model)
    return freeze_token_types(model)


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
        torch.default_generator.manual_seed(seed)
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

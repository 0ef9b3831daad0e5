"""Build transformers' BERT from a shape, so that every checkpoint opens with its ``AutoModel``."""

from __future__ import annotations

from typing import TypeVar

import torch
import transformers
from transformers import BertConfig, BertForMaskedLM, PreTrainedModel

from bort_kedro.encoders.initialization import (
    NEIGHBOURS,
    point_first_layer_at_neighbours,
    silence_later_layers,
    standard_deviation,
)
from bort_kedro.encoders.shapes import BertShape

Model = TypeVar("Model", bound=PreTrainedModel)

SEQUENCES = "AutoModelForSequenceClassification"
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
        initialization: See `encoders.initialization`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = BertForMaskedLM(config)
        if initialization == NEIGHBOURS:
            point_first_layer_at_neighbours(model)
            silence_later_layers(model)
    return freeze_token_types(model)


# What the families of encoders call their dropouts; those that a configuration has are set.
DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "pooler_dropout",
    "cls_dropout",
    "classifier_dropout_prob",
    "dropout",
    "seq_classif_dropout",
)


def build_classifier(
    encoder: PreTrainedModel, *, labels: list[str], seed: int, dropout: float, model_class: str = SEQUENCES
) -> PreTrainedModel:
    """A classifier over a pretrained encoder of any family, as transformers builds it.

    Of sequences for BERT, and so for Bort: dense(H), tanh on the first token, dropout, dense(C). One dropout fewer than
    the head released with Bort, which also drops units of the first token before the dense layer; the last layer of the
    encoder already ends in a dropout. Of tokens: dropout, dense(C) on each. The encoder's weights are copied.

    Args:
        encoder: With or without a masked-LM head.
        labels: C names. A single one makes a head of one value: a regression, or the score of an option.
        seed: Draws the weights of the head; the global generator is left as it was.
        dropout: Of encoder and head.
        model_class: Of transformers, of sequences or of tokens.
    """
    values = encoder.config.to_dict()
    config = type(encoder.config).from_dict(
        {
            **values,
            **{name: dropout for name in DROPOUTS if name in values},
            "id2label": dict(enumerate(labels)),
            "label2id": {label: index for index, label in enumerate(labels)},
            "problem_type": "regression" if len(labels) == 1 else "single_label_classification",
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = getattr(transformers, model_class).from_config(config)
    model.base_model.load_state_dict(encoder.base_model.state_dict(), strict=False)
    _copy_shared_head(encoder, model)
    types = getattr(getattr(model.base_model, "embeddings", None), "token_type_embeddings", None)
    if types is not None and types.num_embeddings == 1:
        # One type for all tokens is no more than a bias that the encoder was pretrained with.
        types.weight.requires_grad_(False)
    return model


def _copy_shared_head(encoder: PreTrainedModel, model: PreTrainedModel) -> None:
    """What a family's masked-LM head and its classifier have in common, such as ModernBERT's dense layer (in place)."""
    ours, theirs = getattr(model, "head", None), getattr(encoder, "head", None)
    if ours is not None and theirs is not None:
        shapes = {name: value.shape for name, value in ours.state_dict().items()}
        if shapes == {name: value.shape for name, value in theirs.state_dict().items()}:
            ours.load_state_dict(theirs.state_dict())


def freeze_token_types(model: Model) -> Model:
    """Set the single token-type row to zero and keep it out of training (modified in place)."""
    row = model.base_model.embeddings.token_type_embeddings.weight
    torch.nn.init.zeros_(row)
    row.requires_grad_(False)
    return model


def shape_of(config: BertConfig) -> BertShape:
    """The shape that a configuration describes."""
    return BertShape.from_row(config.to_dict())

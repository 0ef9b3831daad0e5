"""What differs between families of masked-LM encoders: the head's place, positions, several documents in a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import gelu

from bort_kedro.encoders.attention_masks import as_attention_mask, padding_mask
from bort_kedro.encoders.last_layer import BERT_LIKE, ROBERTA_LIKE, can_spare_last_layer, hidden_at_predicted
from bort_kedro.errors import ConfigurationError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# A mask for all layers, or one for each kind of layer.
EncoderInputs = dict[str, Tensor | dict[str, Tensor]]
# (hidden states (N, H) of a model) -> logits (N, V), or what they are made of (N, H)
Head = Callable[["PreTrainedModel", Tensor], Tensor]
# (configuration, (B, 1, L, L) True where attention is allowed, (B, L) place in the document) -> encoder arguments
PackedInputs = Callable[["PreTrainedConfig", Tensor, Tensor], EncoderInputs]
LongestSequence = Callable[["PreTrainedConfig"], int | None]


def _absolute_positions(config: PreTrainedConfig) -> int | None:
    longest: int | None = getattr(config, "max_position_embeddings", None)
    return longest


def _positions_after_padding(config: PreTrainedConfig) -> int | None:
    """RoBERTa numbers positions from the padding id + 1 on, so that many rows are never used."""
    return int(config.max_position_embeddings) - int(config.pad_token_id) - 1


def _deberta_positions(config: PreTrainedConfig) -> int | None:
    """Distances beyond the largest share its row, so without absolute positions there is no longest sequence."""
    return _absolute_positions(config) if config.position_biased_input else None


def _bert_packed_inputs(config: PreTrainedConfig, is_allowed: Tensor, place: Tensor) -> EncoderInputs:
    return {"attention_mask": as_attention_mask(config, is_allowed), "position_ids": place}


def _roberta_packed_inputs(config: PreTrainedConfig, is_allowed: Tensor, place: Tensor) -> EncoderInputs:
    return _bert_packed_inputs(config, is_allowed, place + config.pad_token_id + 1)


def _modernbert_packed_inputs(config: PreTrainedConfig, is_allowed: Tensor, place: Tensor) -> EncoderInputs:
    """Local layers also keep their window; tokens of a document are neighbours, so distances in the row are its own."""
    columns = torch.arange(is_allowed.shape[-1], device=is_allowed.device)
    is_near = (columns[:, None] - columns).abs() <= config.sliding_window
    masks = {"full_attention": is_allowed, "sliding_attention": is_allowed & is_near}
    return {
        "attention_mask": {name: as_attention_mask(config, mask) for name, mask in masks.items()},
        "position_ids": place,
    }


def _deberta_head(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """The head that transformers calls legacy has a decoder of its own; the published one is handed the words."""
    if model.legacy:
        return model.cls(hidden)  # type: ignore[no-any-return]
    return model.lm_predictions(hidden, model.deberta.embeddings.word_embeddings)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Family:
    """How the masked-LM encoders of one transformers ``model_type`` are called.

    Args:
        head: From hidden states to logits.
        longest_sequence: Tokens that the configuration allows, None without limit.
        packed_inputs: Arguments that keep attention inside each document, None where the family takes no such.
        undecoded: The head without its last product, None where it is not taken apart.
    """

    head: Head
    longest_sequence: LongestSequence = _absolute_positions
    packed_inputs: PackedInputs | None = None
    undecoded: Head | None = None


def _roberta_undecoded(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    head = model.lm_head
    return head.layer_norm(gelu(head.dense(hidden)))  # type: ignore[no-any-return]


FAMILIES = {
    "bert": Family(
        lambda model, hidden: model.cls(hidden),
        packed_inputs=_bert_packed_inputs,
        undecoded=lambda model, hidden: model.cls.predictions.transform(hidden),
    ),
    **dict.fromkeys(
        ROBERTA_LIKE,
        Family(
            lambda model, hidden: model.lm_head(hidden),
            _positions_after_padding,
            _roberta_packed_inputs,
            _roberta_undecoded,
        ),
    ),
    "modernbert": Family(
        lambda model, hidden: model.decoder(model.head(hidden)), packed_inputs=_modernbert_packed_inputs
    ),
    "deberta-v2": Family(_deberta_head, _deberta_positions),
}
# Families without an entry above whose positions start behind the padding id, as RoBERTa's do.
_POSITIONS_AFTER_PADDING = frozenset(
    (
        "data2vec-text",
        "esm",
        "ibert",
        "longformer",
        "luke",
        "mpnet",
        "roberta-prelayernorm",
        "xlm-roberta-xl",
        "xmod",
    )
)


def predicted_logits(
    model: PreTrainedModel,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    predicted: Tensor,
    document_ids: Tensor | None = None,
    queries: tuple[Tensor, Tensor] | None = None,
    token_type_ids: Tensor | None = None,
) -> Tensor:
    """Logits at the predicted positions only, of any masked-LM encoder.

    The head costs as much as the encoder at small sizes; running it on 15 % of the positions more than halves a
    step. BERT and RoBERTa spare most of their last layer too (`encoders.last_layer`). An encoder whose family is not in
    `FAMILIES` runs its head everywhere, with the same result.

    Args:
        model: A transformers masked-LM encoder.
        input_ids: (B, L) ids.
        attention_mask: (B, L), 1 for tokens and 0 for padding; None where nothing is padded.
        predicted: (N,) flat positions, row * L + column.
        document_ids: (B, L), 0 for padding and 1, 2, .. for the documents of a row, each in one run. Attention then
            stays inside each and its positions start anew.
        queries: `text.batching.query_slots` of the batch; None computes them, which waits for the device.
        token_type_ids: (B, L) which text of a pair a token is of. An encoder that does not tell them apart is not
            told.

    Returns:
        (N, V) logits, V the model's word embeddings.

    Raises:
        ConfigurationError: If there are document ids and the family cannot keep documents apart.
    """
    family = FAMILIES.get(model.config.model_type)
    if family is None:
        inputs = _encoder_inputs(model.config, attention_mask, document_ids, token_type_ids)
        logits: Tensor = model(input_ids=input_ids, **inputs).logits
        return logits.flatten(0, 1).index_select(0, predicted)
    return family.head(
        model, predicted_states(model, input_ids, attention_mask, predicted, document_ids, queries, token_type_ids)
    )


def predicted_states(
    model: PreTrainedModel,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    predicted: Tensor,
    document_ids: Tensor | None = None,
    queries: tuple[Tensor, Tensor] | None = None,
    token_type_ids: Tensor | None = None,
) -> Tensor:
    """(N, H) that the head reads for `predicted_logits`, of an encoder of a family of `FAMILIES`."""
    inputs = _encoder_inputs(model.config, attention_mask, document_ids, token_type_ids)
    if document_ids is None and "token_type_ids" not in inputs and can_spare_last_layer(model):
        return hidden_at_predicted(model, input_ids, attention_mask, predicted, queries)
    hidden: Tensor = model.base_model(input_ids=input_ids, **inputs).last_hidden_state
    return hidden.flatten(0, 1).index_select(0, predicted)


def _encoder_inputs(
    config: PreTrainedConfig, attention_mask: Tensor | None, document_ids: Tensor | None, token_type_ids: Tensor | None
) -> EncoderInputs:
    """Arguments of an encoder beside its ids."""
    inputs: EncoderInputs = {}
    if document_ids is not None:
        inputs = packed_inputs(config, document_ids)
    elif attention_mask is not None:
        is_bert = config.model_type in BERT_LIKE
        inputs = {"attention_mask": padding_mask(config, attention_mask) if is_bert else attention_mask}
    if token_type_ids is not None and getattr(config, "type_vocab_size", 1) > 1:
        inputs["token_type_ids"] = token_type_ids
    return inputs


def logits_of(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """(N, V) logits of a family of `FAMILIES`, from its last hidden states at N positions (N, H)."""
    return FAMILIES[model.config.model_type].head(model, hidden)


def splits_head(model: PreTrainedModel) -> bool:
    """Whether `undecoded` can be asked."""
    family = FAMILIES.get(model.config.model_type)
    return family is not None and family.undecoded is not None


def undecoded(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """(N, H) that the last product of a masked-LM head, ``get_output_embeddings()``, reads of hidden states (N, H)."""
    before = FAMILIES[model.config.model_type].undecoded
    assert before is not None  # noqa: S101 - `splits_head` says so
    return before(model, hidden)


def packed_inputs(config: PreTrainedConfig, document_ids: Tensor) -> EncoderInputs:
    """Arguments of an encoder that keep attention inside each of several documents in a row.

    Raises:
        ConfigurationError: If the family takes no such.
    """
    family = FAMILIES.get(config.model_type)
    if family is None or family.packed_inputs is None:
        able = sorted(name for name, other in FAMILIES.items() if other.packed_inputs)
        raise ConfigurationError(
            f"Encoders of the family `{config.model_type}` cannot keep attention inside each of several documents in a "
            f"block. Families that can: {', '.join(able)}. Set `params:corpus.packing` to `documents`, or choose "
            "another teacher."
        )
    # Padding (0) attends to padding, so no row of the mask is empty and no softmax is undefined.
    is_same = document_ids[:, None, :, None] == document_ids[:, None, None, :]
    return family.packed_inputs(config, is_same, place_in_document(document_ids))


def place_in_document(document_ids: Tensor) -> Tensor:
    """(B, L) how many tokens of the same run stand before each token; runs are of equal ids."""
    columns = torch.arange(document_ids.shape[1], device=document_ids.device).expand_as(document_ids)
    is_start = torch.ones_like(document_ids, dtype=torch.bool)
    is_start[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    return columns - torch.where(is_start, columns, 0).cummax(dim=1).values


def has_masked_lm_head(model: PreTrainedModel) -> bool:
    """Whether it predicts tokens: an encoder alone is its own base."""
    return model.base_model is not model


def longest_sequence(config: PreTrainedConfig) -> int | None:
    """Tokens that an encoder takes at most, None where it sets no limit.

    For rotary positions (ModernBERT) this is the length it was made for.
    """
    if config.model_type in _POSITIONS_AFTER_PADDING:
        return _positions_after_padding(config)
    family = FAMILIES.get(config.model_type)
    return (family.longest_sequence if family else _absolute_positions)(config)

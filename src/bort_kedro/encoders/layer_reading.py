"""What layers of BERT and RoBERTa make of every token, from a pass no deeper than what is asked for."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, cast

from torch import Tensor

from bort_kedro.encoders.attention_masks import padding_mask
from bort_kedro.encoders.families import packed_inputs
from bort_kedro.encoders.last_layer import BERT_LIKE, attend, finish
from bort_kedro.errors import ConfigurationError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# Queries, keys and values, (B, L, H) each.
Attended = tuple[Tensor, Tensor, Tensor]


def require_readable(config: PreTrainedConfig) -> None:
    """Refuse an encoder whose layers are not built as BERT's are.

    Raises:
        ConfigurationError: Names the families that are.
    """
    if config.model_type not in BERT_LIKE or config.is_decoder:
        raise ConfigurationError(
            f"The layers of a `{config.model_type}` teacher cannot teach, since they are not BERT's: `relations` and "
            f"`hidden_states` are for encoders of the families {', '.join(BERT_LIKE)}. Set their weights to 0 under "
            "params:distillation and teach by `logits`, or choose another teacher."
        )


def read_layers(
    model: PreTrainedModel,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    document_ids: Tensor | None = None,
    *,
    attended_in: int | None,
    states_of: Collection[int],
) -> tuple[Attended | None, dict[int, Tensor]]:
    """Queries, keys and values of one layer, and hidden states of some.

    Args:
        model: For which `require_readable` holds, with a head or without.
        input_ids: (B, L) ids.
        attention_mask: (B, L), 1 for tokens and 0 for padding; None where nothing is padded.
        document_ids: (B, L) for several documents in a row, as `families.predicted_logits` has them.
        attended_in: The layer, from 0, whose queries, keys and values are wanted; None wants none.
        states_of: Layers, from 0, whose output is wanted. Layers beyond all of these are not run, and of the deepest
            one no more than is wanted.

    Returns:
        What was asked for, states (B, L, H) by layer.
    """
    encoder = model.base_model
    if document_ids is None:
        hidden = encoder.embeddings(input_ids=input_ids)
        mask = None if attention_mask is None else padding_mask(model.config, attention_mask)
    else:
        told = packed_inputs(model.config, document_ids)
        mask = cast("Tensor", told.pop("attention_mask"))
        hidden = encoder.embeddings(input_ids=input_ids, **told)
    deepest = max([*states_of, *([] if attended_in is None else [attended_in])])
    attended, states = None, {}
    for number, layer in enumerate(encoder.encoder.layer[: deepest + 1]):
        goes_on = number < deepest or number in states_of
        if number == attended_in:
            own = layer.attention.self
            attended = own.query(hidden), own.key(hidden), own.value(hidden)
            if goes_on:
                hidden = finish(layer, attend(layer, *attended, mask), hidden)
        elif goes_on:
            hidden = layer(hidden, mask)
        if number in states_of:
            states[number] = hidden
    return attended, states

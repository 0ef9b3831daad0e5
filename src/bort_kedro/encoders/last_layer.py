"""The last layer of BERT and RoBERTa at the predicted positions alone: nobody reads what it says elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.distributed.fsdp import FSDPModule
from torch.nn.functional import scaled_dot_product_attention

from bort_kedro.encoders.attention_masks import padding_mask
from bort_kedro.text.batching import query_slots

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel
    from transformers.models.bert.modeling_bert import BertLayer

# Families that are RoBERTa by another name, and all whose layers are built as BERT's are.
ROBERTA_LIKE = ("roberta", "xlm-roberta", "camembert")
BERT_LIKE = ("bert", *ROBERTA_LIKE)


def can_spare_last_layer(model: PreTrainedModel) -> bool:
    """Whether `hidden_at_predicted` knows this encoder.

    Attention must be the scaled dot product, and the last layer whole: the shards of FSDP come together only in a
    layer's own forward pass.
    """
    config = model.config
    if config.model_type not in BERT_LIKE or config._attn_implementation != "sdpa":
        return False
    return not config.is_decoder and not isinstance(model.base_model.encoder.layer[-1], FSDPModule)


def hidden_at_predicted(
    model: PreTrainedModel,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    predicted: Tensor,
    queries: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Hidden states (N, H) that the head reads, equal to those of the whole encoder there.

    Keys and values of the last layer are needed everywhere, queries and all that follows at the predicted
    positions only. With 15 % predicted that spares 13 % of the four layers of Bort (our decision; the sources have
    nothing of it).

    Args:
        model: For which `can_spare_last_layer` holds.
        input_ids: (B, L) ids.
        attention_mask: (B, L), 1 for tokens and 0 for padding; None where nothing is padded.
        predicted: (N,) flat positions, row * L + column.
        queries: `text.batching.query_slots` of these, on the device; None computes them.
    """
    encoder = model.base_model
    hidden = encoder.embeddings(input_ids=input_ids)
    mask = None if attention_mask is None else padding_mask(model.config, attention_mask)
    *before, last = encoder.encoder.layer
    for layer in before:
        hidden = layer(hidden, mask)
    if queries is None:
        found = query_slots(predicted.cpu().numpy(), *input_ids.shape)
        queries = torch.from_numpy(found[0]).to(predicted.device), torch.from_numpy(found[1]).to(predicted.device)
    return _layer_at(last, hidden, mask, predicted, *queries)


def _layer_at(
    layer: BertLayer, hidden: Tensor, mask: Tensor | None, predicted: Tensor, slots: Tensor, positions: Tensor
) -> Tensor:
    everywhere, attention = hidden.flatten(0, 1), layer.attention.self
    context = attend(
        layer,
        attention.query(everywhere.index_select(0, positions)),
        attention.key(hidden),
        attention.value(hidden),
        # Padding is hidden from every query alike.
        None if mask is None else mask[:, :, :1],
    )
    return finish(layer, context.flatten(0, 1).index_select(0, slots), everywhere.index_select(0, predicted))


def attend(layer: BertLayer, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """(B, Q, H) what a layer's heads gather.

    Args:
        layer: Whose heads they are.
        queries: (B, Q, H), or flat over the rows.
        keys: (B, L, H).
        values: (B, L, H).
        mask: (B, 1, 1 or Q, L), as torch's scaled dot product takes it.
    """
    attention = layer.attention.self

    def by_head(rows: Tensor) -> Tensor:
        return rows.view(len(keys), -1, attention.num_attention_heads, attention.attention_head_size).transpose(1, 2)

    context = scaled_dot_product_attention(
        by_head(queries),
        by_head(keys),
        by_head(values),
        attn_mask=mask,
        dropout_p=attention.dropout.p if layer.training else 0.0,
        scale=attention.scaling,
    )
    return context.transpose(1, 2).flatten(2)


def finish(layer: BertLayer, context: Tensor, entered: Tensor) -> Tensor:
    """What a layer hands on, from what its heads gathered and from what entered it, both (..., H)."""
    attended = layer.attention.output(context, entered)
    said: Tensor = layer.output(layer.intermediate(attended), attended)
    return said

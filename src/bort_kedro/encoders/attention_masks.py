"""Which tokens may attend to which, as attention takes it, made without a look at values that are on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig


def as_attention_mask(config: PreTrainedConfig, is_allowed: Tensor) -> Tensor:
    """The scaled dot product takes truth values, the eager attention a term to be added to the scores."""
    if config._attn_implementation == "sdpa":
        return is_allowed
    allowed = torch.zeros((), device=is_allowed.device)
    return torch.where(is_allowed, allowed, torch.finfo(allowed.dtype).min)


def padding_mask(config: PreTrainedConfig, attention_mask: Tensor) -> Tensor:
    """(B, 1, L, L) that hides padding from every token.

    transformers makes the same of such a mask, but first asks whether all of it is 1, for which a device is waited for
    in each forward pass. Here whoever makes a batch without padding gives it no mask.

    Args:
        config: Of a BERT or RoBERTa with scaled dot product or eager attention.
        attention_mask: (B, L), 1 for tokens and 0 for padding.
    """
    num_rows, length = attention_mask.shape
    return as_attention_mask(config, attention_mask.bool()[:, None, None].expand(num_rows, 1, length, length))

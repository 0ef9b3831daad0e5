"""Masked-LM corruption that depends on (seed, epoch, block) alone, so that any restart gives the same masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IGNORED = -100  # label of a position that is not predicted, as torch's cross-entropy expects


def mask_block(
    token_ids: NDArray[np.integer],
    *,
    seed: int,
    epoch: int,
    block: int,
    mask_id: int,
    is_ordinary: NDArray[np.bool_],
    share: float = 0.15,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hide a share of one block's tokens, as BERT does: 80 % mask token, 10 % random token, 10 % unchanged.

    The number hidden is ``share`` of the ordinary tokens, rounded, at least one: fixed by the block's
    length rather than drawn, which lowers the variance of a short training's error.

    Args:
        token_ids: (L,) ids of one block, special tokens included.
        seed: Of the run, below 2**32.
        epoch: Pass over the data, from 0.
        block: Index of the block in its split.
        mask_id: Id of the mask token.
        is_ordinary: (V,) True for ids that may be hidden or drawn, False for special tokens.
        share: Of the ordinary tokens that are predicted, in (0, 1].

    Returns:
        ``(inputs, labels)``, both (L,): the corrupted ids, and the true ids where predicted, else ``IGNORED``.

    References:
        Devlin et al. 2018, arXiv 1810.04805, section 3.1 and appendix A.1.
    """
    inputs = token_ids.astype(np.int64)
    labels = np.full(inputs.size, IGNORED, dtype=np.int64)
    ordinary = np.flatnonzero(is_ordinary[inputs])
    if ordinary.size == 0:
        return inputs, labels
    # The same stream as from a list of the three, seeded in half the time.
    generator = np.random.default_rng(np.array([seed, epoch, block], dtype=np.uint32))
    # One uniform number a token gives the order of hiding, one more its fate: for a few dozen tokens this
    # is several times faster than `choice` without replacement.
    order, fate = generator.random((2, ordinary.size))
    count = max(1, round(share * ordinary.size))
    hidden, fate = ordinary[order.argsort()[:count]], fate[:count]
    labels[hidden] = inputs[hidden]
    inputs[hidden[fate < 0.8]] = mask_id
    replaced = hidden[fate >= 0.9]
    if replaced.size:
        inputs[replaced] = generator.choice(np.flatnonzero(is_ordinary), size=replaced.size)
    return inputs, labels

"""Masked-LM corruption that depends on (seed, epoch, block) alone, so that any restart gives the same masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

IGNORED = -100  # label of a position that is not predicted, as torch's cross-entropy expects


@dataclass(frozen=True)
class Masking:
    """How the tokens of one data set are hidden, as BERT does: 80 % mask token, 10 % random token, 10 % unchanged.

    The number hidden in a block is ``share`` of its ordinary tokens, rounded, at least one: fixed by the
    block's length rather than drawn, which lowers the variance of a short training's error. Where whole words
    are hidden, words are taken in random order while they fit; the one that would exceed that number is taken
    too if the count comes nearer to it so. Each hidden token of a word meets its own fate.

    Args:
        seed: Of the run, below 2**32.
        mask_id: Id of the mask token.
        is_ordinary: (V,) True for ids that may be hidden or drawn, False for special tokens, padding among them.
        share: Of the ordinary tokens that are predicted, in (0, 1].
        word_starts: (V,) True for ids that begin a word, to hide words as a whole; None hides token by token.

    References:
        Devlin et al. 2018, arXiv 1810.04805, section 3.1 and appendix A.1; whole words: the code they released
        (google-research/bert, README of 31 May 2019).
    """

    seed: int
    mask_id: int
    is_ordinary: NDArray[np.bool_]
    share: float = 0.15
    word_starts: NDArray[np.bool_] | None = None

    @cached_property
    def ordinary_ids(self) -> NDArray[np.int64]:
        """Ids that a hidden token may be replaced by, rising."""
        return np.flatnonzero(self.is_ordinary)

    def hide(
        self, rows: NDArray[np.int64], *, epoch: int, blocks: Sequence[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Corrupt a batch of padded blocks; what happens to a block does not depend on the others.

        Args:
            rows: (B, L) ids, special tokens included.
            epoch: Pass over the data, from 0.
            blocks: (B,) index of each row's block in its split.

        Returns:
            ``(inputs, labels)``, both (B, L): the corrupted ids, and the true ids where predicted, else ``IGNORED``.
        """
        may_hide = self.is_ordinary[rows]
        begins_word = self._begins_word(rows, may_hide)
        positions, stops = np.flatnonzero(may_hide), may_hide.sum(axis=1).cumsum().tolist()
        hidden, fates, drawn = [positions[:0]], [np.zeros(0)], [positions[:0]]
        for block, start, stop in zip(blocks, [0, *stops], stops, strict=False):
            # The stream of default_rng([seed, epoch, block]), made in half the time.
            generator = np.random.Generator(np.random.PCG64(np.array([self.seed, epoch, block], dtype=np.uint32)))
            # One uniform number a token gives the order of hiding, one more its fate: for a few dozen tokens this
            # is several times faster than `choice` without replacement.
            order, fate = generator.random((2, stop - start))
            chosen = self._chosen(order, None if begins_word is None else begins_word[start:stop])
            hidden.append(positions[start:stop][chosen])
            fates.append(fate[: chosen.size])
            num_replaced = np.count_nonzero(fates[-1] >= 0.9)
            if num_replaced:
                # `Generator.choice` with replacement draws this very way, but looks through all ids each time.
                drawn.append(self.ordinary_ids[generator.integers(len(self.ordinary_ids), size=num_replaced)])
        at, fate = np.concatenate(hidden), np.concatenate(fates)
        inputs, labels = rows.copy(), np.full(rows.shape, IGNORED, dtype=np.int64)
        labels.ravel()[at] = rows.ravel()[at]
        inputs.ravel()[at[fate < 0.8]] = self.mask_id
        inputs.ravel()[at[fate >= 0.9]] = np.concatenate(drawn)
        return inputs, labels

    def _begins_word(self, rows: NDArray[np.int64], may_hide: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """For each ordinary token whether it begins a word; the first after a special one always does."""
        if self.word_starts is None:
            return None
        begins = self.word_starts[rows]
        begins[:, 0] = True
        begins[:, 1:] |= ~may_hide[:, :-1]
        return begins[may_hide]

    def _chosen(self, order: NDArray[np.float64], begins_word: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Which of a block's ordinary tokens to hide, in the order of hiding.

        Args:
            order: (T,) a number for each ordinary token; words stand in the order of their first token's.
            begins_word: (T,) where a word begins; None takes tokens one by one.
        """
        # No token, none hidden: `wanted` is cut off at the end of `order`.
        wanted = max(1, round(self.share * order.size))
        if begins_word is None or not order.size:
            return order.argsort()[:wanted]
        firsts = np.flatnonzero(begins_word)
        sizes = np.diff(firsts, append=order.size)
        words = order[firsts].argsort()
        counts = sizes[words].cumsum()
        num_words = int(np.searchsorted(counts, wanted, side="right"))
        before = int(counts[num_words - 1]) if num_words else 0
        if num_words < words.size and (num_words == 0 or counts[num_words] - wanted < wanted - before):
            num_words += 1
        return np.concatenate([np.arange(firsts[word], firsts[word] + sizes[word]) for word in words[:num_words]])

"""Masked-LM corruption that depends on (seed, epoch, block) alone, so that any restart gives the same masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IGNORED = -100  # label of a position that is not predicted, as torch's cross-entropy expects


class Hidden(NamedTuple):
    """A batch of padded blocks whose tokens are hidden.

    Attributes:
        inputs: (B, L) the corrupted ids.
        labels: (B, L) the true ids where predicted, else `IGNORED`.
        reconstructed: (M,) flat positions, row * L + column, of the tokens that the first of their row has to tell.
    """

    inputs: NDArray[np.int64]
    labels: NDArray[np.int64]
    reconstructed: NDArray[np.int64]


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
        num_reconstructed: Tokens of each block that its first token has to tell, as many as there are at most: those
            that would be hidden last, so they are seen as a rule.

    References:
        Devlin et al. 2018, arXiv 1810.04805, section 3.1 and appendix A.1; whole words: the code they released
        (google-research/bert, README of 31 May 2019).
    """

    seed: int
    mask_id: int
    is_ordinary: NDArray[np.bool_]
    share: float = 0.15
    word_starts: NDArray[np.bool_] | None = None
    num_reconstructed: int = 0

    @cached_property
    def ordinary_ids(self) -> NDArray[np.int64]:
        """Ids that a hidden token may be replaced by, rising."""
        return np.flatnonzero(self.is_ordinary)

    def hide(self, rows: NDArray[np.int64], *, epoch: int, blocks: Sequence[int]) -> Hidden:
        """Corrupt a batch of padded blocks; what happens to a block does not depend on the others.

        Args:
            rows: (B, L) ids, special tokens included.
            epoch: Pass over the data, from 0.
            blocks: (B,) index of each row's block in its split.
        """
        may_hide = self.is_ordinary[rows]
        # Everything below is flat over the ordinary tokens of the batch, row by row.
        positions = np.flatnonzero(may_hide)
        counts = may_hide.sum(axis=1)
        row_starts = np.cumsum(counts) - counts
        generators = [
            # The stream of `default_rng([seed, epoch, block])`, made in half the time.
            np.random.Generator(np.random.PCG64(np.array([self.seed, epoch, block], dtype=np.uint32)))
            for block in blocks
        ]
        # One uniform number a token gives the order of hiding, one more its fate: for a few dozen tokens this
        # is several times faster than `choice` without replacement.
        order, fate = np.empty((2, positions.size))
        for generator, start, count in zip(generators, row_starts.tolist(), counts.tolist(), strict=True):
            order[start : start + count], fate[start : start + count] = generator.random((2, count))
        if self.word_starts is None:
            hidden, num_hidden = self._hidden_tokens(order, row_starts, counts)
        else:
            word_firsts = np.flatnonzero(_begins_word(self.word_starts, rows, may_hide)[may_hide])
            hidden, num_hidden = self._hidden_words(order, word_firsts, row_starts, counts)
        # The first of a row's fates go to its hidden tokens, in the order of hiding.
        fate = fate[np.arange(hidden.size) + np.repeat(row_starts - (num_hidden.cumsum() - num_hidden), num_hidden)]
        inputs, labels = rows.copy(), np.full(rows.shape, IGNORED, dtype=np.int64)
        at = positions[hidden]
        labels.ravel()[at] = rows.ravel()[at]
        inputs.ravel()[at[fate < 0.8]] = self.mask_id
        is_replaced = fate >= 0.9
        num_replaced = np.bincount(np.repeat(np.arange(len(rows)), num_hidden)[is_replaced], minlength=len(rows))
        inputs.ravel()[at[is_replaced]] = self._random_ids(generators, num_replaced)
        return Hidden(inputs, labels, positions[self._last_tokens(order, row_starts, counts)])

    def _last_tokens(
        self, order: NDArray[np.float64], row_starts: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """(M,) the last tokens of each row in the order of hiding; arguments as of `_hidden_tokens`."""
        if not self.num_reconstructed:
            return row_starts[:0]
        by_order = _ranked(-order, counts) + row_starts[:, None]
        return by_order[np.arange(by_order.shape[1]) < np.minimum(counts, self.num_reconstructed)[:, None]]

    def _random_ids(self, generators: list[np.random.Generator], counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ordinary ids, so many from each generator, one after another."""
        # `Generator.choice` with replacement draws this very way, but looks through all ids each time.
        drawn = [
            generator.integers(len(self.ordinary_ids), size=count)
            for generator, count in zip(generators, counts.tolist(), strict=True)
            if count
        ]
        return self.ordinary_ids[np.concatenate(drawn)] if drawn else self.ordinary_ids[:0]

    def _wanted(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B,) tokens to hide of so many ordinary ones."""
        wanted: NDArray[np.int64] = np.minimum(np.maximum(np.rint(self.share * counts).astype(np.int64), 1), counts)
        return wanted

    def _hidden_tokens(
        self, order: NDArray[np.float64], row_starts: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ordinary tokens to hide, row by row and in each row in the order of hiding, and their number in each row.

        Args:
            order: (T,) a number for each ordinary token, whose rank in its row is the order of hiding.
            row_starts: (B,) the first token of each row.
            counts: (B,) tokens of each row.
        """
        wanted = self._wanted(counts)
        by_order = _ranked(order, counts) + row_starts[:, None]
        return by_order[np.arange(by_order.shape[1]) < wanted[:, None]], wanted

    def _hidden_words(
        self,
        order: NDArray[np.float64],
        word_firsts: NDArray[np.int64],
        row_starts: NDArray[np.int64],
        counts: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """As `_hidden_tokens`, by words: these stand in the order of their first token, (W,) ``word_firsts``."""
        sizes = np.diff(word_firsts, append=order.size)
        words_before = np.searchsorted(word_firsts, row_starts)
        num_words = np.diff(words_before, append=word_firsts.size)
        by_order = _ranked(order[word_firsts], num_words)
        is_word = np.arange(by_order.shape[1]) < num_words[:, None]
        by_order = np.where(is_word, by_order + words_before[:, None], 0)
        sizes_by_order = sizes[by_order] * is_word
        after = sizes_by_order.cumsum(axis=1)
        before = after - sizes_by_order
        wanted = self._wanted(counts)[:, None]
        # A word that fits comes nearer too.
        is_taken = is_word & ((before == 0) | (after - wanted < wanted - before))
        firsts, lengths = word_firsts[by_order[is_taken]], sizes_by_order[is_taken]
        hidden = np.repeat(firsts - (lengths.cumsum() - lengths), lengths) + np.arange(lengths.sum())
        return hidden, (sizes_by_order * is_taken).sum(axis=1)


def _begins_word(
    word_starts: NDArray[np.bool_], rows: NDArray[np.int64], may_hide: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(B, L) whether a token begins a word; the first ordinary one after a special one always does."""
    begins = word_starts[rows]
    begins[:, 0] = True
    begins[:, 1:] |= ~may_hide[:, :-1]
    return begins


def _ranked(numbers: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(B, max(counts)) index in its row of each number, by rising number; rows lie end to end, so many in each."""
    table = np.full((len(counts), counts.max()), np.inf)
    table[np.arange(table.shape[1]) < counts[:, None]] = numbers
    return table.argsort(axis=1)

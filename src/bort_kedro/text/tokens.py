"""Token blocks as values: what masked-LM training reads, whoever stores it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from bort_kedro.text.batching import padding_share

# Blocks of the longest length in the batches whose padding is reported.
SUMMARY_BATCH_BLOCKS = 16


@dataclass(frozen=True)
class Vocabulary:
    """What training must know of a tokenizer.

    Args:
        size: V, number of ids.
        mask_id: Id of the mask token.
        pad_id: Id of the padding token.
        special_ids: Every special id; these are never predicted.
        fingerprint: Hash of the tokenizer, to tell when a model and its tokens part ways.
        start_id: Id that stands before every text and nowhere else, such as that of ``<s>``; None where there is none.
    """

    size: int
    mask_id: int
    pad_id: int
    special_ids: tuple[int, ...]
    fingerprint: str
    start_id: int | None = None

    @property
    def is_ordinary(self) -> NDArray[np.bool_]:
        """(V,) True for ids that may be predicted."""
        table = np.ones(self.size, dtype=bool)
        table[list(self.special_ids)] = False
        return table


@dataclass(frozen=True)
class TokenBlocks:
    """The blocks of one split, end to end.

    Args:
        ids: (T,) token ids of all blocks, special tokens included; may be memory-mapped.
        offsets: (N + 1,) where each block starts; the last is T; may be memory-mapped.
        joined: Whether a block may hold several documents, each begun by the vocabulary's ``start_id``.
    """

    ids: NDArray[np.integer]
    offsets: NDArray[np.int64]
    joined: bool = False

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, block: int) -> NDArray[np.integer]:
        return self.ids[self.offsets[block] : self.offsets[block + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) tokens of each block."""
        offsets: NDArray[np.int64] = np.asarray(self.offsets)
        return offsets[1:] - offsets[:-1]

    @classmethod
    def from_blocks(cls, blocks: list[list[int]], *, vocabulary_size: int) -> TokenBlocks:
        """Put lists of ids end to end."""
        offsets = starts_of(np.array([len(block) for block in blocks], dtype=np.int64))
        ids = np.fromiter(chain.from_iterable(blocks), dtype=id_dtype(vocabulary_size), count=int(offsets[-1]))
        return cls(ids=ids, offsets=offsets)


@dataclass(frozen=True)
class Tokens:
    """A tokenised corpus.

    Args:
        vocabulary: Of the tokenizer that made the ids.
        splits: Blocks by split: ``train``, ``validation``, ``test``.
        fingerprint: Hash of all of it; empty before it is stored.
        word_starts: (V,) True for ids that begin a word; None for tokens stored without it.
    """

    vocabulary: Vocabulary
    splits: dict[str, TokenBlocks]
    fingerprint: str = ""
    word_starts: NDArray[np.bool_] | None = None

    def summary(self) -> dict[str, dict[str, float]]:
        """Blocks and tokens of each split, and the share of padding in batches of its blocks."""
        return {
            name: {
                "blocks": len(split),
                "tokens": len(split.ids),
                "padding_share": round(
                    padding_share(
                        split.lengths, batch_tokens=SUMMARY_BATCH_BLOCKS * int(split.lengths.max(initial=0)), seed=0
                    ),
                    4,
                ),
            }
            for name, split in self.splits.items()
        }


def id_dtype(vocabulary_size: int) -> type[np.unsignedinteger]:
    """Two bytes an id where the vocabulary allows, else four."""
    return np.uint16 if vocabulary_size <= np.iinfo(np.uint16).max + 1 else np.uint32


def starts_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N + 1,) where each of N things laid end to end starts, and where the last ends."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])


def cut_documents(lengths: NDArray[np.int64], *, block_tokens: int) -> NDArray[np.int64]:
    """Cut documents into the fewest pieces of at most ``block_tokens``, those of a document as equal as can be.

    Equal pieces leave no stub of a few tokens at the end, which could hide nothing worth predicting.

    Args:
        lengths: (D,) tokens of each document.
        block_tokens: Tokens of the longest piece.

    Returns:
        (P,) tokens of each piece, in the order of the text; no piece is empty.
    """
    counts = -(-lengths // block_tokens)
    piece_in_document = np.arange(counts.sum()) - np.repeat(starts_of(counts)[:-1], counts)
    length, count = np.repeat(lengths, counts), np.repeat(counts, counts)
    ends = np.rint((piece_in_document + 1) * length / count)
    return (ends - np.rint(piece_in_document * length / count)).astype(np.int64)


def frame_documents(
    ids: NDArray[np.integer],
    lengths: NDArray[np.int64],
    *,
    before: Sequence[int],
    after: Sequence[int],
    sequence_length: int,
) -> TokenBlocks:
    """Blocks of at most ``sequence_length`` ids, each a piece of one document between its special tokens.

    Args:
        ids: (T,) ids of the documents, end to end, special tokens not included.
        lengths: (D,) tokens of each document.
        before: Special ids before each piece.
        after: Special ids after it.
        sequence_length: Tokens of a block, special ones included.
    """
    frame = len(before) + len(after)
    offsets = starts_of(cut_documents(lengths, block_tokens=sequence_length - frame) + frame)
    framed = np.empty(offsets[-1], dtype=ids.dtype)
    is_text = np.ones(len(framed), dtype=bool)
    places = [offsets[:-1] + place for place in range(len(before))]
    places += [offsets[1:] - len(after) + place for place in range(len(after))]
    for place, token in zip(places, [*before, *after], strict=True):
        framed[place], is_text[place] = token, False
    framed[is_text] = ids
    return TokenBlocks(framed, offsets)


def fill_blocks(
    documents: TokenBlocks, *, before: Sequence[int], after: Sequence[int], sequence_length: int
) -> TokenBlocks:
    """Documents one after another in blocks of ``sequence_length`` tokens; only the last may have fewer.

    The input of RoBERTa (Liu et al. 2019, arXiv 1907.11692, section 4.2): behind the special tokens that end a document
    a block goes on with the next. We cut wherever a block is full, also within a sentence.

    Args:
        documents: Each whole and between its special tokens.
        before: Special ids before a block, that documents begin with too.
        after: Likewise behind it.
        sequence_length: Tokens of a block, special ones included.
    """
    starts = np.asarray(documents.offsets)[:-1]
    # What ends the last document ends its block.
    text = np.delete(documents.ids, (starts[:, None] + np.arange(len(before))).ravel())
    text = text[: max(0, len(text) - len(after))]
    room = sequence_length - len(before) - len(after)
    lengths = np.minimum(room, len(text) - np.arange(0, len(text), room))
    return frame_documents(text, lengths, before=before, after=after, sequence_length=sequence_length)


def join_blocks(blocks: TokenBlocks, *, sequence_length: int) -> TokenBlocks:
    """Put as many following blocks into one as fit into ``sequence_length`` tokens; the ids stay as they are.

    A block that no longer fits opens the next one (next-fit), so that the order of the text is kept.
    """
    offsets = np.asarray(blocks.offsets)
    following = (np.searchsorted(offsets, offsets + sequence_length, side="right") - 1).tolist()
    kept, block = [0], 0
    while block < len(blocks):
        block = following[block]
        kept.append(block)
    return TokenBlocks(blocks.ids, offsets[kept], joined=True)

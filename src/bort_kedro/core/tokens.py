"""Token blocks as values: what masked-LM training reads, whoever stores it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Vocabulary:
    """What training must know of a tokenizer.

    Args:
        size: V, number of ids.
        mask_id: Id of the mask token.
        pad_id: Id of the padding token.
        special_ids: Every special id; these are never predicted.
        fingerprint: Hash of the tokenizer, to tell when a model and its tokens part ways.
    """

    size: int
    mask_id: int
    pad_id: int
    special_ids: tuple[int, ...]
    fingerprint: str

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
        offsets: (N + 1,) where each block starts; the last is T.
    """

    ids: NDArray[np.integer]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, block: int) -> NDArray[np.integer]:
        return self.ids[self.offsets[block] : self.offsets[block + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) tokens of each block."""
        return np.diff(self.offsets)

    @classmethod
    def from_blocks(cls, blocks: list[list[int]], *, vocabulary_size: int) -> TokenBlocks:
        """Pack lists of ids; two bytes an id where the vocabulary allows."""
        dtype: type[np.unsignedinteger] = np.uint16 if vocabulary_size <= np.iinfo(np.uint16).max + 1 else np.uint32
        offsets = np.concatenate([[0], np.cumsum([len(block) for block in blocks], dtype=np.int64)])
        ids = np.fromiter((token for block in blocks for token in block), dtype=dtype, count=int(offsets[-1]))
        return cls(ids=ids, offsets=offsets.astype(np.int64))


@dataclass(frozen=True)
class Tokens:
    """A tokenised corpus.

    Args:
        vocabulary: Of the tokenizer that made the ids.
        splits: Blocks by split: ``train``, ``validation``, ``test``.
        fingerprint: Hash of all of it; empty before it is stored.
    """

    vocabulary: Vocabulary
    splits: dict[str, TokenBlocks]
    fingerprint: str = ""

    def summary(self) -> dict[str, dict[str, int]]:
        """Blocks and tokens of each split."""
        return {name: {"blocks": len(split), "tokens": len(split.ids)} for name, split in self.splits.items()}


def cut_document(token_ids: list[int], *, block_tokens: int) -> list[list[int]]:
    """Cut one document into the fewest pieces of at most ``block_tokens``, as equal as can be.

    Equal pieces leave no stub of a few tokens at the end, which could hide nothing worth predicting.
    """
    count = -(-len(token_ids) // block_tokens)
    bounds = [round(index * len(token_ids) / count) for index in range(count + 1)] if count else [0]
    return [token_ids[start:stop] for start, stop in pairwise(bounds)]

"""Count-based predictions of a hidden token: the least that a masked-LM encoder must beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bort_kedro.text.tokens import TokenBlocks


class CountBaselines:
    """The most frequent token, and the most frequent follower of the token to the left.

    Args:
        blocks: Training blocks; pairs are counted within a block only.
        is_ordinary: (V,) True for ids that may be predicted.
    """

    def __init__(self, blocks: TokenBlocks, is_ordinary: NDArray[np.bool_]) -> None:
        size = len(is_ordinary)
        ids = np.asarray(blocks.ids, dtype=np.int64)
        self.most_frequent = int(np.argmax(np.bincount(ids, minlength=size) * is_ordinary))
        left, right = ids[:-1], ids[1:]
        is_pair = np.ones(len(left), dtype=bool)
        is_pair[blocks.offsets[1:-1] - 1] = False
        is_pair &= is_ordinary[right]
        counts = sparse.csr_matrix((np.ones(is_pair.sum()), (left[is_pair], right[is_pair])), shape=(size, size))
        counts.sum_duplicates()
        followers = np.asarray(counts.argmax(axis=1)).ravel()
        has_follower = np.diff(counts.indptr) > 0
        self._follower = np.where(has_follower, followers, self.most_frequent)

    def predict(
        self, input_ids: NDArray[np.integer], positions: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Predictions at flat positions (N,), row * L + column, of (B, L) ids.

        Returns:
            ``(unigram, bigram)``, each (N,). The bigram sees the corrupted text, as an encoder does: where
            the token to the left is hidden too, it falls back on the most frequent follower of the mask
            token, which was never seen, hence on the most frequent token.
        """
        rows, columns = np.divmod(positions, input_ids.shape[1])
        bigram = self._follower[input_ids[rows, columns - 1]]
        return np.full(len(positions), self.most_frequent), bigram

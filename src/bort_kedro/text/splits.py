"""Divide documents, never blocks, among training, validation, test and the built-in tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bort_kedro.errors import CorpusError


def assign_splits(document_ids: Sequence[str], *, shares: Mapping[str, float], seed: int) -> list[str]:
    """The split of each document: ``train``, or a name in ``shares``.

    The division depends on the set of ids and the seed, not on the order of the documents. A share above
    zero gets at least one document.

    Args:
        document_ids: Unique names.
        shares: Share of the documents by split, without ``train``, which takes the rest.
        seed: Of the shuffle.

    Raises:
        CorpusError: If there are too few documents to give every split one.
    """
    count = len(document_ids)
    sizes = {split: max(1, round(share * count)) for split, share in shares.items() if share > 0}
    if sum(sizes.values()) >= count:
        raise CorpusError(
            f"The corpus has {count} document(s), too few to divide: {', '.join(sizes)} need at least one each "
            f"and training the rest, so at least {len(sizes) + 1}. Give more text, or cut plain files into more "
            "documents with `document_boundary` in the catalog entry `raw_corpus`."
        )
    order = np.array(sorted(document_ids))[np.random.default_rng(seed).permutation(count)]
    split_of, start = {}, 0
    for split, size in sizes.items():
        split_of.update(dict.fromkeys(order[start : start + size], split))
        start += size
    return [split_of.get(document, "train") for document in document_ids]

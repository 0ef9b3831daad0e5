"""How one document is cut, by the plain formula: what the array form for many documents is held against."""

from itertools import pairwise


def cut_document(token_ids, *, block_tokens):
    """The fewest pieces of at most ``block_tokens``, as equal as can be."""
    count = -(-len(token_ids) // block_tokens)
    bounds = [round(index * len(token_ids) / count) for index in range(count + 1)] if count else [0]
    return [token_ids[start:stop] for start, stop in pairwise(bounds)]

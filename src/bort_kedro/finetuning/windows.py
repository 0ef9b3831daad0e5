"""Which token answers for each word of a text, and in which window of a text that is too long for the encoder.

Windows overlap by half, so that a word at the edge of one stands in the middle of its neighbour: each word is answered
by the window in which more stands on both its sides, and nothing of a text is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bort_kedro.text.prose import word_places

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Encoding


class Window(NamedTuple):
    """A part of a text's tokens.

    Attributes:
        tokens: Without special ones.
        answering: Places in it of the tokens that answer for a word each.
    """

    tokens: Encoding
    answering: NDArray[np.int64]


def first_tokens(text: str, tokens: Encoding) -> NDArray[np.int64]:
    """(W,) the first token of each word that white space parts; of a word of which the tokenizer leaves nothing, the
    token that comes after it."""
    ends = np.maximum.accumulate(np.array([0, *(end for _, end in tokens.offsets)]))[1:]
    starts = [start for start, _ in word_places(text)]
    # Some tokenizers count the blank before a word to its first token, but none the first letter to another.
    return np.minimum(np.searchsorted(ends, starts, side="right"), max(0, len(ends) - 1)).astype(np.int64)


def windows_of(text: str, tokens: Encoding, *, length: int) -> list[Window]:
    """The windows of a text that answer for a word, as all do but those within a very long one; one where it fits.

    Args:
        text: As it was tokenised.
        tokens: Its own, without special ones; they are cut in place.
        length: Of a window in tokens, two at least.
    """
    answering = first_tokens(text, tokens)
    overlap = length // 2
    step = length - overlap
    tokens.truncate(length, stride=overlap)
    parts = [tokens, *tokens.overflowing]
    # Of the tokens that two neighbours share, each has the half that lies further from its edge.
    bounds = [place * step + overlap // 2 for place in range(1, len(parts))]
    of_window = np.split(answering, np.searchsorted(answering, bounds))
    windows = [Window(part, own - place * step) for place, (part, own) in enumerate(zip(parts, of_window, strict=True))]
    return [window for window in windows if len(window.answering)] or windows[:1]

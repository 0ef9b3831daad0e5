"""Long texts in pieces, for tokenizers that hold all that they know of a text at once."""

import re
from itertools import pairwise

# A piece has so many characters to twice as many.
CHARACTERS_OF_PIECE = 2**16
_BEFORE_WORD = re.compile(r"(?<=\w) (?=\w)")


def pieces_of(text: str) -> list[str]:
    """A text in pieces that have the tokens of the whole: they begin with the space before a word, where there is one.

    Where there is none for the length of a piece, a word is cut. Tokenizers keep some hundred bytes of each token while
    they are at a text, so one of 100 MB would take ten gigabytes.
    """
    starts = [0]
    while len(text) - starts[-1] > 2 * CHARACTERS_OF_PIECE:
        first, last = starts[-1] + CHARACTERS_OF_PIECE, starts[-1] + 2 * CHARACTERS_OF_PIECE
        found = _BEFORE_WORD.search(text, first, last + 1)
        starts.append(found.start() if found else last)
    return [text[start:stop] for start, stop in pairwise([*starts, len(text)])]

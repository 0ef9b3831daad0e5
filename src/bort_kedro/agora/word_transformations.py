"""Texts made similar to a given one by moving and leaving out words, whatever the language.

A word is what stands between blanks. Its characters and the blanks that stay are those of the text, byte for byte. A
text without room for what is to be done comes back as it is. Marked spans (`tasks.spans`) may be protected: then they
stay as they are and in their order, and but for shuffled spans also where they are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from bort_kedro.tasks.spans import CLOSE, OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

# A span of one word would be a swap of two words.
SHORTEST_SPAN = 2
_WORD = re.compile(r"\S+")


def marked_words(words: Sequence[str]) -> NDArray[np.bool_]:
    """(N,) True for the words of marked spans, the marks among them; see `tasks.spans`."""
    is_mark = np.array([[word == OPEN, word == CLOSE] for word in words], dtype=np.int64).reshape(-1, 2)
    opened, closed = is_mark.cumsum(axis=0).T
    is_marked: NDArray[np.bool_] = (opened > closed) | (is_mark[:, 1] > 0)
    return is_marked


def count_of(share: float, num_words: int) -> int:
    """Words to change of so many: the share of them, rounded, at least one."""
    return max(1, round(share * num_words))


def swap_words(text: str, *, share: float, generator: np.random.Generator, protects_spans: bool = False) -> str:
    """Let pairs of words change places: of those that may move a share, and one pair at least."""
    words, gaps, free = _parts(text, protects_spans)
    if len(free) < 2:
        return text
    num_pairs = min(max(1, round(share * len(free) / 2)), len(free) // 2)
    first, second = generator.choice(free, size=(2, num_pairs), replace=False)
    order = np.arange(len(words))
    order[first], order[second] = second, first
    return _joined(words, gaps, order)


def delete_words(text: str, *, share: float, generator: np.random.Generator, protects_spans: bool = False) -> str:
    """Leave out single words with the blanks before them: of those that may go a share, one at least, never all."""
    words, gaps, free = _parts(text, protects_spans)
    if not len(free) or len(words) < 2:
        return text
    num_gone = min(count_of(share, len(free)), len(words) - 1)
    kept = np.setdiff1d(np.arange(len(words)), generator.choice(free, size=num_gone, replace=False))
    return _without_the_others(words, gaps, kept)


def crop_words(text: str, *, share: float, generator: np.random.Generator, protects_spans: bool = False) -> str:
    """Leave out words at both ends, as many in all as `delete_words` would, and none between marked spans."""
    words, gaps, free = _parts(text, protects_spans)
    protected = np.setdiff1d(np.arange(len(words)), free)
    before, after = len(words), len(words)
    if len(protected):
        before, after = int(protected[0]), len(words) - 1 - int(protected[-1])
    num_gone = min(count_of(share, len(free)), before + after, len(words) - 1)
    if num_gone < 1:
        return text
    start = int(generator.integers(max(0, num_gone - after), min(num_gone, before) + 1))
    return _without_the_others(words, gaps, np.arange(start, start + len(words) - num_gone))


def shuffle_spans(text: str, *, share: float, generator: np.random.Generator, protects_spans: bool = False) -> str:
    """Let two spans of as many neighbouring words change places: of those that may move a share, if there is room."""
    words, gaps, free = _parts(text, protects_spans)
    for length in range(max(SHORTEST_SPAN, round(share * len(free) / 2)), SHORTEST_SPAN - 1, -1):
        # Words that may move and stand in a row: the last is as far from the first as there are words between.
        starts = free[: len(free) - length + 1]
        starts = starts[free[length - 1 :] - starts == length - 1]
        if len(starts) and starts[-1] - starts[0] >= length:
            break
    else:
        return text
    has_partner = (starts - starts[0] >= length) | (starts[-1] - starts >= length)
    one = generator.choice(starts[has_partner])
    other = generator.choice(starts[np.abs(starts - one) >= length])
    order = np.arange(len(words))
    order[one : one + length] = np.arange(other, other + length)
    order[other : other + length] = np.arange(one, one + length)
    return _joined(words, gaps, order)


# By name, as settings name them.
WORD_TRANSFORMATIONS: dict[str, Callable[..., str]] = {
    "swap_words": swap_words,
    "delete_words": delete_words,
    "crop_words": crop_words,
    "shuffle_spans": shuffle_spans,
}


def _parts(text: str, protects_spans: bool) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """The N words of a text, the N + 1 stretches of blanks around them, and which words may be touched."""
    words, gaps = _WORD.findall(text), _WORD.split(text)
    may_touch = ~marked_words(words) if protects_spans else np.ones(len(words), dtype=bool)
    return words, gaps, np.flatnonzero(may_touch)


def _joined(words: Sequence[str], gaps: Sequence[str], order: NDArray[np.int64]) -> str:
    """All words in another order, the blanks where they were."""
    moved = (words[place] for place in order)
    return gaps[0] + "".join(word + gap for word, gap in zip(moved, gaps[1:], strict=True))


def _without_the_others(words: Sequence[str], gaps: Sequence[str], kept: NDArray[np.int64]) -> str:
    """Some of the words, each but the first with the blanks before it; the text begins and ends as it did."""
    first, *rest = map(int, kept)
    return gaps[0] + words[first] + "".join(gaps[place] + words[place] for place in rest) + gaps[-1]

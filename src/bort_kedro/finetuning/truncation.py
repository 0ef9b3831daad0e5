"""Which tokens of a text or a pair stay when it is too long for the encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bort_kedro.tasks.table import Truncation

if TYPE_CHECKING:
    from collections.abc import Sequence

# A text that may not lose tokens still does where it alone would fill the input; the other keeps at least so many.
MINIMUM_TOKENS = 1


def cut_lengths(first: int, second: int, *, room: int, truncation: Truncation) -> tuple[int, int]:
    """Tokens that each of two texts keeps.

    Args:
        first: Tokens of the text.
        second: Tokens of its pair, 0 for a single text.
        room: For both together, at least two.
        truncation: ``text`` and ``text_pair`` take from that one as long as it has any, and then from the other;
            the others take from the longer one, one token at a time, from the text among equals.

    Returns:
        Two lengths whose sum is ``room``, or the lengths as they are if they fit.
    """
    excess = first + second - room
    if excess <= 0:
        return first, second
    if truncation == Truncation.TEXT:
        taken = min(excess, max(first - MINIMUM_TOKENS, 0)) if second else excess
        return first - taken, second - (excess - taken)
    if truncation == Truncation.TEXT_PAIR and second:
        taken = min(excess, max(second - MINIMUM_TOKENS, 0))
        return first - (excess - taken), second - taken
    half = room // 2
    if min(first, second) <= half:
        shorter = min(first, second)
        return (shorter, room - shorter) if first <= second else (room - shorter, shorter)
    return half, room - half


def window_start(marked: Sequence[int], *, num_tokens: int, length: int) -> int:
    """First token of the window of a text that keeps its marked tokens, which stand in the middle of it.

    Args:
        marked: Places of the tokens that mark spans; none keeps the beginning of the text.
        num_tokens: Of the text.
        length: Of the window, at most ``num_tokens``.

    Returns:
        The start. Marks that are further apart than the window can hold are given up from the first on.
    """
    if not marked:
        return 0
    kept = [place for place in marked if place > max(marked) - length]
    middle = (min(kept) + max(kept) + 1) // 2
    return min(max(0, middle - length // 2), num_tokens - length)

"""Spans of a text that a task asks about, marked so that an encoder sees them."""

import re
from collections.abc import Sequence

# Words of their own around a span: "The [ bank ] was closed".
OPEN, CLOSE = "[", "]"
_ROUND = str.maketrans({OPEN: "(", CLOSE: ")"})


def without_brackets(text: str) -> str:
    """The text with brackets of its own made round, so that only marks are left; as long as before."""
    return text.translate(_ROUND)


def mark(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Put marks around spans, start and end of each in characters, the end not included; one may lie within another.

    Returns:
        The text, its own brackets round, with each span between `OPEN` and `CLOSE`, which stand as words of their own.

    Raises:
        ValueError: If a span is blank or outside the text, or if two cross.
    """
    for start, end in spans:
        if not 0 <= start < end <= len(text) or not text[start:end].strip():
            raise ValueError(f"there is no text from {start} to {end} of its {len(text)} characters")
        for other_start, other_end in spans:
            if start < other_start < end < other_end:
                raise ValueError(f"the spans {start} to {end} and {other_start} to {other_end} cross")
    # Where several marks meet: first what closes, the inner span before the outer, then what opens, the outer first.
    opened = [(start, 1, -end, OPEN) for start, end in spans]
    closed = [(end, 0, -start, CLOSE) for start, end in spans]
    text, marked, at = without_brackets(text), "", 0
    for position, _, _, sign in sorted(opened + closed):
        marked = _joined(_joined(marked, text[at:position]), sign)
        at = position
    return _joined(marked, text[at:])


def _joined(before: str, after: str) -> str:
    """Two pieces with a blank between them, unless there is one or one of them is empty."""
    has_room = not before or not after or before[-1].isspace() or after[0].isspace()
    return before + after if has_room else f"{before} {after}"


def find_span(text: str, span: str, word_index: int) -> tuple[int, int] | None:
    """Where a span stands that is given by its words and the number of the first, as in WSC; None if nowhere.

    The official files spell some spans with another capital or with a full stop of the sentence's, and one index is
    wrong (validation, idx 42), so the words decide and the index chooses among several places. Three spans of the test
    split name people whom the text names apart ("Kamenev and Zinoviev"): of these the first name is taken if the index,
    give or take one word, agrees (our decision).
    """
    words = span.rstrip(".").split()
    if not words:
        return None
    found = _nearest(text, words, word_index)
    if found is None:
        found = _nearest(text, [re.sub(r"\W+$", "", words[0]) or words[0]], word_index)
        if found is None or abs(_word_number(text, found[0]) - word_index) > 1:
            return None
    return found


def _nearest(text: str, words: list[str], word_index: int) -> tuple[int, int] | None:
    """The place of these words, in any capitals, whose word number is closest to the index; the first of equals."""
    pattern = r"(?<!\w)" + r"\s+".join(map(re.escape, words)) + r"(?!\w)"
    places = [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]
    return min(places, key=lambda place: abs(_word_number(text, place[0]) - word_index), default=None)


def _word_number(text: str, position: int) -> int:
    """Of the word that has the character at this position."""
    return len(text[: position + 1].split()) - 1

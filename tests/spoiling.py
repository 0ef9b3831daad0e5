"""Files and values as people and broken disks leave them, for tests of what readers make of these."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import strategies as st

from bort_kedro.errors import BortKedroError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Value = TypeVar("Value")

# What readers of numbers, of texts and of lines take for something else, or for nothing.
_NUMBERS = "0 -1 1.5 -0.0 1e999 1e-999 nan inf 1_000 0x10 1:30 ١"
_WORDS = "NA null None true no yes ~ a é ${a} ../a =1+1"
NUMBERS = ("", " 2 ", "9" * 400, *_NUMBERS.split())
WORDS = ("\ufeff", "\u2028", "\x00", *_WORDS.split())
SIGNS = ("\t", "\n", "\r\n", "\r", "\n\n", "<doc ", "</doc>", '""', *"\"',;\\{}[]:#-")
BYTES = (*(text.encode() for text in (*NUMBERS, *WORDS, *SIGNS)), b"\xff", b"\x80", b"\xed\xa0\x80", b"\x1f\x8b")

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.sampled_from([10**9, 10**30, 10**400, -(10**400)])
    | st.floats()
    | st.sampled_from((*NUMBERS, *WORDS, *SIGNS, "\ud800"))
    | st.text('aé "\n0', max_size=4)
)
JSON = st.recursive(
    LEAVES,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from([*WORDS, "name"]), below, max_size=3),
    max_leaves=5,
)


@st.composite
def spoiled_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """A file that was cut short, lost or gained some bytes, or has a part of it twice; or was replaced altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=40))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        stop = draw(st.integers(start, min(len(content), start + 12)))
        kind = draw(st.sampled_from(["cut", "drop", "put", "put", "replace", "repeat"]))
        odd = draw(st.sampled_from(BYTES)) if kind in ("put", "replace") else b""
        content = {
            "cut": content[:start],
            "drop": content[:start] + content[stop:],
            "put": content[:start] + odd + content[start:],
            "replace": content[:start] + odd + content[stop:],
            "repeat": content[:stop] + content[start:],
        }[kind]
    return content


@st.composite
def edited(draw: st.DrawFn, value: Any, leaves: st.SearchStrategy[Any] = JSON) -> Any:
    """A JSON value of which up to three parts were replaced, left out or added."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(0, 3))):
        places = list(places_in(value))
        *above, last = draw(st.sampled_from(places)) if places else [None]
        if not above and last is None:
            value = draw(leaves)
            continue
        holder = value
        for part in above:
            holder = holder[part]
        kind = draw(st.sampled_from(["replace", "replace", "drop", "add"]))
        if kind == "drop":
            del holder[last]
        elif kind == "add" and isinstance(holder, list):
            holder.append(draw(leaves))
        elif kind == "add":
            holder[draw(st.sampled_from(WORDS))] = draw(leaves)
        else:
            holder[last] = draw(leaves)
    return value


def places_in(value: Any) -> Iterator[tuple[Any, ...]]:
    """The path of each part of a JSON value, in its order."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, below in parts:
        yield (name,)
        yield from ((name, *rest) for rest in places_in(below))


def read_or_refused(read: Callable[[], Value], *names: object) -> tuple[Value | None, str]:
    """What was read and "", or None and why it was refused: an error of ours that names all of these.

    Any other error is raised again. Kedro wraps those of datasets.
    """
    try:
        return read(), ""
    except Exception as fault:
        cause: BaseException | None = fault
        while cause is not None and not isinstance(cause, BortKedroError):
            cause = cause.__cause__
        if cause is None:
            raise
        text = str(cause)
    missing = [str(name) for name in names if str(name) not in text]
    assert not missing, f"{missing} not named in: {text}"
    assert text.endswith((".", ")")), text
    return None, text

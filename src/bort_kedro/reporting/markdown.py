"""Numbers as Markdown text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MISSING = "–"
# That a corpus may have been read from, before the others are counted.
MOST_SOURCES = 8


class IllustratedText(NamedTuple):
    """A Markdown text that refers to its images by bare file name, and their SVG by that name."""

    text: str
    images: Mapping[str, str]


def number(value: float | None, digits: int) -> str:
    """Fixed decimals, thousands set apart; a dash where nothing was measured."""
    return MISSING if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def percent(value: float | None, standard_error: float | None = None) -> str:
    """A share such as 0.413 as ``41.3 %``, with its standard error as ``41.3 ± 0.4 %`` where there is one."""
    if value is None or math.isnan(value):
        return MISSING
    if standard_error is None or math.isnan(standard_error):
        return f"{100 * value:.1f} %"
    return f"{100 * value:.1f} ± {100 * standard_error:.1f} %"


def with_noise(value: float | None, standard_error: float | None) -> str:
    """A number such as ``0.541 ± 0.012``; without the second where it is unknown."""
    if value is None or standard_error is None or math.isnan(value) or math.isnan(standard_error):
        return number(value, 3)
    return f"{number(value, 3)} ± {number(standard_error, 3)}"


def with_interval(text: str, low: float | None, high: float | None, *, digits: int) -> str:
    """A cell such as ``57.2 ± 0.9 % (55.4 to 59.0)``; without the brackets where there is no interval."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return text
    return f"{text} ({number(low, digits)} to {number(high, digits)})"


def signed_points(difference: float, standard_error: float) -> str:
    """A difference of shares in percentage points, for a table, with its standard error."""
    return f"{100 * difference:+.1f} ± {100 * standard_error:.1f}"


def points(difference: float, standard_error: float) -> str:
    """A difference of shares in percentage points, signless, with its standard error."""
    return f"{100 * abs(difference):.1f} ± {100 * standard_error:.1f} percentage points"


def large(value: float | None) -> str:
    """A count with three significant digits and its unit, such as ``56.0 M``."""
    if value is None or math.isnan(value):
        return MISSING
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            scaled = value / size
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f}{unit}"
    return f"{value:.0f}"


def times(ratio: float | None) -> str:
    """A ratio such as ``12.8x``."""
    return MISSING if ratio is None or math.isnan(ratio) else f"{ratio:,.{1 if ratio < 100 else 0}f}x"


def duration(seconds: float) -> str:
    """``42 s`` or ``3 min 20 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def sources(versions: Mapping[str, str]) -> str:
    """What a corpus was read from, with versions or sizes; of many files the first, and how many more."""
    named = [f"{name} {version}" for name, version in versions.items()]
    more = len(named) - MOST_SOURCES
    return ", ".join(named[:MOST_SOURCES]) + (f" and {more:,} more" if more > 0 else "")


def image(name: str, description: str) -> str:
    """An image beside the text; the description is read where it is not shown."""
    return f"![{description}]({name})"


def bullets(sentences: Iterable[str]) -> str:
    """One list item for each sentence."""
    return "\n".join(f"- {sentence}" for sentence in sentences)

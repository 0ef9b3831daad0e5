"""Pick the prose out of reStructuredText and NumPy-style documentation strings."""

import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import TypeGuard

MINIMUM_WORDS = 6

_MARKUP_LINE = re.compile(
    r"^\s*(>>>|\.\.\.|\.\. |:\w+[^:]*:|[-=~^*#+`|]{3,}|\||@|\$|def |class |import |from \S+ import )"
)
_PARAMETER_LINE = re.compile(r"^\s*[*\w\[\]`.,'\" ]{1,60} : ")
_ROLE = re.compile(r":[\w:+-]+:`~?([^`<]+?)(?:\s*<[^`>]*>)?`")
_REFERENCE = re.compile(r"\s*\[\w+\]_")
# After these a capital letter does not begin a sentence. Each group has one width, as a look-behind needs.
_ABBREVIATIONS = (
    r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\b(?:al|cf|vs|Dr|Eq|Mr)\.)"
    r"(?<!\b(?:Eqs|Fig|Mrs|Ref)\.)(?<!\b(?:Figs|Prof|Refs)\.)"
)
_SENTENCE_END = re.compile(r"(?<=[a-z0-9)'\"][.!?])" + _ABBREVIATIONS + r"\s+(?=[A-Z])")
_WORD = re.compile(r"[A-Za-z]{2,}|\ba\b|\bI\b")
_BETWEEN_BLANKS = re.compile(r"\S+")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def half_character(text: str) -> str:
    """Which half of a character stands where, or ""; JSON and Python can spell halves, which no tokenizer takes."""
    found = None if text.isascii() else _HALF_CHARACTER.search(text)
    return f"half a character, {found.group()!r}, as number {found.start() + 1} of {len(text)}" if found else ""


def is_whole(text: object) -> TypeGuard[str]:
    """True for a text of whole characters."""
    return isinstance(text, str) and not half_character(text)


def word_places(text: str) -> list[tuple[int, int]]:
    """Start and end of each word that white space parts, in characters, the end not included."""
    return [match.span() for match in _BETWEEN_BLANKS.finditer(text)]


def clean_markup(text: str) -> str:
    """Replace inline markup by what a reader sees: roles, literals, emphasis, citations."""
    text = _ROLE.sub(r"\1", text)
    text = _REFERENCE.sub("", text)
    return re.sub(r"`{1,2}|\*{1,2}(?=\w)|(?<=\w)\*{1,2}", "", text)


def is_prose(paragraph: str) -> bool:
    """True for a run of sentences: enough words, mostly letters, ended as a sentence is."""
    if len(_WORD.findall(paragraph)) < MINIMUM_WORDS or paragraph[-1] not in ".!?:":
        return False
    letters = sum(character.isalpha() or character == " " for character in paragraph)
    return letters >= 0.85 * len(paragraph)


def prose_paragraphs(docstring: str) -> Iterator[str]:
    """Yield the prose paragraphs of a documentation string, one line each, in order.

    A line that is code, a directive, a heading's underline or a parameter's ``name : type`` ends the
    paragraph before it and is left out, as is the heading over an underline. So the indented description
    of a parameter counts as prose of its own.
    """
    lines: list[str] = []
    for line in [*docstring.splitlines(), ""]:
        if line.strip() and not _MARKUP_LINE.match(line) and not _PARAMETER_LINE.match(line):
            lines.append(line)
            continue
        if re.match(r"^\s*[-=~^]{3,}\s*$", line):
            lines = lines[:-1]
        if lines:
            paragraph = clean_markup(" ".join(textwrap.dedent("\n".join(lines)).split()))
            if paragraph and is_prose(paragraph):
                yield paragraph
        lines = []


def unseen(paragraphs: Iterable[str], seen: set[str]) -> list[str]:
    """Keep the paragraphs whose letters were not met before; ``seen`` grows by what is kept."""
    kept = []
    for paragraph in paragraphs:
        key = re.sub(r"\W+", "", paragraph).lower()
        if key not in seen:
            seen.add(key)
            kept.append(paragraph)
    return kept


def sentences(paragraph: str) -> list[str]:
    """Split a paragraph after ``.``, ``!`` or ``?`` before a capital letter; abbreviations stay whole."""
    return [piece.strip() for piece in _SENTENCE_END.split(paragraph) if piece.strip()]

"""Tags of words, and the spans that they mark.

A row of a task of tagged words has a text whose words stand between single blanks, and as its label as many tags, also
between blanks, in IOB2 (Tjong Kim Sang and Veenstra 1999): ``B-`` and a type where a span begins, ``I-`` and the type
where it goes on, ``O`` outside.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bort_kedro.tasks.description import Form

# What the columns of files are called where nobody names them.
WORDS, TAGS = "tokens", "tags"
OUTSIDE, BEGINS, GOES_ON = "O", "B-", "I-"
# What stands before the type in IOB, BIOES and BILOU, and what it is in IOB2, as long as the type stays.
_PREFIXES = {"B": BEGINS, "I": GOES_ON, "E": GOES_ON, "L": GOES_ON, "S": BEGINS, "U": BEGINS}
_TAG = re.compile(r"([BIELSU])-(\S+)")
ALLOWED = "O, or B- or I- and a type, such as B-PER (the tags of IOB1, BIOES and BILOU are understood too)"


class Span(NamedTuple):
    """Neighbouring words of one type, such as ``PER``, by their numbers; ``stop`` is behind the last."""

    type: str
    start: int
    stop: int


def is_tag(text: object) -> bool:
    """True for a tag of IOB1, IOB2, BIOES or BILOU."""
    return isinstance(text, str) and (text == OUTSIDE or _TAG.fullmatch(text) is not None)


def as_iob2(tags: Iterable[str]) -> list[str]:
    """Tags of IOB1, BIOES or BILOU as IOB2, which itself stays as it is.

    A tag that goes on with a span where there is none of its type begins one, as in IOB1 and in the script of
    CoNLL-2000 (``conlleval``); so what a model says is understood too, whatever it says.
    """
    converted, before = [], ""
    for tag in tags:
        found = _TAG.fullmatch(tag)
        if found is None:
            converted.append(OUTSIDE)
            before = ""
        else:
            prefix, kind = found.groups()
            converted.append(f"{BEGINS if kind != before else _PREFIXES[prefix]}{kind}")
            # After the last word of a span the next begins another.
            before = "" if prefix in "ELSU" else kind
    return converted


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans of a row's tags, in their order."""
    spans: list[Span] = []
    for place, tag in enumerate(as_iob2(tags)):
        if tag.startswith(BEGINS):
            spans.append(Span(tag.removeprefix(BEGINS), place, place + 1))
        elif tag != OUTSIDE:
            spans[-1] = spans[-1]._replace(stop=place + 1)
    return spans


def tags_of(types: Iterable[str]) -> tuple[str, ...]:
    """Every tag there is of some types, in the order of a classifier's outputs."""
    return (OUTSIDE, *(prefix + kind for kind in types for prefix in (BEGINS, GOES_ON)))


def single_labels(form: Form, labels: Iterable[str]) -> list[str]:
    """The labels of rows one by one: of tagged words those of each word."""
    return [tag for label in labels for tag in label.split()] if form == Form.TOKENS else list(labels)


def everywhere(form: Form, labels: Sequence[str], label: str) -> list[str]:
    """The answer to rows that have these labels which says one label of each, of tagged words of each word."""
    return [" ".join([label] * len(single_labels(form, [each]))) for each in labels]


def labels_found(form: Form, labels: Iterable[str]) -> tuple[str, ...]:
    """What a model must be able to answer where nobody names it: the labels of rows, or every tag of their types."""
    found = set(single_labels(form, labels))
    if form != Form.TOKENS:
        return tuple(sorted(found))
    return tags_of(sorted({tag.partition("-")[2] for tag in found} - {""}))

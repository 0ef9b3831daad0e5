"""The built-in task `arguments`: which words of a sentence of documentation name an argument of what it documents.

Labels are by construction: the words that are spelled as an argument in the signature. Marks around them are gone, and
what else an argument's name may mean ("along the axis") is labelled likewise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bort_kedro.tasks.tags import BEGINS, OUTSIDE, tags_of

if TYPE_CHECKING:
    import numpy as np

    from bort_kedro.tasks.builtin import Rows, Sentence
    from bort_kedro.tasks.settings import BuiltinTasksSettings

ARGUMENT = "argument"
ARGUMENT_TAGS = tags_of([ARGUMENT])
# What one would look for without a model: a word with an underscore, or a single letter that is no word of English.
ARGUMENT_PATTERN = re.compile(r"[a-z]\w*_\w*|[b-zA-HJ-Z]")
# Words that are arguments somewhere and say nothing of one in a sentence.
ENGLISH = re.compile(
    "a|all|an|and|any|as|at|be|both|by|can|do|each|else|every|first|for|from|has|have|how|if|in|into|is|it|last|many|"
    "may|more|most|new|no|none|not|of|off|on|one|only|or|other|out|over|same|so|than|that|the|then|these|this|to|two|"
    "up|use|used|using|was|we|what|when|where|whether|which|while|will|with|you"
)
_WORD = re.compile(r"\w+(?:[.'’-]\w+)*|[^\w\s]")


def words_of(sentence: str) -> list[str]:
    """Words, and marks as words of their own."""
    return _WORD.findall(sentence)


def argument_rows(
    candidates: Sequence[Sentence], settings: BuiltinTasksSettings, limit: int, generator: np.random.Generator
) -> Rows:
    """Sentences that name an argument, their words tagged."""
    rows: Rows = []
    for index in generator.permutation(len(candidates)):
        if len(rows) == limit:
            break
        names = {name for name in candidates[index].arguments if not ENGLISH.fullmatch(name)}
        words = words_of(candidates[index].text)
        if not names.isdisjoint(words):
            tags = (BEGINS + ARGUMENT if word in names else OUTSIDE for word in words)
            rows.append((" ".join(words), None, " ".join(tags)))
    return rows

"""Which texts are copies, but for a few words, of texts they must not repeat."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bort_kedro.tasks.units import Unit

_WORD = re.compile(r"\w+")


def word_ngrams(unit: Unit, ngram_words: int) -> set[tuple[str, ...]]:
    """The runs of ``ngram_words`` words in the texts of a unit, casefolded and without punctuation.

    The texts are read one after the other, each different one once: the passage of a question is not counted again
    for every option. A unit with fewer words is a single run of all its words, so that short texts can be compared too.
    """
    texts = dict.fromkeys(text for row in unit.rows for text in row if text is not None)
    words = [word for text in texts for word in _WORD.findall(text.casefold())]
    length = min(ngram_words, len(words))
    return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}


class NearDuplicates:
    """Compares units with references by the word n-grams they share.

    The overlap of two units is the Jaccard index of their sets of n-grams: those in both over those in either.

    Args:
        references: Units that none may be a copy of, such as those of dev and test.
        max_overlap: In (0, 1]; a unit that overlaps with a reference by so much or more is a copy of it.
    """

    def __init__(self, references: Iterable[Unit], *, max_overlap: float, ngram_words: int) -> None:
        self._max_overlap, self._ngram_words = max_overlap, ngram_words
        self._sizes: list[int] = []
        self._references_with: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for number, reference in enumerate(references):
            ngrams = word_ngrams(reference, ngram_words)
            self._sizes.append(len(ngrams))
            for ngram in ngrams:
                self._references_with[ngram].append(number)

    def overlap(self, unit: Unit) -> float:
        """The largest overlap with any reference; 0 without references."""
        ngrams = word_ngrams(unit, self._ngram_words)
        shared = Counter(number for ngram in ngrams for number in self._references_with.get(ngram, ()))
        return max(
            (count / (len(ngrams) + self._sizes[number] - count) for number, count in shared.items()), default=0.0
        )

    def is_copy(self, unit: Unit) -> bool:
        """True if it overlaps with a reference by ``max_overlap`` or more."""
        return self.overlap(unit) >= self._max_overlap

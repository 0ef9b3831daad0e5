"""Which words of a text are hidden from a masked-LM encoder, and which tokens may take their place."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from bort_kedro.agora.word_transformations import count_of, marked_words
from bort_kedro.finetuning.truncation import cut_lengths
from bort_kedro.tasks.spans import CLOSE, OPEN
from bort_kedro.tasks.table import Truncation
from bort_kedro.text.prose import word_places
from bort_kedro.text.tokenization import word_starts
from bort_kedro.text.tokenizer import num_ids, vocabulary_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast

    from bort_kedro.tasks.units import Row

# Rows that are tokenized at a time: what the tokenizer keeps of a token takes some hundred bytes.
ROWS_PER_CALL = 256
UNDECODABLE = "\ufffd"
APOSTROPHES = "'’"


@dataclass(frozen=True)
class Word:
    """A word of a row: its characters and the places of its tokens; ``side`` is 0 for the text, 1 for its pair."""

    side: int
    start: int
    end: int
    tokens: range


@dataclass(frozen=True)
class HiddenRow:
    """The input of the encoder for one row, and what is to be hidden of it.

    Args:
        ids: (L,) token ids, special tokens included; nothing is hidden yet.
        type_ids: (L,) beside them: 1 for the tokens of the pair, if the tokenizer tells them apart.
    """

    ids: NDArray[np.int64]
    type_ids: NDArray[np.int64]
    words: tuple[Word, ...]

    @property
    def columns(self) -> NDArray[np.int64]:
        """(N,) places of the tokens to be hidden, rising."""
        return np.array([place for word in self.words for place in word.tokens], dtype=np.int64)


class ReplacementTokens:
    """Which of the V ids of a tokenizer may be hidden, and which drawn in their place.

    What is drawn has a letter or digit, is not special, and begins a word where the hidden token does, so that a text
    keeps its blanks and its words their number of tokens (our decision).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        backend = tokenizer.backend_tokenizer
        continuing = getattr(backend.model, "continuing_subword_prefix", None) or ""
        decoded = backend.decode_batch([[token] for token in range(num_ids(tokenizer))], skip_special_tokens=False)
        self.vocabulary = vocabulary_of(tokenizer)
        # Of each id, its characters without the blank before a word or the mark of a word's further pieces.
        self.spellings = [text.strip().removeprefix(continuing) for text in decoded]
        # (V,) as integers, the row of `candidates` that each id chooses from.
        self.begins_word = word_starts(tokenizer).astype(np.int64)
        is_candidate = np.array([_is_word(text) for text in self.spellings]) & self.vocabulary.is_ordinary
        # (2, V) ids that may be drawn in the place of one that goes on with a word, and of one that begins it.
        self.candidates = np.stack([is_candidate & (self.begins_word == begins) for begins in (0, 1)])
        # (V,) ids that are not special, and have a candidate beside themselves.
        self.may_hide = self.vocabulary.is_ordinary & (self.candidates.sum(axis=1) > 1)[self.begins_word]


def _is_word(spelling: str) -> bool:
    """Whether a token is spelled as one word or a part of one, without a mark of a span."""
    has_fault = any(character in spelling for character in (UNDECODABLE, OPEN, CLOSE, " "))
    return not has_fault and spelling.isprintable() and any(map(str.isalnum, spelling))


class WordHider:
    """Chooses the words of rows that are hidden; the tokenizer's settings for truncation and padding are not followed.

    A word is the tokenizer's own, none reaching over a blank. One without a letter or digit is not hidden, nor one with
    a special token, such as that for unknown characters, nor a part of a contraction ("isn't"). A share of the tokens
    of the words that may change is hidden: as many words, in random order, as fit; one at least. Of texts longer than
    ``max_tokens``, special tokens included, a window is seen that is drawn anew each time.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        tokens: ReplacementTokens,
        *,
        changed_share: float,
        max_tokens: int,
        protects_spans: bool,
    ) -> None:
        self._tokens, self._changed_share = tokens, changed_share
        self._max_tokens, self._protects_spans = max_tokens, protects_spans
        self._backend = copy.deepcopy(tokenizer.backend_tokenizer)
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = True  # a text that spells `<mask>` hides nothing

    def __call__(
        self, rows: Sequence[Row], sides: Sequence[tuple[int, ...]], generators: Sequence[np.random.Generator]
    ) -> Iterator[HiddenRow]:
        """Hide words of each row by its own generator, in the texts that its sides name: 0 the text, 1 its pair."""
        for start in range(0, len(rows), ROWS_PER_CALL):
            few = slice(start, start + ROWS_PER_CALL)
            firsts = self._backend.encode_batch([text for text, _ in rows[few]], add_special_tokens=False)
            pairs = [pair for _, pair in rows[few] if pair is not None]
            seconds = iter(self._backend.encode_batch(pairs, add_special_tokens=False))
            for row, first, its_sides, generator in zip(rows[few], firsts, sides[few], generators[few], strict=True):
                encodings = [first] if row[1] is None else [first, next(seconds)]
                yield self._hidden_row(row, encodings, its_sides, generator)

    def _hidden_row(
        self, row: Row, encodings: list[Encoding], sides: tuple[int, ...], generator: np.random.Generator
    ) -> HiddenRow:
        words = [word for side in sides for word in self._words(row[side] or "", encodings[side], side)]
        starts = self._cut(encodings, generator)
        whole = self._backend.post_process(*encodings, *[None] * (2 - len(encodings)), add_special_tokens=True)
        # Not by `sequence_ids`: those of a pair's first text are lost where a template puts the two together.
        of_texts = np.flatnonzero(np.array(whole.special_tokens_mask) == 0).tolist()
        seen = []
        for word in words:
            start, stop = word.tokens.start - starts[word.side], word.tokens.stop - starts[word.side]
            # A word that the window cuts is not hidden: what is left of it would be lost, or give it away.
            if start >= 0 and stop <= len(encodings[word.side]):
                first = of_texts[word.side * len(encodings[0])]
                seen.append(Word(word.side, word.start, word.end, range(start + first, stop + first)))
        ids, type_ids = np.array(whole.ids, dtype=np.int64), np.array(whole.type_ids, dtype=np.int64)
        return HiddenRow(ids, type_ids, self._chosen(seen, generator))

    def _words(self, text: str, encoding: Encoding, side: int) -> list[Word]:
        """Words of a text that may be hidden, with the places of their tokens in it."""
        places = word_places(text)
        is_protected = np.zeros(len(places), dtype=bool)
        if self._protects_spans:
            is_protected = marked_words([text[start:end] for start, end in places])
        # Some tokenizers count the blank before a word to its first token.
        spans = [
            (end - len(text[start:end].lstrip()), start + len(text[start:end].rstrip()))
            for start, end in encoding.offsets
        ]
        starts = np.array([start for start, _ in places], dtype=np.int64)
        between_blanks = np.searchsorted(starts, [start for start, _ in spans], side="right") - 1
        may_hide = self._tokens.may_hide[np.array(encoding.ids, dtype=np.int64)]
        # SentencePiece has the punctuation in its words; it is tokens of their own that stay.
        has_letter = [any(map(str.isalnum, text[start:end])) for start, end in spans]
        keys = zip(encoding.word_ids, between_blanks.tolist(), has_letter, strict=True)
        words = []
        for (_, place, is_word), members in groupby(enumerate(keys), key=lambda numbered: numbered[1]):
            tokens = [number for number, _ in members]
            start, end = spans[tokens[0]][0], max(spans[token][1] for token in tokens)
            is_free = is_word and not is_protected[place] and bool(may_hide[tokens].all())
            reaches_over_blank = any(map(str.isspace, text[start:end]))
            is_contracted = any(mark in text[max(0, start - 1) : end + 1] for mark in APOSTROPHES)
            if is_free and not reaches_over_blank and not is_contracted:
                words.append(Word(side, start, end, range(tokens[0], tokens[-1] + 1)))
        return words

    def _cut(self, encodings: list[Encoding], generator: np.random.Generator) -> list[int]:
        """Cut both texts in place to what may be seen; the first token of each that is left."""
        room = self._max_tokens - self._backend.num_special_tokens_to_add(len(encodings) > 1)
        lengths = [*map(len, encodings), 0][:2]
        kept = cut_lengths(lengths[0], lengths[1], room=room, truncation=Truncation.LONGEST_FIRST)
        starts = []
        for tokens, length in zip(encodings, kept, strict=False):
            start = int(generator.integers(len(tokens) - length + 1))
            if length < len(tokens):
                tokens.truncate(start + length)
                tokens.truncate(length, direction="left")
            starts.append(start)
        return starts

    def _chosen(self, words: list[Word], generator: np.random.Generator) -> tuple[Word, ...]:
        """As many words as the share allows, one at least if there is any, in their order."""
        if not words:
            return ()
        sizes = np.array([len(word.tokens) for word in words])
        order = generator.permutation(len(words))
        wanted = count_of(self._changed_share, int(sizes.sum()))
        num_fitting = int(np.searchsorted(sizes[order].cumsum(), wanted, side="right"))
        return tuple(words[place] for place in np.sort(order[: max(1, num_fitting)]))

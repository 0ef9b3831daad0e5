"""Which token answers for which word, against transformers' own word ids, and windows against a search."""

from itertools import pairwise

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertTokenizerFast

from bort_kedro.finetuning.windows import first_tokens, windows_of


def letters(text):
    """Each letter is a token; blanks are none."""
    tokenizer = Tokenizer(models.WordLevel({letter: ord(letter) for letter in "abcdefghijklmnopqrstuvwxyz"}, "a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("", "isolated")]
    )
    return tokenizer.encode(text)


def test_the_first_letter_of_each_word_answers_for_it():
    assert first_tokens("ab c  def", letters("ab c  def")).tolist() == [0, 2, 3]
    assert first_tokens("", letters("")).tolist() == []


def test_tokens_from_one_first_to_the_next_spell_a_word(tiny_tokenizer):
    """Byte-level BPE counts the blank before a word to its first token; some letters are two tokens."""
    words = ["The", "mean", "of", "array_like", "values", ",", "e.g.", "über", "3.14", "…"]
    text = "  ".join(words)
    tokens = tiny_tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    bounds = [*first_tokens(text, tokens), len(tokens)]
    spelled = [tiny_tokenizer.decode(tokens.ids[start:stop]).strip() for start, stop in pairwise(bounds)]
    assert spelled == words


def test_first_tokens_are_those_that_transformers_finds_for_words_that_it_is_given():
    tokenizer = BertTokenizerFast(vocab={"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "ar": 3, "##ray": 4, ",": 5, "of": 6})
    words = ["array", ",", "of", "?", "of,array"]
    split = tokenizer(words, is_split_into_words=True, add_special_tokens=False)
    tokens = tokenizer.backend_tokenizer.encode(" ".join(words), add_special_tokens=False)
    assert tokens.ids == split["input_ids"]
    expected = [split.word_ids().index(number) for number in range(len(words))]
    assert first_tokens(" ".join(words), tokens).tolist() == expected == [0, 2, 3, 4, 5]


def test_a_word_of_which_nothing_is_left_is_answered_by_the_next_token():
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, "a"))
    tokenizer.normalizer = normalizers.Replace("x", "")
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert first_tokens("a x b x", tokenizer.encode("a x b x")).tolist() == [0, 1, 1, 1]
    assert first_tokens("x x", tokenizer.encode("x x")).tolist() == [0, 0]


def context(place, start, stop):
    """Tokens on the side of a token that has fewer of them; the ends of the text count as far away."""
    return min(place - start if start else np.inf, stop - 1 - place if stop < NUM else np.inf)


NUM = 23


@pytest.mark.parametrize("length", [2, 3, 6, 7, 10, 22, 23, 40])
def test_each_word_is_answered_once_by_the_window_that_shows_most_around_it(length):
    text = " ".join("abcdefghijklmnopqrstuvw")
    windows = windows_of(text, letters(text), length=length)
    step = length - length // 2
    starts = [place * step for place in range(len(windows))]
    bounds = [(start, start + len(window.tokens)) for start, window in zip(starts, windows, strict=True)]
    assert bounds[-1][1] == NUM
    assert all(stop - start == length for start, stop in bounds[:-1])
    assert [window.tokens.ids[0] for window in windows] == [ord("a") + start for start in starts]
    answered = [start + window.answering for start, window in zip(starts, windows, strict=True)]
    assert np.concatenate(answered).tolist() == list(range(NUM))
    for number, places in enumerate(answered):
        for place in places:
            found = context(place, *bounds[number])
            assert found == max(context(place, *each) for each in bounds if each[0] <= place < each[1])


def test_windows_within_a_very_long_word_answer_for_none_and_are_left_out():
    text = f"ab {'c' * 40} de"
    windows = windows_of(text, letters(text), length=6)
    assert [len(window.answering) for window in windows] == [2, 1]
    assert [chr(window.tokens.ids[place]) for window in windows for place in window.answering] == ["a", "c", "d"]
    (alone,) = windows_of(" ", letters(" "), length=6)
    assert alone.answering.tolist() == []


def test_a_text_that_fits_is_one_window():
    (window,) = windows_of("abc de", letters("abc de"), length=5)
    assert window.answering.tolist() == [0, 3]
    assert len(window.tokens) == 5

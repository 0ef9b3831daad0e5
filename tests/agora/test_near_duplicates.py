import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bort_kedro.agora.near_duplicates import NearDuplicates, word_ngrams
from bort_kedro.tasks.units import Unit


def single(text):
    return Unit(((text, None),))


def overlap(first, second, ngram_words=2):
    return NearDuplicates([first], max_overlap=0.5, ngram_words=ngram_words).overlap(second)


def test_overlap_is_the_share_of_ngrams_in_both():
    # the-cat cat-sat sat-down and the-cat cat-sat sat-up: two of four.
    assert overlap(single("the cat sat down"), single("the cat sat up")) == 0.5


def test_case_and_punctuation_and_blanks_do_not_count():
    assert overlap(single("The cat, sat  DOWN!"), single("the cat sat down")) == 1.0
    assert overlap(single("Straße"), single("STRASSE")) == 1.0


def test_order_of_words_counts():
    assert overlap(single("a b c"), single("c b a")) == 0.0
    assert overlap(single("a b c"), single("c b a"), ngram_words=1) == 1.0


def test_texts_shorter_than_an_ngram_are_compared_whole():
    assert overlap(single("yes it is"), single("Yes, it is."), ngram_words=5) == 1.0
    assert overlap(single("yes it is"), single("yes it was"), ngram_words=5) == 0.0


def test_repeated_words_count_once():
    assert word_ngrams(single("go go go"), 2) == {("go", "go")}


def test_both_texts_of_a_pair_are_read_one_after_the_other():
    assert word_ngrams(Unit((("a b", "c d"),)), 2) == {("a", "b"), ("b", "c"), ("c", "d")}


def test_passage_of_a_question_is_read_once_for_all_options():
    unit = Unit((("a b", "c"), ("a b", "d")))
    assert word_ngrams(unit, 2) == {("a", "b"), ("b", "c"), ("c", "d")}


def test_units_without_words_overlap_with_each_other_alone():
    assert overlap(single("?!"), single("...")) == 1.0
    assert overlap(single("?!"), single("a b c")) == 0.0


def test_largest_overlap_of_all_references_is_given():
    references = [single("x y z"), single("the cat sat down"), single("the cat slept")]
    near = NearDuplicates(references, max_overlap=0.5, ngram_words=2)
    assert near.overlap(single("the cat sat up")) == 0.5
    assert near.overlap(single("the dog")) == 0.0


def test_copy_overlaps_by_the_limit_or_more():
    reference, close = single("the cat sat down"), single("the cat sat up")
    assert NearDuplicates([reference], max_overlap=0.5, ngram_words=2).is_copy(close)
    assert not NearDuplicates([reference], max_overlap=0.51, ngram_words=2).is_copy(close)
    assert NearDuplicates([reference], max_overlap=1.0, ngram_words=2).is_copy(single("The cat sat down."))


def test_nothing_is_a_copy_without_references():
    near = NearDuplicates([], max_overlap=0.1, ngram_words=2)
    assert near.overlap(single("the cat")) == 0.0
    assert not near.is_copy(single("the cat"))


WORDS = st.lists(st.sampled_from(["a", "b", "C", "c,"]), max_size=6).map(" ".join)
UNITS = st.lists(st.tuples(WORDS, st.none() | WORDS), min_size=1, max_size=3).map(lambda rows: Unit(tuple(rows)))


def brute_force(references, unit, ngram_words):
    """From the definition, one reference at a time."""
    own = word_ngrams(unit, ngram_words)
    others = [word_ngrams(reference, ngram_words) for reference in references]
    return max((len(own & other) / len(own | other) for other in others), default=0.0)


@given(st.lists(UNITS, max_size=6), UNITS, st.integers(1, 4))
def test_index_equals_brute_force(references, unit, ngram_words):
    near = NearDuplicates(references, max_overlap=0.5, ngram_words=ngram_words)
    assert near.overlap(unit) == pytest.approx(brute_force(references, unit, ngram_words), abs=1e-12)


@pytest.mark.slow
def test_comparison_with_a_thousand_texts_of_three_hundred_words_takes_seconds():
    generator = np.random.default_rng(0)
    # Ranks of words fall off as in a language, so that common n-grams stand in many texts.
    ranks = np.minimum(generator.zipf(1.3, size=(1100, 300)), 20_000)
    units = [single(" ".join(f"w{rank}" for rank in row)) for row in ranks]
    started = time.thread_time()
    near = NearDuplicates(units[:1000], max_overlap=0.9, ngram_words=3)
    found = [near.is_copy(unit) for unit in units[900:]]
    assert time.thread_time() - started < 15.0
    assert found == [True] * 100 + [False] * 100

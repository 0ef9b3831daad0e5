import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bort_kedro.agora.word_transformations import (
    WORD_TRANSFORMATIONS,
    count_of,
    crop_words,
    delete_words,
    marked_words,
    shuffle_spans,
    swap_words,
)

TEN = "a b c d e f g h i j"
MARKED = "a b [ c d ] e f [ g ] h"


class Scripted:
    """A generator that gives what it is told to, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def choice(self, options, size=None, replace=True):
        self.asked.append(list(map(int, options)))
        return np.array(self.answers.pop(0))

    def integers(self, low, high):
        self.asked.append((low, high))
        return self.answers.pop(0)


def seeded(transform, text, seed, share=0.3, **options):
    return transform(text, share=share, generator=np.random.default_rng(seed), **options)


def outcomes(transform, text, share, num_seeds=300, **options):
    return {seeded(transform, text, seed, share, **options) for seed in range(num_seeds)}


def test_marked_words_are_the_spans_and_their_marks():
    assert marked_words(MARKED.split()).tolist() == [word in "[cd]g" for word in MARKED.split()]
    assert marked_words([]).tolist() == []


def test_the_count_is_the_rounded_share_and_at_least_one():
    assert [count_of(share, 10) for share in (0.01, 0.24, 0.26, 0.96)] == [1, 2, 3, 10]


def test_a_swap_of_two_pairs_by_hand():
    generator = Scripted([[0, 4], [2, 9]])
    assert swap_words(" a  b\tc d e f g h i j\n", share=0.4, generator=generator) == " c  b\ta d j f g h i e\n"
    assert generator.asked == [list(range(10))]


def test_a_swap_beside_marked_spans_by_hand():
    generator = Scripted([[0], [11]])
    assert swap_words(MARKED, share=0.4, generator=generator, protects_spans=True) == "h b [ c d ] e f [ g ] a"
    assert generator.asked == [[0, 1, 6, 7, 11]]


def test_all_swaps_of_three_words_are_drawn():
    assert outcomes(swap_words, "a b c", 0.1) == {"b a c", "c b a", "a c b"}


def test_deleting_by_hand_takes_the_blanks_before_each_word():
    generator = Scripted([0, 2, 3])
    assert delete_words(" a  b\tc d\n e ", share=0.6, generator=generator) == " b\n e "


def test_all_ways_to_delete_one_word_are_drawn():
    assert outcomes(delete_words, "a b c", 0.1) == {"b c", "a c", "a b"}


def test_deleting_all_leaves_one_word():
    assert outcomes(delete_words, "a b c", 0.99) == {"a", "b", "c"}


def test_cropping_by_hand_takes_from_both_ends():
    generator = Scripted(1)
    assert crop_words(" a b  c d e ", share=0.6, generator=generator) == " b  c "
    assert generator.asked == [(0, 4)]


def test_all_crops_of_two_words_of_four_are_drawn():
    assert outcomes(crop_words, "a b c d", 0.5) == {"a b", "b c", "c d"}


def test_cropping_stops_at_marked_spans():
    """Two words before the first span and one behind the last: asked for five of six words, three can go."""
    text = "a b [ c ] d e [ f ] g"
    assert outcomes(crop_words, text, 0.8, protects_spans=True) == {"[ c ] d e [ f ]"}
    assert outcomes(crop_words, text, 0.2, protects_spans=True) == {"b [ c ] d e [ f ] g", "a b [ c ] d e [ f ]"}


def test_shuffling_by_hand_exchanges_two_spans():
    generator = Scripted(6, 1)
    # Spans of round(0.6 * 10 / 2) = 3 words; all starts have a partner, and those of 6 begin at 3 at most.
    assert shuffle_spans(TEN, share=0.6, generator=generator) == "a g h i e f b c d j"
    assert generator.asked == [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3]]


def test_spans_are_shorter_where_there_is_no_room_for_long_ones():
    assert outcomes(shuffle_spans, "a b c d", 0.1) == outcomes(shuffle_spans, "a b c d", 0.99) == {"c d a b"}
    assert outcomes(shuffle_spans, "a b c d e", 0.5) == {"c d a b e", "d e c a b", "a d e b c"}


def test_shuffled_spans_neither_touch_marked_ones_nor_change_their_order():
    assert outcomes(shuffle_spans, "a b [ c ] d e", 0.5, protects_spans=True) == {"d e [ c ] a b"}
    assert outcomes(shuffle_spans, "a b [ c ] d", 0.5, protects_spans=True) == {"a b [ c ] d"}


@pytest.mark.parametrize("text", ["", "  ", "word", " word\n"])
@pytest.mark.parametrize("name", WORD_TRANSFORMATIONS)
def test_a_text_that_is_too_short_comes_back_unchanged(name, text):
    assert seeded(WORD_TRANSFORMATIONS[name], text, 0) == text


@pytest.mark.parametrize("text", ["[ a b c d e f ]", "[ a ] b c d [ e ]"])
def test_where_spans_leave_nothing_to_crop_the_text_comes_back_unchanged(text):
    assert outcomes(crop_words, text, 0.5, 20, protects_spans=True) == {text}


@pytest.mark.parametrize("name", WORD_TRANSFORMATIONS)
def test_a_text_that_is_one_marked_span_comes_back_unchanged(name):
    text = "[ a b c d e f ]"
    assert outcomes(WORD_TRANSFORMATIONS[name], text, 0.5, 20, protects_spans=True) == {text}


@pytest.mark.parametrize(("share", "moved"), [(0.1, 2), (0.2, 2), (0.4, 4), (0.6, 6), (0.99, 10)])
def test_a_swap_moves_the_share_of_the_words(share, moved):
    for seed in range(20):
        words = seeded(swap_words, TEN, seed, share).split()
        assert sum(word != before for word, before in zip(words, TEN.split(), strict=True)) == moved


@pytest.mark.parametrize("transform", [delete_words, crop_words])
@pytest.mark.parametrize(("share", "gone"), [(0.01, 1), (0.3, 3), (0.99, 9)])
def test_deleting_and_cropping_leave_out_the_share_of_the_words(transform, share, gone):
    assert {len(text.split()) for text in outcomes(transform, TEN, share, 20)} == {10 - gone}


TEXTS = st.lists(st.sampled_from(["a", "b.", "ü", "漢字", "x"]), min_size=1, max_size=12)
SHARES = st.floats(0.01, 0.99)
SEEDS = st.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(words=TEXTS, share=SHARES, seed=SEEDS, gap=st.sampled_from([" ", "  ", "\n", "\u00a0"]))
def test_words_move_or_go_and_nothing_else_comes(words, share, seed, gap):
    text = gap.join(words)
    for name, transform in WORD_TRANSFORMATIONS.items():
        after = seeded(transform, text, seed, share)
        assert after == seeded(transform, text, seed, share)
        before, left = Counter(words), Counter(after.split())
        assert left
        assert left <= before if name in ("delete_words", "crop_words") else left == before
        assert after == gap.join(after.split())


@settings(deadline=None)
@given(stretches=st.lists(TEXTS, min_size=2, max_size=4), spans=st.lists(TEXTS, min_size=3, max_size=3), share=SHARES)
def test_marked_spans_stay_whole_and_in_order(stretches, spans, share):
    marked = [f"[ {' '.join(span)} ]" for span in spans[: len(stretches) - 1]]
    parts = [" ".join(stretch) for stretch in stretches]
    text = " ".join([part for both in zip(parts, marked, strict=False) for part in both] + parts[len(marked) :])
    for transform in WORD_TRANSFORMATIONS.values():
        after = seeded(transform, text, 5, share, protects_spans=True)
        assert re.findall(r"\[ [^\]]* \]", after) == marked
        assert after.count("[") == after.count("]") == len(marked)

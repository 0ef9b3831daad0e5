"""Lengths worked out by hand, and the rule itself taken one token at a time."""

from itertools import combinations

import pytest

from bort_kedro.finetuning.truncation import cut_lengths, window_start
from bort_kedro.tasks.table import Truncation

LONGEST = [Truncation.LONGEST_FIRST, Truncation.AROUND_SPANS]


def one_token_at_a_time(first, second, room):
    """From the longer one, from the text among equals."""
    while first + second > room:
        if first >= second:
            first -= 1
        else:
            second -= 1
    return first, second


def one_token_from_one_text(first, second, room, *, loses_first):
    """From the named text down to its last token, and then from the other."""
    while first + second > room:
        if loses_first:
            first, second = (first - 1, second) if first > 1 or not second else (first, second - 1)
        else:
            first, second = (first, second - 1) if second > 1 else (first - 1, second)
    return first, second


@pytest.mark.parametrize("truncation", list(Truncation))
@pytest.mark.parametrize("lengths", [(0, 0), (10, 0), (0, 10), (5, 5), (9, 1)])
def test_what_fits_stays_as_it_is(truncation, lengths):
    assert cut_lengths(*lengths, room=10, truncation=truncation) == lengths


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        # The longer one gives all the excess.
        ((20, 3), (7, 3)),
        ((3, 20), (3, 7)),
        # Down to equal lengths, then both.
        ((20, 8), (5, 5)),
        ((8, 20), (5, 5)),
        ((6, 5), (5, 5)),
        # A single text gives everything.
        ((20, 0), (10, 0)),
        ((0, 20), (0, 10)),
    ],
)
@pytest.mark.parametrize("truncation", LONGEST)
def test_the_longer_text_loses_its_tokens_first(truncation, lengths, expected):
    assert cut_lengths(*lengths, room=10, truncation=truncation) == expected


def test_among_equals_the_text_loses_the_odd_token():
    assert cut_lengths(20, 20, room=7, truncation=Truncation.LONGEST_FIRST) == (3, 4)
    assert cut_lengths(4, 20, room=7, truncation=Truncation.LONGEST_FIRST) == (3, 4)
    assert cut_lengths(20, 4, room=7, truncation=Truncation.LONGEST_FIRST) == (3, 4)


@pytest.mark.parametrize("truncation", LONGEST)
def test_longest_first_equals_taking_one_token_at_a_time(truncation):
    for room in range(2, 13):
        for first in range(20):
            for second in range(20):
                cut = cut_lengths(first, second, room=room, truncation=truncation)
                assert cut == one_token_at_a_time(first, second, room), (first, second, room)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ((20, 4), (6, 4)),
        # The question alone is too long: one token of the passage is left, and the question is cut too.
        ((20, 9), (1, 9)),
        ((20, 30), (1, 9)),
        ((1, 30), (1, 9)),
        ((20, 0), (10, 0)),
        ((0, 20), (0, 10)),
    ],
)
def test_the_text_is_cut_and_its_pair_stays_whole(lengths, expected):
    assert cut_lengths(*lengths, room=10, truncation=Truncation.TEXT) == expected


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ((4, 20), (4, 6)),
        ((9, 20), (9, 1)),
        ((30, 20), (9, 1)),
        ((20, 0), (10, 0)),
        ((0, 20), (0, 10)),
    ],
)
def test_the_pair_is_cut_and_its_text_stays_whole(lengths, expected):
    assert cut_lengths(*lengths, room=10, truncation=Truncation.TEXT_PAIR) == expected


@pytest.mark.parametrize(("truncation", "loses_first"), [(Truncation.TEXT, True), (Truncation.TEXT_PAIR, False)])
def test_cutting_one_text_equals_taking_its_tokens_one_at_a_time(truncation, loses_first):
    for room in range(2, 13):
        for first in range(20):
            for second in range(20):
                cut = cut_lengths(first, second, room=room, truncation=truncation)
                expected = one_token_from_one_text(first, second, room, loses_first=loses_first)
                assert cut == expected, (first, second, room)


@pytest.mark.parametrize("truncation", list(Truncation))
def test_no_text_grows_and_no_room_is_wasted(truncation):
    for room in range(2, 10):
        for first in range(15):
            for second in range(15):
                cut = cut_lengths(first, second, room=room, truncation=truncation)
                assert 0 <= cut[0] <= first
                assert 0 <= cut[1] <= second
                assert sum(cut) == min(room, first + second)


def test_without_marks_the_beginning_stays():
    assert window_start([], num_tokens=30, length=10) == 0


@pytest.mark.parametrize(
    ("marked", "start"),
    [
        # Marks 14 to 17 have their middle at 16; five of ten tokens stand before it.
        ([14, 17], 11),
        ([2, 4], 0),
        ([27, 29], 20),
        ([15], 10),
        # Ten tokens hold all four.
        ([10, 12, 17, 19], 10),
        # 5 is too far from 15, of which it is given up; 6 is just near enough.
        ([5, 15], 10),
        ([6, 15], 6),
    ],
)
def test_a_window_has_the_marks_in_its_middle(marked, start):
    assert window_start(marked, num_tokens=30, length=10) == start


def test_a_window_keeps_every_mark_that_can_be_kept_with_the_last():
    num_tokens = 12
    for length in range(1, num_tokens + 1):
        for count in (1, 2, 3):
            for marked in combinations(range(num_tokens), count):
                start = window_start(marked, num_tokens=num_tokens, length=length)
                assert 0 <= start <= num_tokens - length
                kept = [place for place in marked if start <= place < start + length]
                assert set(kept) >= {place for place in marked if place > marked[-1] - length}, (marked, length)

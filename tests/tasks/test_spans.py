import pytest
from hypothesis import given
from hypothesis import strategies as st

from bort_kedro.tasks.spans import CLOSE, OPEN, find_span, mark, without_brackets


def test_marks_stand_as_words_of_their_own():
    assert mark("The bank was closed.", [(4, 8)]) == "The [ bank ] was closed."
    assert mark("At the bank.", [(7, 11)]) == "At the [ bank ] ."
    assert mark("bank", [(0, 4)]) == "[ bank ]"
    assert mark("(bank)", [(1, 5)]) == "( [ bank ] )"


def test_brackets_of_the_text_become_round():
    assert mark("A [sic] bank", [(8, 12)]) == "A (sic) [ bank ]"
    assert mark("A [sic] bank", []) == without_brackets("A [sic] bank") == "A (sic) bank"


def test_spans_are_marked_in_any_order_side_by_side_and_within_each_other():
    text = "their mothers met him"
    assert mark(text, [(18, 21), (0, 13)]) == "[ their mothers ] met [ him ]"
    assert mark(text, [(0, 5), (0, 13)]) == "[ [ their ] mothers ] met him"
    assert mark(text, [(6, 13), (0, 13)]) == "[ their [ mothers ] ] met him"
    assert mark("ab", [(0, 1), (1, 2)]) == "[ a ] [ b ]"


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(2, 2)], "there is no text from 2 to 2 of its 7 characters"),
        ([(3, 4)], "there is no text from 3 to 4 of its 7 characters"),
        ([(4, 8)], "there is no text from 4 to 8 of its 7 characters"),
        ([(-1, 2)], "there is no text from -1 to 2 of its 7 characters"),
        ([(4, 7), (0, 5)], "the spans 0 to 5 and 4 to 7 cross"),
    ],
)
def test_spans_that_cannot_be_marked_are_refused(spans, expected):
    with pytest.raises(ValueError, match="^" + expected + "$"):
        mark("abc def", spans)


@given(text=st.text("ab .[]", min_size=1, max_size=12), data=st.data())
def test_without_marks_and_blanks_the_text_is_as_before(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    if not text[start:end].strip():
        return
    marked = mark(text, [(start, end)])
    words = marked.split()
    assert words.count(OPEN) == words.count(CLOSE) == 1
    assert "".join(words[words.index(OPEN) + 1 : words.index(CLOSE)]) == "".join(
        without_brackets(text[start:end]).split()
    )
    assert "".join(word for word in words if word not in (OPEN, CLOSE)) == "".join(without_brackets(text).split())


def test_span_is_found_at_its_word_number():
    text = "He said he saw him."
    assert find_span(text, "he", 2) == (8, 10)
    assert find_span(text, "he", 0) == (0, 2)
    assert find_span(text, "him", 4) == (15, 18)


def test_span_at_a_wrong_number_is_found_at_the_nearest_place():
    text = "it is so that they might want to use it , but"
    assert text[slice(*find_span(text, "it", 8))] == "it"
    assert find_span(text, "it", 8) == (37, 39)
    assert find_span(text, "it", 4) == (0, 2)


def test_span_in_other_capitals_blanks_and_with_the_full_stop_of_its_sentence_is_found():
    assert find_span("When the  traffic light went", "The traffic\nlight.", 1) == (5, 23)


def test_word_is_not_found_within_another():
    assert find_span("a cathedral", "cat", 1) is None
    assert find_span("Dad's car", "Dad", 0) == (0, 3)


def test_of_names_that_stand_apart_the_first_is_found_where_the_number_says():
    text = "how Lev Kamenev, Stalin's editor, and Grigory Zinoviev"
    assert find_span(text, "Kamenev and Zinoviev", 1) == (8, 15)
    assert find_span(text, "Kamenev, Zinoviev, and Stalin", 2) == (8, 15)
    assert find_span(text, "Kamenev and Zinoviev", 5) is None


def test_blank_span_is_not_found():
    assert find_span("a b", " ", 0) is None
    assert find_span("a b", ".", 0) is None

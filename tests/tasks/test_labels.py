import math

import pytest

from bort_kedro.tasks.labels import alike, fault_of_found, is_no_number, label_text, number_of


def test_a_label_is_a_text_without_white_space_around_and_numbers_are_as_json_has_them():
    values = ["pos", " pos\t", "", "  ", None, math.nan, True, False, 1, 1.0, -2.0, 2.5, 1e300, [], "1.0"]
    texts = ["pos", "pos", None, None, None, None, "true", "false", "1", "1", "-2", "2.5", "1e+300", [], "1.0"]
    assert [label_text(value) for value in values] == texts


def test_numbers_are_those_of_plain_digits():
    assert [number_of(text) for text in ("1", "-1.50", ".5", "1e2", "+3.")] == [1.0, -1.5, 0.5, 100.0, 3.0]
    assert [number_of(text) for text in ("nan", "inf", "1_0", "٣", "1e999", "", "a")] == [None] * 7
    assert [is_no_number(text) for text in ("nan", "NaN", "-Infinity", "inf", "none", "1")] == [
        *[True] * 4,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("label", "others", "found"),
    [
        ("1", ["0", "1.0"], "1.0"),
        ("01", ["0", "1"], "1"),
        ("Neg", ["neg", "pos"], "neg"),
        ("neg", ["neg", "pos"], None),
        ("1a", ["1", "01a"], None),
    ],
)
def test_labels_are_alike_as_one_number_or_one_word(label, others, found):
    assert alike(label, others) == found


def test_found_labels_that_are_alike_are_a_fault():
    assert fault_of_found({"pos", "neg", "0", "1"}) == ""
    assert fault_of_found({"pos", "neg", "Neg"}) == (
        "the labels 'Neg' and 'neg' differ in spelling alone; write them alike, or name all labels if they are two"
    )

"""What of tables and sentences fits a screen."""

import pytest

from bort_kedro.session.screen import Section, screen

NUMBERS = Section(
    "Numbers",
    ("name", "square", "cube"),
    tuple((f"n{n}", str(n * n), str(n**3)) for n in range(1, 6)),
    ("sum", "55", "225"),
    ("All are whole.", "Nobody has asked for more of them, or for less."),
    ("cube", "square"),
)


@pytest.mark.parametrize(
    ("height", "lines"),
    [
        (
            20,
            [
                *("Numbers", "name  square  cube"),
                *("n1         1     1", "n2         4     8", "n3         9    27", "n4        16    64"),
                *("n5        25   125", "sum       55   225"),
                *("All are whole.", "Nobody has asked for more", "of them, or for less."),
            ],
        ),
        # Three rows come before the second sentence, and the first sentence before all rows but one.
        (
            9,
            [
                *("Numbers (3 of 5)", "name  square  cube", "n1         1     1", "n2         4     8"),
                *("n3         9    27", "sum       55   225", "All are whole."),
            ],
        ),
        (7, ["Numbers (1 of 5)", "name  square  cube", "n1         1     1", "sum       55   225", "All are whole."]),
        # These are shown however small the screen is.
        (1, ["Numbers (1 of 5)", "name  square  cube", "n1         1     1", "sum       55   225"]),
    ],
)
def test_a_table_has_the_rows_and_sentences_that_fit(height, lines):
    assert screen([NUMBERS], ["", "end"], height=height, width=25)[: len(lines)] == lines
    assert screen([NUMBERS], ["", "end"], height=height, width=25)[len(lines) :] == ["", "end"]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (18, ["Numbers", "name  square  cube", "n1         1     1", "sum       55   225"]),
        (17, ["Numbers", "name  cube", "n1       1", "sum    225", "A wider terminal", "shows square,", "too."]),
        (9, ["Numbers", "name", "n1", "sum", "A wider", "terminal", "shows", "cube,", "square,", "too."]),
    ],
)
def test_columns_that_do_not_fit_whole_are_left_out_and_named(width, lines):
    one = Section("Numbers", NUMBERS.header, NUMBERS.rows[:1], NUMBERS.last, by_rank=NUMBERS.by_rank)
    assert screen([one], [], height=20, width=width) == lines


def test_later_sections_have_the_room_before_earlier_ones():
    shown = screen([NUMBERS, NUMBERS], ["end"], height=16, width=60)
    assert len(shown) == 16
    assert shown[0] == "Numbers (1 of 5)"
    assert shown[5:8] == ["Numbers", "name  square  cube", "n1         1     1"]


def test_a_section_may_be_a_line():
    assert screen([Section("Corpus: 3 documents")], ["end"], height=5, width=20) == ["Corpus: 3 documents", "end"]

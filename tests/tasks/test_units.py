import pandas as pd

from bort_kedro.tasks.units import Unit, units_of

QUESTIONS = pd.DataFrame(
    {
        "group": ["q1", "q1", "q2", "q2", "q2", "q1"],
        "text": ["p", "p", "r", "r", "s", "p"],
        "text_pair": ["a", "b", "c", "d", "e", None],
    }
)


def test_every_row_is_a_unit_of_its_own_unless_it_is_an_option():
    assert units_of(QUESTIONS.iloc[:2], False) == [Unit((("p", "a"),)), Unit((("p", "b"),))]


def test_neighbouring_options_of_one_group_are_a_unit():
    assert units_of(QUESTIONS, True) == [
        Unit((("p", "a"), ("p", "b"))),
        Unit((("r", "c"), ("r", "d"), ("s", "e"))),
        Unit((("p", None),)),
    ]


def test_a_pair_that_pandas_reads_as_not_a_number_is_none():
    table = pd.DataFrame({"group": ["1", "2"], "text": ["a", "b"], "text_pair": [float("nan"), None]})
    assert units_of(table, False) == [Unit((("a", None),)), Unit((("b", None),))]


def test_no_row_is_no_unit():
    assert units_of(QUESTIONS.iloc[:0], True) == units_of(QUESTIONS.iloc[:0], False) == []


def test_equal_rows_are_equal_units_for_a_set():
    assert len({Unit((("a", None),)), Unit((("a", None),)), Unit((("a", "b"),))}) == 2

import math
from dataclasses import asdict, replace

import pandas as pd
import pytest

from bort_kedro.agora.teacher_bar import check_teacher, teacher_bar
from bort_kedro.tasks.description import RIGHT, WRONG
from bort_kedro.tasks.table import TASKS

BINARY = TASKS["rte"]
LABELS = ("entailment", "not_entailment")


def classified(labels, predictions):
    return pd.DataFrame(
        {"part": "", "group": range(len(labels)), "option": None, "label": labels, "prediction": predictions}
    )


def check(labels, predictions, names="ab"):
    task = replace(BINARY, labels=tuple(names))
    return check_teacher(task, tuple(names), classified(list(labels), list(predictions)))


def asked(*questions):
    """From (labels, place chosen) of each question."""
    rows = [
        {
            "group": str(number),
            "option": f"option {place}",
            "label": RIGHT if mark == "+" else WRONG,
            "prediction": RIGHT if place == chosen else WRONG,
        }
        for number, (marks, chosen) in enumerate(questions)
        for place, mark in enumerate(marks)
    ]
    return check_teacher(TASKS["race_high"], (WRONG, RIGHT), pd.DataFrame(rows).assign(part=""))


def test_bar_is_a_third_of_the_way_from_guessing_to_perfect():
    assert teacher_bar(1 / 2) == 2 / 3
    assert teacher_bar(1 / 3) == pytest.approx(5 / 9)
    assert teacher_bar(1 / 4) == 1 / 2
    assert teacher_bar(0.0) == 1 / 3


def test_two_of_three_is_at_the_published_bar_and_not_over_it():
    found = check("aab", "aaa")
    assert (found.score, found.bar, found.is_over) == (2 / 3, 2 / 3, False)


def test_teacher_above_bar_and_majority_is_over():
    found = check("aabb", "aaba")
    assert asdict(found) == {"score": 0.75, "bar": 2 / 3, "chance": 0.5, "majority": 0.5, "is_over": True}


def test_constant_answer_above_the_bar_is_not_over():
    # As on CoLA: 69 % of one label, above 2/3 without having learned anything.
    labels = "b" * 69 + "a" * 31
    found = check(labels, "b" * 100)
    assert (found.score, found.majority, found.is_over) == (0.69, 0.69, False)
    assert check(labels, "b" * 69 + "a" + "b" * 30).is_over


def test_chance_is_that_of_all_labels_even_where_some_do_not_occur():
    found = check("aabb", "aabb", names="abcd")
    assert (found.chance, found.bar, found.majority) == (0.25, 0.5, 0.5)


def test_choice_is_scored_by_question_and_its_majority_is_the_most_frequent_place():
    found = asked(("+---", 0), ("+---", 0), ("-+--", 1), ("---+", 0))
    assert asdict(found) == {"score": 0.75, "bar": 0.5, "chance": 0.25, "majority": 0.5, "is_over": True}


def test_chance_of_choice_is_the_mean_share_of_right_options():
    # One of two, and two of four.
    assert asked(("+-", 0), ("-++-", 2)).chance == 0.5
    assert asked(("+-", 0), ("-+--", 1)).chance == 0.375


def test_majority_of_choice_counts_each_place_by_itself():
    # Places hold a right option in 1, 2 and 1 of three questions.
    assert asked(("+-", 0), ("-++", 0), ("-+-", 0)).majority == pytest.approx(2 / 3)


def test_regression_explains_a_third_of_the_variance_or_more():
    task = TASKS["stsb"]
    labels = ["0", "1", "2", "3"]
    # Residuals 0, 0, 0, 1 of squares around the mean of 5; then the mean itself; then residuals of squares 4.
    found = check_teacher(task, (), classified(labels, ["0", "1", "2", "2"]))
    assert asdict(found) == {
        "score": pytest.approx(0.8),
        "bar": 1 / 3,
        "chance": 0.0,
        "majority": 0.0,
        "is_over": True,
    }
    assert check_teacher(task, (), classified(labels, ["1.5"] * 4)).score == 0.0
    weak = check_teacher(task, (), classified(labels, ["0", "1", "2", "5"]))
    assert (weak.score, weak.is_over) == (pytest.approx(0.2), False)


def test_regression_of_one_row_is_over_no_bar():
    found = check_teacher(TASKS["stsb"], (), classified(["1"], ["1"]))
    assert math.isnan(found.score)
    assert not found.is_over


def test_nothing_to_score_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        check_teacher(BINARY, LABELS, classified([], []))

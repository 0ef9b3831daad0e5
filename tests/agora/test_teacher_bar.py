import math
from dataclasses import asdict, replace

import pandas as pd
import pytest

from bort_kedro.agora.teacher_bar import check_teacher, teacher_bar
from bort_kedro.tasks.description import RIGHT, WRONG
from bort_kedro.tasks.table import TASKS, own_task

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


def tagged(labels, answers):
    task = own_task("entities", files={"train": "a.conll", "dev": "b.conll"}, form="token_classification")
    return check_teacher(task, ("O", "B-A", "I-A"), classified(labels, answers))


def test_of_tagged_words_the_bar_is_a_third_of_the_f1_of_spans():
    labels = ["B-A O O O", "O O B-A I-A", "O B-A O O"] * 20
    found = tagged(labels, ["B-A O O O", "O O O O", "O O O O"] * 20)
    # 2 * 1 / (3 + 1). All words a span of their own: 2 right of 12 that are told.
    assert (found.score, found.bar, found.chance, found.is_over) == (0.5, 1 / 3, 0.0, True)
    assert found.majority == pytest.approx(2 * 2 / (3 + 12))
    found = tagged(labels, ["B-A O O O", "B-A O O O", "B-A O O O"] * 20)
    assert (found.score, found.is_over) == (pytest.approx(1 / 3), False)


def test_two_of_three_is_at_the_published_bar_and_not_over_it():
    found = check("aab", "aaa")
    assert (found.score, found.bar, found.is_over) == (2 / 3, 2 / 3, False)


def test_teacher_above_bar_and_majority_is_over():
    # Of 40 rows 32 are right; the constant answer `a` is ahead in 4, behind in 16.
    found = check("a" * 20 + "b" * 20, "a" * 16 + "b" * 4 + "b" * 16 + "a" * 4)
    assert asdict(found) == {
        "score": 0.8,
        "error": pytest.approx(math.sqrt(0.8 * 0.2 / 39)),
        "bar": 2 / 3,
        "chance": 0.5,
        "majority": 0.5,
        "lead_error": pytest.approx(math.sqrt((20 / 40 - 0.3**2) / 39)),
        "is_over": True,
    }


def test_teacher_above_the_bar_by_less_than_a_standard_error_is_not_over():
    # As on CB: three labels, 16 of 28 right, 57.1 % against 55.6 %.
    labels = "a" * 10 + "b" * 9 + "c" * 9
    found = check(labels, labels[:16] + "a" * 12, names="abc")
    assert (found.score, found.bar) == (16 / 28, pytest.approx(5 / 9))
    assert found.score > found.bar
    assert found.error == pytest.approx(math.sqrt(16 * 12 / 28**2 / 27))
    assert not found.is_over
    # At 19 of 28 it is: 67.9 - 9.0 %.
    assert not check(labels, labels[:18] + "a" * 10, names="abc").is_over
    assert check(labels, labels[:19] + "a" * 9, names="abc").is_over


def test_teacher_above_the_majority_by_less_than_a_standard_error_is_not_over():
    # Over 2/3 in any case; ahead by one row of a hundred where five were answered otherwise, by three of three.
    labels = "b" * 75 + "a" * 25
    close = check(labels, "a" * 2 + "b" * 73 + "a" * 3 + "b" * 22)
    assert close.score - close.majority == pytest.approx(0.01)
    assert close.lead_error == pytest.approx(math.sqrt((0.05 - 0.01**2) / 99))
    assert not close.is_over
    assert check(labels, "b" * 75 + "a" * 3 + "b" * 22).is_over


def test_answers_to_one_question_count_as_drawn_together():
    task = replace(TASKS["multirc"], labels=("a", "b"))
    rows = classified(list("abab" * 10), list("abab" * 8 + "baba" * 2))
    alone = check_teacher(task, ("a", "b"), rows)
    grouped = check_teacher(task, ("a", "b"), rows.assign(group=rows["group"] // 4))
    assert (alone.score, grouped.score) == (0.8, 0.8)
    assert alone.error == pytest.approx(math.sqrt(0.8 * 0.2 / 39))
    assert grouped.error == pytest.approx(math.sqrt(0.8 * 0.2 / 9))


def test_teacher_of_a_single_group_is_over_no_bar():
    found = check("a", "a")
    assert (found.score, found.is_over) == (1.0, False)
    assert math.isnan(found.error)


def test_constant_answer_above_the_bar_is_not_over():
    # As on CoLA: 69 % of one label, above 2/3 without having learned anything.
    labels = "b" * 69 + "a" * 31
    found = check(labels, "b" * 100)
    assert (found.score, found.majority, found.is_over) == (0.69, 0.69, False)
    assert check(labels, "b" * 69 + "a" * 4 + "b" * 27).is_over


def test_chance_is_that_of_all_labels_even_where_some_do_not_occur():
    found = check("aabb", "aabb", names="abcd")
    assert (found.chance, found.bar, found.majority) == (0.25, 0.5, 0.5)


def test_choice_is_scored_by_question_and_its_majority_is_the_most_frequent_place():
    found = asked(("+---", 0), ("+---", 0), ("-+--", 1), ("---+", 0))
    # The constant answer is wrong in the third alone of those that the teacher has right.
    assert asdict(found) == {
        "score": 0.75,
        "error": pytest.approx(0.25),
        "bar": 0.5,
        "chance": 0.25,
        "majority": 0.5,
        "lead_error": pytest.approx(0.25),
        "is_over": False,
    }
    assert asked(*[("+---", 0), ("-+--", 1), ("--+-", 2), ("---+", 0)] * 4).is_over


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
    # Without one row: 1 - 1/2, 1 - 3/14, 1 - 3/14, 1.
    left = [0.5, 1 - 3 / 14, 1 - 3 / 14, 1.0]
    moved = sum((each - sum(left) / 4) ** 2 for each in left)
    assert asdict(found) == {
        "score": pytest.approx(0.8),
        "error": pytest.approx(math.sqrt(0.75 * moved)),
        "bar": 1 / 3,
        "chance": 0.0,
        "majority": 0.0,
        "lead_error": pytest.approx(math.sqrt(0.75 * moved)),
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

"""Task scores against values worked out by hand."""

import math
import re
import statistics
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bort_kedro.evaluation.scores import (
    JACKKNIFE_BLOCKS,
    Estimate,
    RivalScore,
    constant_answers,
    estimate,
    rival_score,
    score_answers,
    score_rows,
    units_in,
)
from bort_kedro.tasks.table import RIGHT, TASKS, WRONG

CB, COLA, MULTIRC, STSB, RECORD, RACE = (
    TASKS[name] for name in ("cb", "cola", "multirc", "stsb", "record", "race_high")
)
# Classification by accuracy alone.
RTE = TASKS["rte"]
E, N = RTE.labels


def table_of(labels, groups=None, options=None, parts=None):
    count = len(labels)
    return pd.DataFrame(
        {
            "part": parts or [""] * count,
            "group": groups or [str(index) for index in range(count)],
            "option": options or [None] * count,
            "label": list(labels),
        }
    )


def questions(*counts_and_rights):
    """A table of multiple choice from the number of options and the place of the right one of each question."""
    rows = [
        (f"q{number}", f"option {place}", RIGHT if place == right else WRONG)
        for number, (count, right) in enumerate(counts_and_rights)
        for place in range(count)
    ]
    groups, options, labels = (list(column) for column in zip(*rows, strict=True))
    return table_of(labels, groups, options)


def choices(*counts_and_chosen):
    return questions(*counts_and_chosen)["label"].tolist()


def beside_constant(task, table, answers):
    """Scored beside the constant answer, as the first of the floors."""
    return score_answers(task, table, answers, floors={"constant": constant_answers(task, table)})


def jackknife(left_out):
    """Of the statistics without each of K blocks, by the formula."""
    count = len(left_out)
    return math.sqrt((count - 1) / count * sum((value - statistics.mean(left_out)) ** 2 for value in left_out))


def test_scores_of_a_classification_equal_hand_values():
    ent, con, neu = CB.labels
    labels, answers = [ent, ent, ent, con, con, neu], [ent, ent, con, con, con, ent]
    scored = beside_constant(CB, table_of(labels), answers)
    # entailment: precision 2/3, recall 2/3; contradiction: precision 2/3, recall 1; neutral is never answered.
    macro_f1 = (2 / 3 + 4 / 5 + 0) / 3
    assert scored.metrics == {"macro_f1": pytest.approx(macro_f1), "accuracy": pytest.approx(4 / 6)}
    assert scored.score.value == pytest.approx(macro_f1)
    assert scored.num_examples == 6
    # Always entailment: precision 1/2, recall 1.
    assert scored.floors["constant"].score == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert scored.floors["constant"].lead == pytest.approx(macro_f1 - 2 / 9)


def test_the_error_of_an_accuracy_is_that_of_a_mean():
    labels, answers = [E, E, E, N, N, E], [E, E, N, N, N, N]
    scored = score_answers(RTE, table_of(labels), answers)
    # Right, right, wrong, right, right, wrong: s^2 = 6/5 * 4/6 * 2/6.
    assert scored.score == Estimate(pytest.approx(4 / 6), pytest.approx(math.sqrt(4 / 6 * 2 / 6 / 5)))


def test_the_lead_over_a_floor_and_its_error_are_paired_by_example():
    labels, answers = [E, E, E, N, N, E], [E, E, N, N, N, N]
    scored = beside_constant(RTE, table_of(labels), answers)
    assert scored.floors["constant"].score == pytest.approx(4 / 6)
    # Right less majority right, by example: 0, 0, -1, 1, 1, -1.
    gains = [0, 0, -1, 1, 1, -1]
    assert scored.floors["constant"].lead == pytest.approx(0.0)
    assert scored.floors["constant"].lead_standard_error == pytest.approx(statistics.stdev(gains) / math.sqrt(6))
    assert not scored.floors["constant"].is_beaten


def test_a_floor_is_beaten_beyond_two_errors_of_the_lead():
    # Half of each label; the answers are the majority's but for some of the other half, all of them right.
    labels = [E] * 50 + [N] * 50
    won = beside_constant(RTE, table_of(labels), [E] * 50 + [N] * 5 + [E] * 45).floors["constant"]
    lost = beside_constant(RTE, table_of(labels), [E] * 50 + [N] * 3 + [E] * 47).floors["constant"]
    # Gains are 0 or 1: mean 0.05 and error 0.0219; mean 0.03 and error 0.0171.
    assert (won.lead, won.lead_standard_error) == (pytest.approx(0.05), pytest.approx(math.sqrt(0.05 * 0.95 / 99)))
    assert (lost.lead, lost.lead_standard_error) == (pytest.approx(0.03), pytest.approx(math.sqrt(0.03 * 0.97 / 99)))
    assert won.is_beaten
    assert not lost.is_beaten


def test_a_constant_answer_is_not_ahead_of_itself_and_has_no_correlation():
    scored = beside_constant(COLA, table_of(["1", "1", "0"]), ["1", "1", "1"])
    assert scored.metrics == {"matthews": 0.0}
    assert scored.floors["constant"] == RivalScore(score=0.0, lead=0.0, lead_standard_error=0.0)
    assert not scored.floors["constant"].is_beaten


def test_a_correlation_counts_every_label_and_every_answer():
    # TP 3, FN 1, FP 1, TN 1: (3 - 1) / sqrt(4 * 4 * 2 * 2).
    scored = beside_constant(COLA, table_of("111100"), list("111010"))
    assert scored.score.value == pytest.approx(2 / 8)
    assert scored.floors["constant"].score == 0.0


def test_scores_of_a_regression_read_numbers():
    table = table_of(["0.0", "1.0", "2.0", "5"])
    scored = beside_constant(STSB, table, ["0", "2.5", "1", "4e0"])
    # Deviations of labels from 2: -2, -1, 0, 3; of answers from 1.875: -1.875, .625, -.875, 2.125.
    covariance = 3.75 - 0.625 + 6.375
    pearson = covariance / math.sqrt(14 * (1.875**2 + 0.625**2 + 0.875**2 + 2.125**2))
    # Ranks 1 2 3 4 and 1 3 2 4: 1 - 6 * 2 / (4 * 15).
    assert scored.metrics == {"pearson": pytest.approx(pearson), "spearman": pytest.approx(0.8)}
    assert scored.floors["constant"].score == 0.0
    assert scored.floors["constant"].lead == pytest.approx(pearson)


def test_scores_of_multiple_choice_are_by_question():
    table = questions((4, 0), (4, 0), (4, 3))
    scored = beside_constant(RACE, table, choices((4, 0), (4, 2), (4, 3)))
    assert scored.num_examples == 3
    # Right, wrong, right: s^2 = 1/3.
    assert scored.score == Estimate(pytest.approx(2 / 3), pytest.approx(math.sqrt(1 / 3 / 3)))
    # Always the first: right, right, wrong. Gains 0, -1, 1.
    assert scored.floors["constant"].score == pytest.approx(2 / 3)
    assert scored.floors["constant"].lead == pytest.approx(0.0)
    assert scored.floors["constant"].lead_standard_error == pytest.approx(math.sqrt(1 / 3))


def test_scores_of_entities_compare_their_words():
    table = table_of(
        [WRONG, RIGHT, RIGHT, WRONG, RIGHT],
        ["q0", "q0", "q0", "q1", "q1"],
        ["Paris", "New York City", "New York", "Rome", "The Rome of old"],
    )
    scored = score_answers(RECORD, table, [WRONG, RIGHT, WRONG, RIGHT, WRONG])
    # "Rome" has one word of "Rome of old": precision 1, recall 1/3.
    assert scored.metrics == {"f1_tokens": pytest.approx((1 + 0.5) / 2), "exact_match": pytest.approx(0.5)}


def test_score_of_rows_is_any_metric_of_the_task():
    table = table_of(["1", "1", "0", "0"])
    assert score_rows(COLA, "accuracy", table, list("1101")) == 0.75
    assert score_rows(COLA, "f1", table, list("1101")) == pytest.approx(2 * 2 / (3 + 2))


@pytest.mark.parametrize(("labels", "answers"), [([], []), ([E], [E, N])])
def test_nothing_to_score_is_refused_with_both_counts(labels, answers):
    text = (
        f"{len(labels)} labels and {len(answers)} predictions: expected as many of one as of the other, and at least "
        "one"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        score_answers(RTE, table_of(labels), answers)


def test_the_jackknife_of_a_mean_is_the_standard_error_of_the_mean():
    values = np.random.default_rng(5).normal(3.0, 2.0, 90)
    assert len(values) < JACKKNIFE_BLOCKS
    found = estimate(lambda rows: float(values[rows].mean()), table_of(values))
    assert found.value == pytest.approx(values.mean())
    assert found.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(90))


def test_the_jackknife_of_a_ratio_equals_its_formula():
    above, below = np.array([1.0, 4.0, 2.0, 8.0]), np.array([2.0, 3.0, 1.0, 5.0])
    found = estimate(lambda rows: float(above[rows].sum() / below[rows].sum()), table_of(above))
    assert found.value == pytest.approx(15 / 11)
    assert found.standard_error == pytest.approx(jackknife([14 / 9, 11 / 8, 13 / 10, 7 / 6]))


def test_the_jackknife_leaves_whole_groups_out():
    values = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    table = table_of(values, groups=["a", "b", "a", "c", "b", "b"])
    found = estimate(lambda rows: float(values[rows].mean()), table)
    # Without a: 0 1 0 0; without b: 1 1 1; without c: 1 0 1 0 0.
    assert found.standard_error == pytest.approx(jackknife([1 / 4, 1, 2 / 5]))


def test_no_statistic_of_the_jackknife_ever_sees_part_of_a_group():
    count, size = 3 * JACKKNIFE_BLOCKS + 17, 3
    groups = [f"q{row % count}" for row in range(count * size)]
    asked = []

    def statistic(rows):
        asked.append(rows)
        return float(len(rows))

    estimate(statistic, table_of([E] * len(groups), groups))
    whole, *without = asked
    assert whole.tolist() == list(range(count * size))
    assert len(without) == JACKKNIFE_BLOCKS
    left_out = [np.setdiff1d(whole, rows) for rows in without]
    assert sorted(np.concatenate(left_out).tolist()) == whole.tolist()
    for rows in left_out:
        units = rows.reshape(size, -1) % count
        assert (units == units[0]).all()
        # 617 questions over 200 blocks.
        assert units.shape[1] in (3, 4)


def test_with_more_units_than_blocks_the_error_of_a_mean_is_about_that_of_the_mean():
    values = np.random.default_rng(1).normal(size=20 * JACKKNIFE_BLOCKS)
    found = estimate(lambda rows: float(values[rows].mean()), table_of(values))
    # A standard deviation from 200 blocks has a relative error of 1 / sqrt(2 * 199) = 5 %; four of them.
    assert found.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(len(values)), rel=0.2)


def test_the_same_table_has_the_same_error_each_time():
    values = np.random.default_rng(1).normal(size=3 * JACKKNIFE_BLOCKS)
    first, second = (estimate(lambda rows: float(values[rows].mean()), table_of(values)) for _ in range(2))
    assert first == second


def test_a_single_unit_has_no_error():
    scored = beside_constant(RACE, questions((3, 1)), choices((3, 1)))
    assert scored.score.value == 1.0
    assert math.isnan(scored.score.standard_error)
    assert not scored.floors["constant"].is_beaten


def test_units_are_groups_in_the_order_in_which_they_begin():
    units = units_in(table_of([E] * 6, groups=["b", "a", "b", "c", "a", "b"]))
    assert [rows.tolist() for rows in units] == [[0, 2, 5], [1, 4], [3]]
    many = units_in(table_of([E] * 300, groups=[str(row % 3) for row in range(300)]))
    assert [rows.tolist() for rows in many] == [list(range(first, 300, 3)) for first in range(3)]


def test_the_same_group_in_two_parts_of_a_split_is_two_units():
    parts = ["matched", "matched", "mismatched", "mismatched"]
    table = table_of([E, N, E, N], groups=["0", "1", "0", "1"], parts=parts)
    assert [rows.tolist() for rows in units_in(table)] == [[0], [1], [2], [3]]
    assert score_answers(RTE, table, [E] * 4).num_examples == 4


def test_questions_of_two_parts_with_the_same_number_are_scored_apart():
    table = table_of([RIGHT, WRONG, WRONG, RIGHT], ["0"] * 4, ["a", "b", "c", "d"], ["x", "x", "y", "y"])
    assert score_answers(RACE, table, [RIGHT, WRONG, RIGHT, WRONG]).score.value == 0.5


def test_all_answers_of_a_question_are_left_out_together():
    true, false = "true", "false"
    table = table_of([true, false, true, true], groups=["q0", "q0", "q1", "q2"])
    scored = score_answers(replace(MULTIRC, metrics=("exact_match",)), table, [true, false, false, true])
    # Right, wrong, right by question.
    assert scored.score == Estimate(pytest.approx(2 / 3), pytest.approx(math.sqrt(1 / 3 / 3)))
    assert scored.num_examples == 3


def test_a_lead_is_paired_so_that_shared_mistakes_make_no_noise():
    labels = [E, N] * 10
    ours, theirs = [E] * 20, [E] * 20
    theirs[0] = N
    rival = rival_score(RTE, table_of(labels), ours, theirs)
    # One gain of 1 among 20.
    assert (rival.score, rival.lead) == (pytest.approx(9 / 20), pytest.approx(1 / 20))
    # Not paired, each accuracy alone has an error of about sqrt(.5 * .5 / 19) = 0.115.
    assert rival.lead_standard_error == pytest.approx(math.sqrt(1 / 20 * 19 / 20 / 19))


def test_a_lead_over_oneself_is_nothing_and_turns_its_sign_with_the_sides():
    labels, ours, theirs = list("1101001011"), list("1101101011"), list("1100001111")
    table = table_of(labels)
    itself = rival_score(COLA, table, ours, ours)
    assert (itself.lead, itself.lead_standard_error, itself.is_beaten) == (0.0, 0.0, False)
    forth, back = rival_score(COLA, table, ours, theirs), rival_score(COLA, table, theirs, ours)
    assert forth.lead == pytest.approx(-back.lead)
    assert forth.lead_standard_error == pytest.approx(back.lead_standard_error)
    difference = score_rows(COLA, "matthews", table, ours) - score_rows(COLA, "matthews", table, theirs)
    assert forth.lead == pytest.approx(difference)
    assert forth.lead > 0


def test_the_constant_label_is_the_most_frequent_and_the_first_by_name_among_equals():
    assert constant_answers(RTE, table_of([N, E, N])) == [N] * 3
    assert constant_answers(RTE, table_of([N, E, E, N])) == [E] * 4


def test_the_constant_number_is_the_mean():
    assert constant_answers(STSB, table_of(["0", "1.0", "4"])) == ["1.66667"] * 3


def test_the_constant_choice_is_the_place_that_is_right_most_often():
    table = questions((4, 1), (4, 3), (4, 1), (4, 0))
    assert constant_answers(RACE, table) == choices((4, 1), (4, 1), (4, 1), (4, 1))


def test_the_first_place_is_chosen_among_equals():
    assert constant_answers(RACE, questions((2, 1), (2, 0))) == choices((2, 0), (2, 0))


def test_a_question_with_fewer_options_is_answered_by_its_last():
    table = questions((4, 2), (2, 0), (5, 2))
    assert constant_answers(RECORD, table) == choices((4, 2), (2, 1), (5, 2))


def test_every_constant_choice_is_one_option_of_each_question():
    generator = np.random.default_rng(2)
    counts = generator.integers(2, 6, 30).tolist()
    table = questions(*((count, int(generator.integers(count))) for count in counts))
    answers = pd.Series(constant_answers(RACE, table))
    assert (answers.eq(RIGHT).groupby(table["group"]).sum() == 1).all()

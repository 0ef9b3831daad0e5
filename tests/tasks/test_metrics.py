import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bort_kedro.errors import ConfigurationError, TaskError
from bort_kedro.tasks.description import RIGHT, WRONG, Form
from bort_kedro.tasks.metrics import METRICS, Scored, answer_words, score, score_rows, scored_rows
from bort_kedro.tasks.table import TASKS


def classified(metric, labels, predictions, groups=None, names=()):
    labels, predictions = (np.array([*values]) for values in (labels, predictions))
    groups = np.arange(len(labels)) if groups is None else np.array([*groups])
    return score(Form.CLASSIFICATION, metric, Scored(labels, predictions, groups, np.full(len(labels), None), names))


def regressed(metric, labels, predictions):
    places = np.arange(len(labels))
    scored = Scored(np.array(labels, float), np.array(predictions, float), places, np.full(len(places), None))
    return score(Form.REGRESSION, metric, scored)


def asked(metric, *questions):
    """From the options of each question, the right ones marked with +, and the place chosen."""
    rows = [
        (number, option.strip("+"), RIGHT if "+" in option else WRONG, RIGHT if place == chosen else WRONG)
        for number, (options, chosen) in enumerate(questions)
        for place, option in enumerate(options)
    ]
    groups, options, labels, predictions = (np.array(column) for column in zip(*rows, strict=True))
    return score(Form.MULTIPLE_CHOICE, metric, Scored(labels, predictions, groups, options))


def test_accuracy_is_the_share_of_equal_labels():
    assert classified("accuracy", "abca", "abcb") == 0.75


def test_f1_is_that_of_the_second_label():
    # Of "1": two of three said are right, and two of four found.
    labels, predictions = "1111000", "1100001"
    assert classified("f1", labels, predictions, names=("0", "1")) == pytest.approx(2 * 2 / (3 + 4))
    assert classified("f1", labels, predictions, names=("1", "0")) == pytest.approx(2 * 2 / (4 + 3))
    assert classified("f1", "111100", "110000", names=("0", "1")) == pytest.approx(2 / 3)


def test_f1_without_any_positive_is_zero():
    assert classified("f1", "000", "000", names=("0", "1")) == 0.0


def test_f1_of_three_labels_is_refused():
    with pytest.raises(ConfigurationError) as caught:
        classified("f1", "abc", "abc", names=("a", "b", "c"))
    assert str(caught.value) == (
        "The metric `f1` is that of the second of two labels, but the task has 3: a, b, c. Change `metrics` in the "
        "description of the task to `macro_f1`, or name its two `labels`."
    )


def test_macro_f1_is_the_mean_over_labels():
    # a: 2 of 3 said, 2 of 2 found: 4/5. b: 0. c: 1 of 1, 1 of 1: 1.
    assert classified("macro_f1", "aabc", "aaac") == pytest.approx((0.8 + 0.0 + 1.0) / 3)


def test_matthews_equals_hand_value():
    # TP 3, FN 1, FP 1, TN 1: (3 - 1) / sqrt(4 * 4 * 2 * 2).
    assert classified("matthews", "111100", "111010") == pytest.approx(2 / 8)


def test_matthews_of_three_labels_equals_hand_value():
    # AX: 5 of 6 right; labels 2, 2, 2, predictions 3, 2, 1: (5 * 6 - 12) / sqrt((36 - 12) * (36 - 14)).
    assert classified("matthews", "aabbcc", "aabbca") == pytest.approx(18 / (24 * 22) ** 0.5)


def test_f1_answers_is_over_all_answers_and_exact_match_over_questions():
    # MultiRC: question p all right, question q with one wrong answer.
    labels, predictions = (["true", "false", "true", "true"], ["true", "false", "true", "false"])
    assert classified("f1_answers", labels, predictions, groups="ppqq") == pytest.approx(2 * 2 / (2 + 3))
    assert classified("exact_match", labels, predictions, groups="ppqq") == 0.5
    assert classified("exact_match", labels, predictions, groups="pqqp") == 0.5
    assert classified("exact_match", labels, predictions, groups="pqrs") == 0.75


def test_parity_is_the_share_of_pairs_answered_alike_right_or_not():
    assert classified("parity", "aaaaaa", "aabbab", groups="ppqqrr") == pytest.approx(2 / 3)
    assert classified("parity", "aaaa", "abab", groups="pqpq") == 1.0


def test_parity_of_a_group_that_is_no_pair_is_refused():
    with pytest.raises(TaskError, match=r"^parity compares pairs, but the group q has 1 row\(s\)\. Mend the row"):
        classified("parity", "aaa", "aaa", groups="ppq")


def test_pearson_and_spearman_equal_hand_values():
    # Deviations (-1, 0, 1) and (-1, -1, 2): 3 / sqrt(2 * 6); ranks (1, 2, 3) and (1.5, 1.5, 3): 1.5 / sqrt(2 * 1.5).
    assert regressed("pearson", [1, 2, 3], [0, 0, 3]) == pytest.approx(3 / 12**0.5)
    assert regressed("spearman", [1, 2, 3], [0, 0, 3]) == pytest.approx(1.5 / 3**0.5)
    assert regressed("spearman", [1, 2, 3, 4], [1, 10, 100, 1000]) == pytest.approx(1.0)
    assert regressed("pearson", [1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
@pytest.mark.parametrize(("labels", "predictions"), [([1, 2, 3], [2, 2, 2]), ([2, 2], [1, 3]), ([1], [1])])
def test_correlation_with_a_constant_is_zero_without_a_warning(metric, labels, predictions):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert regressed(metric, labels, predictions) == 0.0


@pytest.mark.parametrize(("labels", "predictions"), [("abab", "aaaa"), ("aaaa", "abab"), ("aa", "aa"), ("a", "b")])
def test_matthews_of_a_constant_is_zero_without_a_warning(labels, predictions):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert classified("matthews", labels, predictions) == 0.0
        assert classified("macro_f1", labels, predictions) >= 0.0


def test_choice_is_right_by_the_row_chosen():
    questions = (["x+", "y"], 0), (["x", "y+", "z"], 2), (["x", "y+"], 1)
    assert asked("accuracy", *questions) == pytest.approx(2 / 3)


def test_choice_matches_exactly_where_its_text_reads_like_a_right_one():
    # The second time "the obama" is chosen, which reads like the right option of another place.
    questions = (["Bush+", "Obama"], 0), (["The Obama", "Obama+"], 0), (["Bush", "Obama+"], 0)
    assert asked("accuracy", *questions) == pytest.approx(1 / 3)
    assert asked("exact_match", *questions) == pytest.approx(2 / 3)


@pytest.mark.parametrize("metric", ["exact_match", "f1_tokens"])
def test_a_question_without_a_right_option_scores_zero(metric):
    assert asked(metric, (["x", "y"], 0), (["x+", "y"], 0)) == 0.5


def test_f1_of_words_takes_the_right_option_most_alike():
    # "Barack Obama" against "Obama": 2 * 1 / 3; against "Barack H. Obama": 2 * 2 / 5, which is larger.
    assert asked("f1_tokens", (["Barack Obama", "Obama+"], 0)) == pytest.approx(2 / 3)
    assert asked("f1_tokens", (["Barack Obama", "Obama+", "Barack H. Obama+"], 0)) == pytest.approx(4 / 5)
    assert asked("f1_tokens", (["Bush", "Obama+"], 0), (["Bush", "Obama+"], 1)) == 0.5


def test_f1_of_words_counts_a_repeated_word_as_often_as_both_have_it():
    assert asked("f1_tokens", (["go go go", "go go+"], 0)) == pytest.approx(2 * 2 / 5)


def test_answers_lose_case_punctuation_and_articles():
    assert answer_words("The  U.S., an Apple's a-b Theatre") == ["us", "apples", "ab", "theatre"]


@pytest.mark.parametrize(("predictions", "count"), [([RIGHT, RIGHT], 2), ([WRONG, WRONG], 0)])
def test_choice_of_another_number_of_options_than_one_is_refused(predictions, count):
    scored = Scored(np.array([RIGHT, WRONG]), np.array(predictions), np.array(["q", "q"]), np.array(["x", "y"]))
    with pytest.raises(ValueError, match=f"^one option of each question is to be chosen, but {count} are of q$"):
        score(Form.MULTIPLE_CHOICE, "accuracy", scored)


def test_one_question_of_several_without_a_choice_is_refused():
    columns = [RIGHT, RIGHT], [RIGHT, WRONG], ["p", "q"], ["x", "y"]
    with pytest.raises(ValueError, match=r"^one option of each question is to be chosen, but 0 are of q$"):
        score(Form.MULTIPLE_CHOICE, "accuracy", Scored(*map(np.array, columns)))


def test_metric_of_another_form_says_which_are_allowed():
    with pytest.raises(ConfigurationError) as caught:
        regressed("accuracy", [1, 2], [1, 2])
    assert str(caught.value) == (
        "The metric `accuracy` is not defined for the form `regression`. Allowed: pearson, spearman. Change `metrics` "
        "in the description of the task."
    )
    with pytest.raises(ConfigurationError, match=r"^The metric `bleu` is not defined for the form `regression`"):
        regressed("bleu", [1, 2], [1, 2])


def test_columns_of_different_lengths_and_empty_ones_are_refused():
    with pytest.raises(ValueError, match=r"^labels, predictions, groups and options have 2, 1, 2, 2 rows: expected"):
        Scored(np.zeros(2), np.zeros(1), np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="have 0, 0, 0, 0 rows"):
        Scored(*[np.zeros(0)] * 4)


def table(labels, groups=None, options=None):
    groups = [str(place) for place in range(len(labels))] if groups is None else groups
    return pd.DataFrame({"part": "", "group": groups, "option": options or [None] * len(labels), "label": labels})


def test_rows_of_a_table_are_scored_by_the_form_and_labels_of_the_task():
    assert score_rows(TASKS["mrpc"], "f1", table(["1", "1", "0"]), ["1", "0", "0"]) == pytest.approx(2 / 3)
    assert score_rows(TASKS["stsb"], "pearson", table(["0.0", "2.5", "5.000"]), ["1", "2", "3"]) == pytest.approx(1.0)
    multirc = table(["true", "false", "true"], groups=["q", "q", "r"])
    assert score_rows(TASKS["multirc"], "exact_match", multirc, ["true", "false", "false"]) == 0.5
    copa = table([WRONG, RIGHT, RIGHT, WRONG], groups=["q", "q", "r", "r"], options=["x", "y", "z", "w"])
    assert score_rows(TASKS["copa"], "accuracy", copa, [WRONG, RIGHT, WRONG, RIGHT]) == 0.5


def test_labels_of_a_task_that_names_them_are_those_named():
    assert scored_rows(TASKS["mrpc"], table(["1", "1"]), ["1", "1"]).label_names == ("0", "1")
    assert scored_rows(TASKS["stsb"], table(["1.0", "2.0"]), ["1", "2"]).label_names == ()


def test_labels_of_a_task_that_names_none_are_those_that_occur():
    task = TASKS["adjacent"]
    unnamed = task.__class__(**{**vars(task), "labels": ()})
    assert score_rows(unnamed, "f1", table(["no", "yes", "yes"]), ["no", "yes", "no"]) == pytest.approx(2 / 3)


def test_every_metric_of_every_task_is_defined_for_its_form():
    assert [
        (task.name, name) for task in TASKS.values() for name in task.metrics if task.form not in METRICS[name]
    ] == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab")), min_size=2, max_size=20))
@pytest.mark.slow
def test_perfect_predictions_score_one_and_all_scores_are_within_their_range(pairs):
    labels, predictions = zip(*pairs, strict=True)
    for metric in ("accuracy", "f1", "macro_f1", "matthews", "exact_match"):
        assert -1.0 <= classified(metric, labels, predictions, names=("a", "b")) <= 1.0
        if len(set(labels)) == 2:
            assert classified(metric, labels, labels, names=("a", "b")) == pytest.approx(1.0)

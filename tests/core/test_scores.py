"""Task scores against values worked out by hand."""

import math

import pytest

from bort_kedro.core.scores import score_labels

LABELS = ["a", "a", "a", "b", "b", "c"]
PREDICTED = ["a", "a", "b", "b", "b", "a"]


def test_scores_equal_hand_values():
    score = score_labels(LABELS, PREDICTED)
    assert score.num_examples == 6
    assert score.accuracy == pytest.approx(4 / 6)
    assert score.standard_error == pytest.approx(math.sqrt(4 / 6 * 2 / 6 / 6))
    assert (score.majority_label, score.majority_accuracy) == ("a", 3 / 6)
    # a: precision 2/3, recall 2/3; b: precision 2/3, recall 1; c: never predicted.
    assert score.macro_f1 == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)
    # (4 * 6 - (3*3 + 2*3 + 1*0)) / sqrt((36 - 18) * (36 - 14))
    assert score.matthews == pytest.approx(9 / math.sqrt(18 * 22))


def test_advantage_and_its_error_are_paired_by_example():
    score = score_labels(LABELS, PREDICTED)
    # right - majority right, by example: 0, 0, -1, 1, 1, 0; mean 1/6, squares about it sum to 17/6.
    assert score.advantage == pytest.approx(1 / 6)
    assert score.advantage_standard_error == pytest.approx(math.sqrt(17 / 6 / 5 / 6))
    assert not score.beats_majority


def test_beats_majority_needs_more_than_two_standard_errors():
    # n examples, half of each class; the classifier is right on all but k of class b's.
    labels = ["a"] * 50 + ["b"] * 50
    won = score_labels(labels, ["a"] * 50 + ["b"] * 5 + ["a"] * 45)
    lost = score_labels(labels, ["a"] * 50 + ["b"] * 3 + ["a"] * 47)
    # gains are 0 or 1: mean 0.05, error sqrt(.05 * .95 / 99) = 0.0219; mean 0.03, error 0.0171.
    assert won.advantage_standard_error == pytest.approx(math.sqrt(0.05 * 0.95 / 99))
    assert won.beats_majority
    assert not lost.beats_majority


def test_a_constant_answer_never_beats_the_majority_and_has_no_correlation():
    score = score_labels(["a", "a", "b"], ["a", "a", "a"])
    assert (score.advantage, score.matthews, score.beats_majority) == (0.0, 0.0, False)
    assert score.macro_f1 == pytest.approx((0.8 + 0) / 2)


def test_majority_of_a_tie_is_the_first_in_text_order():
    assert score_labels(["z", "b"], ["z", "b"]).majority_label == "b"


@pytest.mark.parametrize(("labels", "predicted"), [([], []), (["a"], ["a", "b"])])
def test_nothing_to_score_is_refused_with_both_counts(labels, predicted):
    with pytest.raises(ValueError, match=f"{len(labels)} labels and {len(predicted)} predictions"):
        score_labels(labels, predicted)

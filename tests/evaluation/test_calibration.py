"""Temperatures and calibration errors, by hand and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from bort_kedro.evaluation.calibration import (
    LEAST_EXAMPLES,
    TEMPERATURES,
    Calibration,
    at_temperature,
    calibration_of,
    expected_calibration_error,
    fit_temperature,
)


def starts_of(count, width):
    return np.arange(count + 1) * width


def softmax(logits):
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def drawn(num_examples=4000, *, temperature, seed=0):
    """Probabilities of logits that are so many times too large, and labels drawn of what they should be."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, size=(num_examples, 3))
    labels = [generator.choice(3, p=shares) for shares in softmax(logits)]
    return softmax(logits * temperature), np.eye(3)[labels]


def test_the_error_is_the_mean_distance_of_confidence_from_being_right():
    # Bins of a fifteenth: 0.95 with 1 of 2 right, 0.6 with 1 of 1.
    confidence, is_right = np.array([0.95, 0.95, 0.6]), np.array([True, False, True])
    assert expected_calibration_error(confidence, is_right) == pytest.approx((2 * 0.45 + 0.4) / 3)
    assert expected_calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0.0


def test_probabilities_at_a_temperature_are_those_of_divided_logits():
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
    found = at_temperature(softmax(logits).ravel(), 2.5, starts_of(2, 3))
    assert found.reshape(2, 3) == pytest.approx(softmax(logits / 2.5))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 3.0])
def test_the_temperature_that_logits_were_multiplied_by_is_found_and_mends_the_error(temperature):
    probabilities, targets = drawn(temperature=temperature)
    starts = starts_of(len(probabilities), 3)
    found = fit_temperature(probabilities.ravel(), targets.ravel(), starts)
    assert found == pytest.approx(temperature, rel=0.06)
    mended = at_temperature(probabilities.ravel(), found, starts).reshape(-1, 3)

    def error(shares):
        return expected_calibration_error(shares.max(axis=1), shares.argmax(axis=1) == targets.argmax(axis=1))

    assert error(mended) < 0.03
    assert error(mended) <= error(probabilities) + 0.005
    assert (mended.argmax(axis=1) == probabilities.argmax(axis=1)).all()


def test_the_error_is_told_with_and_without_a_temperature_over_questions_of_any_number_of_options():
    starts, targets = np.array([0, 2, 5]), np.array([1.0, 0.0, 0.0, 0.5, 0.5])
    sharp = np.array([0.9, 0.1, 0.5, 0.25, 0.25])
    mild = at_temperature(sharp, 2.0, starts)
    # The first answer is right, the second is none of the two that are: |0.9 - 1| and |0.5 - 0|.
    found = calibration_of(mild, targets, starts, 2.0)
    assert (found.temperature, found.num_questions) == (2.0, 2)
    assert found.error_before == pytest.approx((0.1 + 0.5) / 2)
    assert found.error == pytest.approx((0.25 + np.sqrt(0.5) / (np.sqrt(0.5) + 1)) / 2)
    assert Calibration.from_json(found.to_json()) == found
    untouched = calibration_of(sharp, targets, starts, 1.0)
    assert untouched.error == untouched.error_before == found.error_before


def test_questions_may_have_different_numbers_of_options():
    # Always half as sure as right: of two options 0.75 of 0.9, of three likewise in logits.
    starts = np.array([0, 2, 5])
    probabilities = np.array([0.9, 0.1, 0.5, 0.25, 0.25])
    found = at_temperature(probabilities, 2.0, starts)
    assert found[:2] == pytest.approx([0.75, 0.25])
    assert found[2:] == pytest.approx(np.sqrt([0.5, 0.25, 0.25]) / np.sqrt([0.5, 0.25, 0.25]).sum())


def test_few_examples_say_nothing_and_a_flawless_model_stays_within_bounds():
    few, targets = drawn(LEAST_EXAMPLES - 1, temperature=3.0)
    assert fit_temperature(few.ravel(), targets.ravel(), starts_of(len(few), 3)) == 1.0
    # Of 61 questions, of which one is drawn, half a one is answered wrongly.
    known, labels, firsts = np.tile([0.999, 0.001], 60), np.tile([1.0, 0.0], 60), starts_of(60, 2)
    assert at_temperature(known, fit_temperature(known, labels, firsts), firsts)[1] == pytest.approx(0.5 / 61, rel=1e-3)
    sure = np.tile([0.7, 0.3], 60)
    found = fit_temperature(sure, np.tile([1.0, 0.0], 60), starts_of(60, 2))
    assert found == pytest.approx(TEMPERATURES[0], rel=1e-3)

from itertools import product

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from bort_kedro.errors import TrainingError
from bort_kedro.search import error_model
from bort_kedro.search.error_model import ErrorModel, leave_one_out

SPACE = np.array(list(product([1, 2, 4, 6], [1, 2, 4], [64, 128, 192], [64, 128, 256, 512])))
EXPONENTS = np.array([-0.06, -0.02, -0.12, -0.03])
POWER_LAW = 1.5 * np.exp(np.log(SPACE) @ EXPONENTS)
# Over D and H at once the law above bends.
BENT = POWER_LAW * np.exp(0.05 * np.log(SPACE[:, 0]) * np.log(SPACE[:, 2] / 64))


def split(number, seed=0):
    order = np.random.default_rng(seed).permutation(len(SPACE))
    return order[:number], order[number:]


@pytest.mark.parametrize("number", [15, 40])
def test_a_planted_law_linear_in_the_log_shape_is_recovered(number):
    trained, rest = split(number)
    mean, deviation = ErrorModel.fit(SPACE[trained], POWER_LAW[trained]).predict(SPACE[rest])
    np.testing.assert_allclose(mean, POWER_LAW[rest], rtol=0.01)
    assert (np.abs(mean - POWER_LAW[rest]) < 2 * deviation).all()


def test_regression_equals_ridge_with_the_precisions_it_found():
    trained, rest = split(12, seed=1)
    model = ErrorModel.fit(SPACE[trained], POWER_LAW[trained])
    logs = np.log(SPACE)
    standardised = (logs - logs[trained].mean(axis=0)) / logs[trained].std(axis=0)
    targets = np.log(POWER_LAW[trained])
    scaled = (targets - targets.mean()) / targets.std()
    noise, prior = model.regression.alpha_, model.regression.lambda_
    precision = noise * standardised[trained].T @ standardised[trained] + prior * np.eye(4)
    coefficients = np.linalg.solve(precision, noise * standardised[trained].T @ scaled)
    error = np.exp(targets.mean() + targets.std() * standardised[rest] @ coefficients)
    spread = np.einsum("ij,jk,ik->i", standardised[rest], np.linalg.inv(precision), standardised[rest])
    mean, deviation = model.predict(SPACE[rest])
    np.testing.assert_allclose(mean, error, rtol=1e-9)
    np.testing.assert_allclose(deviation, error * targets.std() * np.sqrt(1 / noise + spread), rtol=1e-9)


@pytest.mark.parametrize("number", [2, 4, 8, 20, 60])
def test_two_deviations_cover_most_errors_that_were_not_seen(number):
    covered = []
    for seed in range(20):
        trained, rest = split(number, seed)
        noisy = POWER_LAW * np.exp(0.03 * np.random.default_rng(100 + seed).standard_normal(len(SPACE)))
        mean, deviation = ErrorModel.fit(SPACE[trained], noisy[trained]).predict(SPACE[rest])
        covered.append(np.mean(np.abs(mean - noisy[rest]) <= 2 * deviation))
    # Two errors cannot tell how far errors lie apart; from four on the deviation is about right.
    assert np.mean(covered) > (0.7 if number == 2 else 0.85)


def test_an_axis_with_one_value_breaks_nothing_and_stepping_off_it_is_less_certain():
    same_heads = SPACE[:, 1] == 2
    model = ErrorModel.fit(SPACE[same_heads], POWER_LAW[same_heads])
    mean, deviation = model.predict(np.array([[4, 2, 128, 256], [4, 4, 128, 256]]))
    assert mean[0] == pytest.approx(1.5 * np.exp(np.log([4, 2, 128, 256]) @ EXPONENTS), rel=0.01)
    assert mean[1] == pytest.approx(mean[0])
    assert deviation[1] > 2 * deviation[0]


def test_two_errors_point_the_way_the_error_falls():
    model = ErrorModel.fit(np.array([[2, 2, 64, 64], [2, 2, 128, 64]]), np.array([0.5, 0.4]))
    mean, deviation = model.predict(np.array([[2, 2, 64, 64], [2, 2, 128, 64], [2, 2, 256, 64]]))
    # The ridge pulls the two towards their geometric mean; the third lies on their line in the logarithms.
    assert 0.45 < mean[0] < 0.5
    assert 0.4 < mean[1] < 0.45
    assert mean[2] / mean[1] == pytest.approx(mean[1] / mean[0])
    assert deviation[2] / mean[2] > deviation[1] / mean[1]


def test_one_error_is_predicted_for_all_with_the_deviation_of_the_prior():
    mean, deviation = ErrorModel.fit(np.array([[2, 2, 64, 64]]), np.array([0.5])).predict(
        np.array([[2, 2, 64, 64], [2, 2, 64 * np.e, 64]])
    )
    np.testing.assert_allclose(mean, [0.5, 0.5])
    # Precisions are shape over rate: noise (1 + 1 / 2) / 0.3, coefficients 1 / 3.
    np.testing.assert_allclose(deviation, 0.5 * np.sqrt([0.2, 3.2]))


def test_equal_errors_are_predicted_for_all():
    mean, deviation = ErrorModel.fit(SPACE[:3], np.full(3, 0.5)).predict(SPACE)
    np.testing.assert_allclose(mean, 0.5)
    assert (deviation > 0.05).all()


def test_quadratic_terms_are_used_when_they_help_and_errors_suffice():
    few, _ = split(29)
    many, rest = split(60)
    assert not ErrorModel.fit(SPACE[few], BENT[few]).is_quadratic
    assert not ErrorModel.fit(SPACE[many], POWER_LAW[many]).is_quadratic
    model = ErrorModel.fit(SPACE[many], BENT[many])
    assert model.is_quadratic
    np.testing.assert_allclose(model.predict(SPACE[rest])[0], BENT[rest], rtol=0.02)


def test_quadratic_terms_are_tried_from_two_errors_a_coefficient_up():
    # Two axes vary, by less than e each: one constant, two linear and three quadratic terms.
    shapes = np.array([[4, 2, hidden, width] for hidden in (64, 96, 128) for width in (64, 96, 128, 160)])
    first, second = np.log(shapes[:, 2] / 64), np.log(shapes[:, 3] / 64)
    errors = np.exp(-0.3 * first - 0.2 * second + 0.4 * first * second)
    assert ErrorModel.fit(shapes, errors).is_quadratic
    assert not ErrorModel.fit(shapes[:11], errors[:11]).is_quadratic


def test_an_extrapolated_error_stays_positive():
    trained, _ = split(20)
    mean, deviation = ErrorModel.fit(SPACE[trained], POWER_LAW[trained]).predict(np.array([[96, 64, 8192, 32768]]))
    assert 0 < mean[0] < POWER_LAW.min()
    assert deviation[0] / mean[0] > 0.01


def test_the_scale_of_the_errors_scales_the_predictions():
    trained, rest = split(10)
    small, large = (ErrorModel.fit(SPACE[trained], scale * POWER_LAW[trained]) for scale in (1, 1000))
    for one, other in zip(small.predict(SPACE[rest]), large.predict(SPACE[rest]), strict=True):
        np.testing.assert_allclose(1000 * one, other, rtol=1e-6)


def test_leave_one_out_equals_refitting_without_the_row():
    trained, _ = split(12)
    shapes, errors = SPACE[trained], POWER_LAW[trained]
    predictions = leave_one_out(shapes, errors)
    refitted = ErrorModel.fit(np.delete(shapes, 4, axis=0), np.delete(errors, 4))
    assert predictions[4] == refitted.predict(shapes[4:5])[0][0]
    assert spearmanr(predictions, errors).statistic > 0.95


def test_leave_one_out_of_two_rows_is_the_error_of_the_other():
    np.testing.assert_allclose(leave_one_out(SPACE[:2], np.array([0.4, 0.5])), [0.5, 0.4])


def test_rows_beyond_the_most_that_are_refitted_are_predicted_from_all(monkeypatch):
    monkeypatch.setattr(error_model, "MOST_REFITTED", 6)
    refitted = ErrorModel.fit(SPACE[1:6], POWER_LAW[1:6]).predict(SPACE[:1])[0]
    assert leave_one_out(SPACE[:6], POWER_LAW[:6])[0] == refitted[0]
    fitted = ErrorModel.fit(SPACE[:7], POWER_LAW[:7]).predict(SPACE[:7])[0]
    np.testing.assert_array_equal(leave_one_out(SPACE[:7], POWER_LAW[:7]), fitted)


def test_leave_one_out_of_a_single_row_is_unknown():
    assert np.isnan(leave_one_out(SPACE[:1], POWER_LAW[:1])).tolist() == [True]


@pytest.mark.parametrize("is_quadratic", [False, True])
def test_shortcut_of_leave_one_out_equals_refitting_with_the_same_precisions(is_quadratic):
    trained, _ = split(12)
    logs, targets = np.log(SPACE[trained]), np.log(BENT[trained])
    model = ErrorModel._fitted(logs, targets, is_quadratic=is_quadratic)
    features, scaled = model._features(logs), (targets - model.log_error_mean) / model.log_error_scale
    residuals = []
    for row in range(12):
        others = np.arange(12) != row
        rows, values = features[others], scaled[others]
        centred = rows - rows.mean(axis=0)
        precision = centred.T @ centred + model.regression.lambda_ / model.regression.alpha_ * np.eye(rows.shape[1])
        coefficients = np.linalg.solve(precision, centred.T @ (values - values.mean()))
        residuals.append(scaled[row] - values.mean() - (features[row] - rows.mean(axis=0)) @ coefficients)
    assert model._leave_one_out_error(logs, targets) == pytest.approx(np.mean(np.square(residuals)))


def test_an_error_without_a_logarithm_is_refused():
    with pytest.raises(TrainingError) as caught:
        ErrorModel.fit(SPACE[:3], np.array([0.5, np.nan, 0.0]))
    assert str(caught.value) == (
        "The error model was given an error of nan (2 of 3 trained candidates), allowed are finite numbers above 0, "
        "as it takes their logarithms."
    )


def test_no_errors_are_refused():
    with pytest.raises(TrainingError) as caught:
        ErrorModel.fit(SPACE[:0], POWER_LAW[:0])
    assert str(caught.value) == (
        "The error model was given 0 trained candidates, allowed is 1 or more. Raise budget under params:search."
    )


def test_relative_residual_is_that_of_ridge_regressions_without_each_row_in_turn():
    generator = np.random.default_rng(5)
    shapes = np.array(list(product((1, 2, 4), (2, 4), (32, 64), (64, 128))))
    errors = 0.9 * shapes[:, 0] ** -0.1 * shapes[:, 2] ** -0.05 * np.exp(0.02 * generator.standard_normal(len(shapes)))
    model = ErrorModel.fit(shapes, errors)
    features = model._features(np.log(shapes))
    target = (np.log(errors) - model.log_error_mean) / model.log_error_scale
    penalty = model.regression.lambda_ / model.regression.alpha_
    missed = []
    for row in range(len(errors)):
        others = np.arange(len(errors)) != row
        ridge = Ridge(alpha=penalty).fit(features[others], target[others])
        missed.append(target[row] - ridge.predict(features[[row]])[0])
    expected = float(np.sqrt(np.mean(np.square(missed)))) * model.log_error_scale
    assert model.relative_residual(shapes, errors) == pytest.approx(expected, rel=1e-6)

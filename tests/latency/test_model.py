from itertools import product

import numpy as np
import pytest

from bort_kedro.encoders.costs import count_operations
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.latency.model import LatencyModel, calibrate

LENGTH = 128
SPACE = np.array(list(product([1, 2, 4, 8], [2, 4, 8], [64, 128, 256], [64, 256, 1024])))
PLANTED = {
    "constant_ms": 0.3,
    "ms_per_layer": 0.2,
    "ms_per_billion_multiply_accumulates": 25.0,
    "ms_per_billion_other_operations": 400.0,
}


def planted(rows, constant_ms, ms_per_layer, multiply_accumulates, other):
    times = []
    for row in rows:
        operations = count_operations(BertShape(*row.tolist()), sequence_length=LENGTH)
        products = multiply_accumulates * operations.multiply_accumulates / 1e9
        times.append(constant_ms + ms_per_layer * row[0] + products + other * operations.other / 1e9)
    return np.array(times)


def measured(count):
    rows = SPACE[np.random.default_rng(0).permutation(len(SPACE))[:count]]
    return rows, planted(rows, *PLANTED.values())


@pytest.mark.parametrize("count", [6, 12, 30])
def test_planted_coefficients_are_recovered(count):
    rows, times = measured(count)
    model = LatencyModel.fit(rows, times, sequence_length=LENGTH)
    assert model.coefficients == pytest.approx(PLANTED, rel=1e-6)
    np.testing.assert_allclose(model.predict(SPACE), planted(SPACE, *PLANTED.values()), rtol=1e-6)


def test_shapes_and_their_rows_give_the_same_model():
    rows, times = measured(8)
    shapes = [BertShape(*row) for row in rows.tolist()]
    model = LatencyModel.fit(shapes, times, sequence_length=LENGTH)
    assert model == LatencyModel.fit(rows, times, sequence_length=LENGTH)
    np.testing.assert_array_equal(model.predict(shapes), model.predict(rows))
    np.testing.assert_array_equal(
        calibrate(shapes, times, sequence_length=LENGTH)[0], calibrate(rows, times, sequence_length=LENGTH)[0]
    )


def test_one_shape_gives_a_rate_of_all_operations():
    # (1, 1, 2, 3) and 2 tokens: products 32 + 16 + 24 multiply-accumulates, others 26 + 72 + 20 + 48.
    rows = np.array([[1, 1, 2, 3]])
    model = LatencyModel.fit(rows, np.array([0.62]), sequence_length=2)
    assert model.coefficients == pytest.approx({"ms_per_billion_operations": 0.62 / 310e-9})
    np.testing.assert_allclose(model.predict(np.array([[1, 1, 2, 3], [5, 1, 2, 3]])), [0.62, 3.1])


def test_two_shapes_give_a_constant_and_a_rate():
    rows = np.array([[1, 1, 2, 3], [3, 1, 2, 3]])
    model = LatencyModel.fit(rows, np.array([0.5, 0.9]), sequence_length=2)
    expected = {"constant_ms": 0.3, "ms_per_billion_operations": 0.2 / 310e-9}
    assert model.coefficients == pytest.approx(expected)


@pytest.mark.parametrize(("count", "terms"), [(1, 1), (2, 2), (3, 2), (4, 4), (9, 4)])
def test_fewer_shapes_give_fewer_terms(count, terms):
    rows, times = measured(count)
    assert len(LatencyModel.fit(rows, times, sequence_length=LENGTH).coefficients) == terms


def test_no_coefficient_is_negative_where_plain_least_squares_would_have_one():
    rows, _ = measured(20)
    times = planted(rows, 0.0, 0.0, 25.0, 0.0) ** 1.3
    coefficients = LatencyModel.fit(rows, times, sequence_length=LENGTH).coefficients
    assert min(coefficients.values()) == 0.0
    assert max(coefficients.values()) > 0.0


def test_residuals_are_relative():
    # One rate for two shapes of 310 and 3100 operations: the mean of the two rates weighted by relative error.
    rows = np.array([[1, 1, 2, 3], [10, 1, 2, 3], [10, 1, 2, 3]])
    times = np.array([1.0, 8.0, 8.0])
    model = LatencyModel.fit(rows, times, sequence_length=2)
    # 1 = c + r and 8 = c + 10 r have an exact answer with both above 0.
    np.testing.assert_allclose(model.predict(rows), times)
    # 1 = c + r and 12 = c + 10 r ask for c < 0; with c = 0, r minimises (r - 1)^2 + 2 (10 r / 12 - 1)^2.
    model = LatencyModel.fit(rows, np.array([1.0, 12.0, 12.0]), sequence_length=2)
    rate = (1 + 2 * 10 / 12) / (1 + 2 * (10 / 12) ** 2)
    np.testing.assert_allclose(model.predict(rows), [rate, 10 * rate, 10 * rate])


def test_left_out_predictions_of_a_planted_model_are_exact():
    rows, times = measured(15)
    left_out, calibration = calibrate(rows, times, sequence_length=LENGTH)
    np.testing.assert_allclose(left_out, times, rtol=1e-6)
    assert calibration.rank_correlation == pytest.approx(1.0)
    assert calibration.largest_relative_residual < 1e-6
    assert calibration.num_measured == 15
    assert calibration.coefficients == pytest.approx(PLANTED, rel=1e-6)


def test_calibration_is_of_predictions_that_left_the_shape_out():
    rows, times = measured(12)
    times = times * np.exp(0.1 * np.random.default_rng(1).standard_normal(12))
    left_out, calibration = calibrate(rows, times, sequence_length=LENGTH)
    refitted = LatencyModel.fit(np.delete(rows, 3, axis=0), np.delete(times, 3), sequence_length=LENGTH)
    assert left_out[3] == refitted.predict(rows[3:4])[0]
    residuals = np.abs(left_out / times - 1)
    assert calibration.median_relative_residual == pytest.approx(np.median(residuals))
    assert calibration.largest_relative_residual == pytest.approx(residuals.max())
    ranks = [np.argsort(np.argsort(values)) for values in (left_out, times)]
    assert calibration.rank_correlation == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_two_measured_shapes_are_too_few_to_judge():
    rows, times = measured(2)
    left_out, calibration = calibrate(rows, times, sequence_length=LENGTH)
    assert np.isfinite(left_out).all()
    assert calibration.rank_correlation is None
    assert calibration.median_relative_residual is calibration.largest_relative_residual is None
    assert calibration.num_measured == 2


def test_one_measured_shape_has_no_left_out_prediction():
    rows, times = measured(1)
    left_out, calibration = calibrate(rows, times, sequence_length=LENGTH)
    assert np.isnan(left_out).all()
    assert list(calibration.coefficients) == ["ms_per_billion_operations"]


def test_equal_latencies_have_no_ranks():
    rows, _ = measured(5)
    _, calibration = calibrate(rows, np.full(5, 2.0), sequence_length=LENGTH)
    assert calibration.rank_correlation is None
    assert calibration.median_relative_residual == pytest.approx(0.0, abs=1e-9)

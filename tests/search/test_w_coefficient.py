import time

import numpy as np
import pytest

from bort_kedro.search.w_coefficient import (
    MaximumPoint,
    front_layers,
    pareto_front,
    size_factor,
    w_coefficient,
    w_standard_error,
)

MAXIMUM = MaximumPoint(parameters=100.0, cost=1000.0, error=0.2)


def w(parameters, cost, error):
    return w_coefficient(
        MAXIMUM, parameters=np.array(parameters, float), cost=np.array(cost, float), error=np.array(error, float)
    )


def brute_force_front(points):
    """Row by row, from the definition; comparisons with NaN are False."""
    return [
        not np.isnan(point).any() and not any((other <= point).all() and (other < point).any() for other in points)
        for point in points
    ]


def test_w_equals_hand_values():
    np.testing.assert_allclose(w([50, 20], [100, 500], [0.4, 0.25]), [0.5 * 0.9 * 0.5, 0.8 * 0.5 * 0.8])


def test_w_of_the_maximum_point_is_zero_and_of_a_costless_equal_is_one():
    np.testing.assert_allclose(w([100, 0], [1000, 0], [0.2, 0.2]), [0.0, 1.0])


def test_w_of_an_unknown_error_is_unknown():
    assert np.isnan(w([50, 20], [100, 500], [np.nan, 0.25])).tolist() == [True, False]


def test_size_factor_is_w_at_the_error_of_the_maximum_point():
    parameters, cost = np.array([50.0, 20.0, 100.0]), np.array([100.0, 500.0, 0.0])
    factors = size_factor(MAXIMUM, parameters=parameters, cost=cost)
    np.testing.assert_allclose(factors, [0.45, 0.4, 0.0])
    np.testing.assert_allclose(factors, w(parameters, cost, [0.2] * 3))


def test_error_scale_changes_no_ranking():
    generator = np.random.default_rng(0)
    costs, error = generator.random(20) * 90, generator.random(20) + 0.2
    assert list(np.argsort(w(costs, costs, error))) == list(np.argsort(w(costs, costs, 3 * error)))


def test_standard_error_of_w_matches_a_finite_difference():
    step = 1e-6
    slope = (w([50], [100], [0.4 + step])[0] - w([50], [100], [0.4])[0]) / step
    assert w_standard_error(w([50], [100], [0.4])[0], 0.4, 0.01) == pytest.approx(-slope * 0.01, rel=1e-4)


@pytest.mark.parametrize("num_objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(10))
def test_pareto_front_equals_brute_force_with_ties_and_gaps(num_objectives, seed):
    generator = np.random.default_rng(seed)
    points = generator.integers(0, 6, size=(60, num_objectives)).astype(float)
    points[generator.random(points.shape) < 0.05] = np.nan
    assert pareto_front(points).tolist() == brute_force_front(points)


def test_pareto_front_does_not_depend_on_the_order_of_the_rows():
    points = np.random.default_rng(1).integers(0, 6, size=(60, 3)).astype(float)
    assert pareto_front(points[::-1])[::-1].tolist() == pareto_front(points).tolist()


def test_equal_points_share_the_front_and_unknown_ones_are_off_it():
    points = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, np.nan], [2.0, 3.0]])
    assert pareto_front(points).tolist() == [True, True, False, False]


def test_front_of_no_row_and_of_unknown_rows_only_is_empty():
    assert pareto_front(np.empty((0, 3))).tolist() == []
    assert pareto_front(np.full((2, 3), np.nan)).tolist() == [False, False]


def test_layers_are_the_fronts_of_what_earlier_fronts_leave():
    # (1, 4), (2, 2) and (4, 1) are beaten by none; without them (2, 4) and (3, 3); then (4, 4), which both beat.
    points = np.array([[4, 4], [1, 4], [3, 3], [2, 2], [2, 4], [4, 1]], float)
    assert front_layers(points).tolist() == [2, 0, 1, 0, 1, 0]


def test_layers_of_a_chain_count_it_and_equal_rows_share_one():
    assert front_layers(np.array([[3.0, 3.0], [1.0, 1.0], [2.0, 2.0], [1.0, 1.0]])).tolist() == [2, 0, 1, 0]
    assert front_layers(np.empty((0, 2))).tolist() == []


def test_what_is_not_a_number_lies_behind_all_layers():
    unknown = [np.nan, 0.0]
    assert front_layers(np.array([unknown, [3.0, 3.0], [1.0, 1.0], [0.0, np.nan]])).tolist() == [2, 1, 0, 2]
    assert front_layers(np.array([unknown])).tolist() == [0]


def test_every_row_of_a_layer_is_beaten_by_a_row_of_the_layer_before():
    points = np.random.default_rng(2).integers(0, 8, size=(80, 3)).astype(float)
    layers = front_layers(points)
    assert (layers == 0).tolist() == brute_force_front(points)
    for point, layer in zip(points, layers, strict=True):
        before = points[layers == layer - 1]
        assert layer == 0 or ((before <= point).all(axis=1) & (before < point).any(axis=1)).any()


def test_front_of_thirty_thousand_rows_takes_less_than_a_second():
    points = np.random.default_rng(3).random((30_000, 3))
    started = time.thread_time()
    front = pareto_front(points)
    assert time.thread_time() - started < 1.0
    assert 1 <= front.sum() < 1000

import numpy as np
import pytest

from bort_kedro.core.scoring import pareto_front, w_coefficient, w_standard_error


def w(parameters, operations, error):
    return w_coefficient(
        parameters=np.array(parameters, float),
        operations=np.array(operations, float),
        error=np.array(error, float),
        maximum_parameters=100.0,
        maximum_operations=1000.0,
        maximum_error=0.2,
    )


def test_w_equals_hand_values():
    np.testing.assert_allclose(w([50, 20], [100, 500], [0.4, 0.25]), [0.5 * 0.9 * 0.5, 0.8 * 0.5 * 0.8])


def test_w_of_the_maximum_point_is_zero_and_of_a_costless_equal_is_one():
    np.testing.assert_allclose(w([100, 0], [1000, 0], [0.2, 0.2]), [0.0, 1.0])


def test_error_scale_changes_no_ranking():
    generator = np.random.default_rng(0)
    costs, error = generator.random(20) * 90, generator.random(20) + 0.2
    assert list(np.argsort(w(costs, costs, error))) == list(np.argsort(w(costs, costs, 3 * error)))


def test_standard_error_of_w_matches_a_finite_difference():
    step = 1e-6
    slope = (w([50], [100], [0.4 + step])[0] - w([50], [100], [0.4])[0]) / step
    assert w_standard_error(w([50], [100], [0.4])[0], 0.4, 0.01) == pytest.approx(-slope * 0.01, rel=1e-4)


def test_pareto_front_equals_brute_force():
    generator = np.random.default_rng(1)
    points = generator.integers(0, 6, size=(60, 3)).astype(float)
    expected = [not any((other <= point).all() and (other < point).any() for other in points) for point in points]
    assert pareto_front(points).tolist() == expected


def test_equal_points_share_the_front_and_unknown_ones_are_off_it():
    points = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, np.nan], [2.0, 3.0]])
    assert pareto_front(points).tolist() == [True, True, False, False]

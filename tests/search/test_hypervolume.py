import time
from itertools import combinations

import numpy as np
import pytest

from bort_kedro.search.hypervolume import expected_gain, hypervolume

UNIT = np.ones(3)


def by_inclusion_and_exclusion(points, reference):
    """Signed volumes of the intersections of all subsets of the boxes."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for subset in combinations(points, size):
            total -= (-1) ** size * np.prod(np.clip(reference - np.max(subset, axis=0), 0, None))
    return total


def one_gain(x, y, mean, deviation, points, reference):
    return expected_gain(np.array([[x, y]]), np.array([mean]), np.array([deviation]), points, reference)[0]


def test_hypervolume_of_one_point_is_its_box():
    assert hypervolume(np.array([[0.5, 0.25, 0.0]]), UNIT) == pytest.approx(0.5 * 0.75 * 1.0)


def test_hypervolume_of_two_points_is_their_boxes_less_the_overlap():
    # Boxes of 0.8 * 0.5 * 0.5 and 0.5 * 0.5 * 0.8, which share 0.5 * 0.5 * 0.5.
    assert hypervolume(np.array([[0.2, 0.5, 0.5], [0.5, 0.5, 0.2]]), UNIT) == pytest.approx(0.2 + 0.2 - 0.125)


def test_hypervolume_of_no_point_is_zero():
    assert hypervolume(np.empty((0, 3)), UNIT) == 0.0


def test_points_not_below_the_reference_everywhere_and_rows_with_a_gap_add_nothing():
    points = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, np.nan, 0.0], [0.5, 0.5, 0.5]])
    assert hypervolume(points, UNIT) == pytest.approx(0.125)
    assert hypervolume(points[:3], UNIT) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_hypervolume_equals_inclusion_and_exclusion(seed):
    generator = np.random.default_rng(seed)
    # Even seeds on a coarse lattice, where coordinates tie; negative ones too, and some beyond the reference.
    points = generator.integers(-3, 7, size=(9, 3)) / 5 if seed % 2 == 0 else generator.uniform(-0.5, 1.2, (9, 3))
    reference = np.array([1.0, 0.9, 1.1])
    assert hypervolume(points, reference) == pytest.approx(by_inclusion_and_exclusion(points, reference), abs=1e-12)


def test_hypervolume_scales_with_each_objective_and_ignores_the_order_of_points():
    points = np.random.default_rng(3).random((12, 3))
    scale = np.array([1e6, 5.0, 0.01])
    expected = scale.prod() * hypervolume(points, UNIT)
    assert hypervolume(points[::-1] * scale, scale) == pytest.approx(expected, rel=1e-12)


def test_gain_over_nothing_is_the_area_times_the_expected_improvement_on_the_reference():
    # Half a standard normal above its mean of 0 is 1 / sqrt(2 pi).
    points, area = np.empty((0, 3)), 0.5 * 0.75
    assert one_gain(0.5, 0.25, 1.0, 0.3, points, UNIT) == pytest.approx(area * 0.3 / np.sqrt(2 * np.pi))
    assert one_gain(0.5, 0.25, 0.6, 0.0, points, UNIT) == pytest.approx(area * 0.4)


@pytest.mark.parametrize("seed", range(20))
def test_gain_of_a_known_candidate_is_the_difference_of_two_hypervolumes(seed):
    generator = np.random.default_rng(seed)
    points, candidates = generator.uniform(-0.2, 1.3, (15, 3)), generator.uniform(-0.4, 1.3, (40, 3))
    if seed % 2 == 0:
        points, candidates = np.round(points, 1), np.round(candidates, 1)
    gain = expected_gain(candidates[:, :2], candidates[:, 2], np.zeros(40), points, UNIT)
    before = hypervolume(points, UNIT)
    expected = [hypervolume(np.vstack([points, candidate]), UNIT) - before for candidate in candidates]
    np.testing.assert_allclose(gain, expected, atol=1e-12)


def test_gain_equals_that_of_many_random_draws():
    generator = np.random.default_rng(5)
    points = generator.random((6, 3))
    quantiles = (np.arange(4000) + 0.5) / 4000
    from scipy.stats import norm

    for x, y, mean, deviation in [(0.1, 0.2, 0.5, 0.2), (0.0, 0.0, 0.9, 0.05), (0.7, 0.4, 0.3, 1.0)]:
        draws = norm(mean, deviation).ppf(quantiles)
        volumes = expected_gain(np.tile([[x, y]], (4000, 1)), draws, np.zeros(4000), points, UNIT)
        direct = hypervolume(np.vstack([points, [x, y, draws[123]]]), UNIT) - hypervolume(points, UNIT)
        assert volumes[123] == pytest.approx(direct, abs=1e-12)
        assert one_gain(x, y, mean, deviation, points, UNIT) == pytest.approx(volumes.mean(), rel=2e-3)


def test_candidates_beyond_the_reference_gain_nothing_however_uncertain():
    xy = np.array([[1.0, 0.0], [0.0, 1.5], [1.0, 1.0]])
    points = np.array([[0.5, 0.5, 0.5]])
    np.testing.assert_array_equal(expected_gain(xy, np.zeros(3), np.ones(3), points, UNIT), np.zeros(3))
    np.testing.assert_array_equal(expected_gain(xy, np.zeros(3), np.ones(3), points[:0], UNIT), np.zeros(3))


def test_gain_of_no_candidates_is_empty():
    empty = np.empty(0)
    assert expected_gain(np.empty((0, 2)), empty, empty, np.array([[0.5, 0.5, 0.5]]), UNIT).shape == (0,)


def test_a_dominated_candidate_gains_only_by_its_uncertainty():
    points = np.array([[0.2, 0.2, 0.2]])
    assert one_gain(0.5, 0.5, 0.4, 0.0, points, UNIT) == 0.0
    assert one_gain(0.5, 0.5, 0.4, 0.1, points, UNIT) > 0.0
    assert one_gain(0.5, 0.5, 0.4, 1e-4, points, UNIT) >= 0.0


def test_thirty_thousand_candidates_take_less_than_a_second():
    generator = np.random.default_rng(0)
    # Points on a plane: none beats another, the most levels there can be.
    x, y = generator.random((2, 60))
    points = np.column_stack([x, y, 2 - x - y])
    candidates = generator.random((30_000, 2))
    begin = time.thread_time()
    gain = expected_gain(candidates, generator.random(30_000), np.full(30_000, 0.3), points, np.full(3, 2.5))
    assert time.thread_time() - begin < 1.0
    assert (gain >= 0).all()

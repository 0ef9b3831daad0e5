import math

import numpy as np
import pytest

from bort_kedro.statistics import clustered_standard_error


def test_clustered_standard_error_equals_hand_value():
    # Mean 1/2; residual totals by cluster: +1, -1/2 and -1/2. sqrt(3/2 * (1 + 1/4 + 1/4)) / 4.
    error = clustered_standard_error(np.array([1, 1, 0, 0]), np.array([0, 0, 1, 2]))
    assert error == pytest.approx(math.sqrt(1.5 * 1.5) / 4)


def test_clustered_standard_error_of_single_values_equals_the_usual_formula():
    values = np.random.default_rng(0).normal(size=50)
    usual = values.std(ddof=1) / math.sqrt(50)
    assert clustered_standard_error(values, np.arange(50)) == pytest.approx(usual)


def test_copying_every_value_within_its_cluster_leaves_the_error_as_it_was():
    values = np.random.default_rng(1).random(30)
    once = clustered_standard_error(values, np.arange(30))
    thrice = clustered_standard_error(np.repeat(values, 3), np.repeat(np.arange(30), 3))
    assert thrice == pytest.approx(once)


def test_names_and_order_of_the_clusters_do_not_matter():
    values, clusters = np.array([True, False, True, True, False]), np.array([0, 0, 1, 2, 2])
    renamed = np.array([70, 70, -5, 12, 12])
    order = [4, 2, 0, 3, 1]
    assert clustered_standard_error(values[order], renamed[order]) == pytest.approx(
        clustered_standard_error(values, clusters)
    )


def test_one_cluster_alone_has_no_standard_error():
    assert math.isnan(clustered_standard_error(np.array([1.0, 2.0]), np.array([3, 3])))

"""The inputs of the published scheme against one another, and the time of its trainings against what is promised."""

import math

import pytest

from bort_kedro.search.published import epsilon_of, num_intervals, running_time, steps_of


@pytest.mark.parametrize(
    ("epsilon", "interval", "steps"),
    [(0.01, 1, 100), (0.01, 4, 50), (0.05, 16, 5), (0.3, 1, 4), (1.0, 1, 1), (1.0, 9, 1)],
)
def test_steps_are_one_over_epsilon_and_the_root_of_the_interval(epsilon, interval, steps):
    assert steps_of(epsilon, interval) == steps
    assert epsilon_of(steps, interval) <= epsilon + 1e-12


@pytest.mark.parametrize("num_steps", [1, 3, 7, 100, 600, 12_345])
@pytest.mark.parametrize("interval", [1, 2, 7, 10, 300])
def test_steps_and_epsilon_give_one_another(num_steps, interval):
    assert steps_of(epsilon_of(num_steps, interval), interval) == num_steps


def test_every_interval_has_one_training():
    assert [num_intervals(300, size) for size in (1, 7, 10, 299, 300, 1000)] == [300, 43, 30, 2, 1, 1]


@pytest.mark.parametrize(
    ("interval", "num_sets", "batch", "num_steps"), [(1, 1, 512, 100), (10, 3, 64, 7), (300, 2, 1, 1)]
)
def test_the_promised_time_is_that_of_the_trainings(interval, num_sets, batch, num_steps):
    # 300 candidates, weights of 1000; each of the trainings takes steps times batch times weights.
    promised = running_time(
        num_candidates=300,
        num_weights=1000,
        num_sets=num_sets,
        batch=batch,
        epsilon=epsilon_of(num_steps, interval),
        interval=interval,
    )
    assert promised == pytest.approx(300 + 1000 * (1 + num_intervals(300, interval) * num_sets * num_steps * batch))


def test_the_promised_time_grows_as_the_abstract_has_it():
    inputs = {"num_candidates": 300, "num_weights": 10.0, "num_sets": 2, "batch": 8, "epsilon": 0.1, "interval": 4}

    def trainings(**changes):
        return running_time(**inputs | changes) - (inputs | changes)["num_candidates"] - 10

    once = trainings()
    assert once == pytest.approx(10 * 2 * 8 * 300 / (0.1 * 8))
    for name in ("num_sets", "batch", "num_candidates"):
        assert trainings(**{name: 2 * inputs[name]}) == pytest.approx(2 * once)
    assert trainings(epsilon=0.05) == pytest.approx(2 * once)
    assert trainings(interval=8) == pytest.approx(once / math.sqrt(8))

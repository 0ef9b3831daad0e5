import math

import pytest

from bort_kedro.training.schedules import learning_rate_factor


def factors(schedule, num_steps, warmup_share):
    return [
        learning_rate_factor(step, schedule=schedule, num_steps=num_steps, warmup_share=warmup_share)
        for step in range(num_steps)
    ]


@pytest.mark.parametrize(
    ("num_steps", "warmup_share", "expected"),
    [
        (4, 0.0, [1, 3 / 4, 2 / 4, 1 / 4]),
        (5, 0.2, [1 / 2, 1, 3 / 4, 2 / 4, 1 / 4]),
        (8, 0.5, [1 / 5, 2 / 5, 3 / 5, 4 / 5, 1, 3 / 4, 2 / 4, 1 / 4]),
        (3, 0.1, [1, 2 / 3, 1 / 3]),
        (1, 0.0, [1]),
        (2, 0.99, [1 / 2, 1]),
    ],
)
def test_linear_factors_equal_the_hand_table(num_steps, warmup_share, expected):
    assert factors("linear", num_steps, warmup_share) == expected


@pytest.mark.parametrize(("num_steps", "warmup_share"), [(3000, 0.1), (1000, 0.01), (77, 0.06), (1, 0.0)])
def test_the_linear_schedule_is_the_published_one_bit_for_bit(num_steps, warmup_share):
    warmup = int(warmup_share * num_steps)
    assert factors("linear", num_steps, warmup_share) == [
        (step + 1) / (warmup + 1) if step < warmup else (num_steps - step) / (num_steps - warmup)
        for step in range(num_steps)
    ]


def test_cosine_factors_fall_in_half_a_wave():
    fall = [(1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert factors("cosine", 5, 0.2) == pytest.approx([1 / 2, *fall])


@pytest.mark.parametrize(
    ("num_steps", "warmup_share", "expected"),
    [
        (10, 0.2, [1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1, 1, 1 / 2]),
        (15, 0.0, [1] * 13 + [2 / 3, 1 / 3]),
        (5, 0.8, [1 / 5, 2 / 5, 3 / 5, 4 / 5, 1]),
        (1, 0.0, [1]),
    ],
)
def test_stable_factors_fall_over_the_last_fifth(num_steps, warmup_share, expected):
    assert factors("warmup_stable_decay", num_steps, warmup_share) == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "warmup_stable_decay"])
def test_no_step_is_wasted_on_a_factor_of_zero(schedule):
    found = factors(schedule, 100, 0.06)
    assert min(found) > 0
    assert max(found) == 1.0
    assert found.index(1.0) == 6
    assert found[5] == 6 / 7


@pytest.mark.parametrize("schedule", ["linear", "cosine", "warmup_stable_decay"])
def test_the_factor_after_the_last_step_is_zero(schedule):
    assert learning_rate_factor(10, schedule=schedule, num_steps=10, warmup_share=0.1) == pytest.approx(0.0)

import pytest

from bort_kedro.training.schedules import linear_warmup_then_decay


@pytest.mark.parametrize(
    ("num_steps", "warmup_share", "factors"),
    [
        (4, 0.0, [1, 3 / 4, 2 / 4, 1 / 4]),
        (5, 0.2, [1 / 2, 1, 3 / 4, 2 / 4, 1 / 4]),
        (8, 0.5, [1 / 5, 2 / 5, 3 / 5, 4 / 5, 1, 3 / 4, 2 / 4, 1 / 4]),
        (3, 0.1, [1, 2 / 3, 1 / 3]),
        (1, 0.0, [1]),
        (2, 0.99, [1 / 2, 1]),
    ],
)
def test_factors_equal_the_hand_table(num_steps, warmup_share, factors):
    computed = [
        linear_warmup_then_decay(step, num_steps=num_steps, warmup_share=warmup_share) for step in range(num_steps)
    ]
    assert computed == pytest.approx(factors)


def test_no_step_is_wasted_on_a_factor_of_zero():
    factors = [linear_warmup_then_decay(step, num_steps=100, warmup_share=0.06) for step in range(100)]
    assert min(factors) == pytest.approx(1 / 94)
    assert max(factors) == 1.0
    assert factors.index(1.0) == 6


def test_factor_after_the_last_step_is_zero():
    assert linear_warmup_then_decay(10, num_steps=10, warmup_share=0.1) == 0.0
    assert linear_warmup_then_decay(25, num_steps=10, warmup_share=0.1) == 0.0

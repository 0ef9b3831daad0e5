import pytest

from bort_kedro.core.strategies import build_strategy
from bort_kedro.errors import ConfigurationError


@pytest.mark.parametrize(
    ("num_candidates", "interval", "expected"),
    [
        (9, 3, [1, 4, 7]),
        (10, 3, [1, 4, 7, 9]),
        (10, 4, [1, 5, 8]),
        (3, 5, [1]),
        (4, 1, [0, 1, 2, 3]),
        (1, 9, [0]),
    ],
)
def test_fptas_trains_the_middle_of_each_interval(num_candidates, interval, expected):
    assert build_strategy("fptas", num_candidates=num_candidates, interval=interval).ask({}) == expected


def test_fptas_does_not_ask_again_for_what_is_known():
    strategy = build_strategy("fptas", num_candidates=9, interval=3)
    assert strategy.ask({4: 0.5}) == [1, 7]
    assert strategy.ask({1: 0.4, 4: 0.5, 7: 0.6}) == []


def test_exhaustive_trains_everything_whatever_the_interval():
    assert build_strategy("exhaustive", num_candidates=4, interval=2).ask({}) == [0, 1, 2, 3]


def test_unknown_strategy_lists_the_known_ones():
    with pytest.raises(ConfigurationError) as caught:
        build_strategy("genetic", num_candidates=4, interval=2)
    assert str(caught.value) == (
        "Unknown search strategy `genetic`. Allowed: fptas, exhaustive. Change params:search.strategy."
    )

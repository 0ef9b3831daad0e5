"""What a training promises: gains by hand, as means over draws, and what they lead a search to."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from bort_kedro.search.answers import ANSWERS
from bort_kedro.search.loop import Limits, run_search
from bort_kedro.search.replay import Recorded
from bort_kedro.search.strategies import Outcome, SearchProblem, acquisition, build_strategy
from bort_kedro.search.strategies.acquisition import (
    ACQUISITIONS,
    FOUND,
    Belief,
    error_gain,
    expected_shortfall,
    front_gain,
    knee_gain,
    probability_below,
    w_gain,
)
from bort_kedro.search.w_coefficient import MaximumPoint

SURE = 1e-9


def belief(known, errors, mean, *, deviation=SURE, meets_cap=None, log_cost=None):
    """Of candidates of these costs, parameters being the same numbers, T of 10 000 and 10 000."""
    count = len(mean)
    sizes = np.exp(np.arange(count, dtype=float) if log_cost is None else np.array(log_cost, float))
    problem = SearchProblem(np.ones((count, 4), int), sizes, sizes, MaximumPoint(1e4, 1e4, 0.1), budget=1)
    meets = np.ones(len(known), bool) if meets_cap is None else np.array(meets_cap)
    return Belief(
        problem, np.array(known), np.array(errors), meets, np.array(mean), np.full(count, deviation), max(errors)
    )


def test_every_answer_has_its_gains():
    assert ACQUISITIONS.keys() == ANSWERS.keys() == FOUND.keys()


def test_what_was_found_has_the_unit_of_its_gain():
    # Logarithms of the costs 0, 1 and 2 twice, the worst 0.9; the box ends at 2.2, 2.2 and 0.94.
    believed = belief([0, 1], [0.9, 0.5], [0.9, 0.5, 0.5])
    found = {name: of(believed) for name, of in FOUND.items()}
    assert found == {
        # (1 - e / 10 000) ** 2 * 0.1 / 0.5, and (1 - 1 / 10 000) ** 2 * 0.1 / 0.9 is less.
        "largest_w": pytest.approx((1 - np.e / 1e4) ** 2 * 0.2),
        # 1.2 ** 2 * 0.44 of the second, and of the first what that does not have: (2.2 ** 2 - 1.2 ** 2) * 0.04.
        "pareto_front": pytest.approx(1.2**2 * 0.44 + (2.2**2 - 1.2**2) * 0.04),
        "smallest_error": 0.5,
        "knee": 1.0,
    }
    # Of one that no answer is among, there is nothing.
    nothing = belief([0, 1], [0.9, 0.5], [0.9, 0.5, 0.5], meets_cap=[False, False])
    assert {of(nothing) for of in FOUND.values()} == {0.0}
    assert FOUND["knee"](belief([0], [0.9], [0.9, 0.5, 0.5])) == 0.0


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_gain_that_is_expected_is_the_largest_of_the_untrained_as_a_share_of_what_was_found(answer):
    problem, recorded = made_up(0, budget=12, answer=answer)
    strategy = build_strategy("surrogate", problem)
    assert strategy.expected_gain({}) is None
    outcomes = dict.fromkeys([])
    gains = []
    while trials := strategy.ask(outcomes):
        gains.append(strategy.expected_gain(outcomes))
        outcomes |= {trial.index: outcome for trial, outcome in recorded(trials)}
    # Six representatives, and three rounds of two.
    assert gains[0] is None
    assert len(gains) == 4
    assert all(gain > 0 for gain in gains[1:])
    pair = strategy._belief(outcomes)
    untrained = [index for index in range(len(problem)) if index not in outcomes]
    assert strategy.expected_gain(outcomes) == pytest.approx(
        ACQUISITIONS[answer][0](pair[0])[untrained].max() / FOUND[answer](pair[0])
    )


def test_nothing_found_promises_more_than_any_limit():
    problem, _ = made_up(0, budget=4)
    strategy = build_strategy("surrogate", replace(problem, max_error=0.5, first=(0, 1, 2, 3)))
    assert strategy.expected_gain({index: Outcome(0.9, capped_error=0.9) for index in range(4)}) == np.inf


@pytest.mark.parametrize("limit", [0.002, 0.02])
def test_a_lower_limit_goes_on_where_a_higher_one_ended_as_if_it_had_never_been(limit):
    problem, recorded = made_up(0, budget=24)
    whole, short = (
        run_search(build_strategy("surrogate", problem), recorded, limits=Limits(min_expected_gain=least))
        for least in (None, limit)
    )
    assert len(short.rounds) < len(whole.rounds)
    assert short.rounds == whole.rounds[: len(short.rounds)]
    again = run_search(build_strategy("surrogate", problem), recorded, known=[t for r in short.rounds for t in r])
    assert again.outcomes == whole.outcomes


def test_the_reference_lies_a_tenth_of_the_range_beyond_the_worst():
    logs = np.array([[1.0, 2.0], [3.0, 7.0], [2.0, 12.0]])
    believed = belief([0, 1, 2], [0.5, 0.9, 0.7], [0.5] * 3)
    problem = replace(believed.problem, parameters=np.exp(logs[:, 0]), cost=np.exp(logs[:, 1]))
    np.testing.assert_allclose(replace(believed, problem=problem).reference, [3.0 + 0.2, 12.0 + 1.0, 0.9 + 0.04])


@pytest.mark.parametrize(("limit", "median", "deviation"), [(0.5, 0.5, 0.1), (0.4, 0.5, 0.2), (0.5, 0.3, 0.05)])
def test_expected_shortfall_and_probability_equal_means_over_log_normal_draws(limit, median, deviation):
    draws = median * np.exp(deviation * np.random.default_rng(0).standard_normal(1_000_000))
    given = np.array([median]), np.array([deviation])
    shortfall = expected_shortfall(np.array([limit]), *given)[0]
    assert shortfall == pytest.approx(np.maximum(limit - draws, 0).mean(), rel=0.02)
    assert probability_below(limit, *given)[0] == pytest.approx((draws <= limit).mean(), abs=2e-3)


def test_the_gain_of_the_error_is_what_it_falls_by_below_the_best_that_meets_the_cap():
    mean = [0.7, 0.5, 0.45, 0.3]
    np.testing.assert_allclose(error_gain(belief([0, 1], [0.7, 0.5], mean)), [0, 0, 0.05, 0.2], atol=1e-8)
    # The better one of the two is no answer.
    capped = belief([0, 1], [0.7, 0.5], mean, meets_cap=[True, False])
    np.testing.assert_allclose(error_gain(capped), [0, 0.2, 0.25, 0.4], atol=1e-8)
    # Where none meets it, anything below the worst is better than nothing.
    none = belief([0, 1], [0.7, 0.5], mean, meets_cap=[False, False])
    np.testing.assert_allclose(error_gain(none), 0.72 - np.array(mean), atol=1e-8)


def test_the_gain_of_the_knee_is_how_much_deeper_it_lies_between_ends_that_stay():
    # The line goes from (0, 0.9) to (4, 0.5), on axes from 0 to 1 the known third lies 1 - 0.5 - 0.25 = 0.25 below.
    # The second, at 0.25 along, is as deep with 0.5 of the height, that is 0.7, and deeper by 0.25 with 0.6. The
    # fourth, at 0.75, can at most be 0.25 below: no gain, however low it is.
    known, errors = [0, 2, 4], [0.9, 0.6, 0.5]
    gain = knee_gain(belief(known, errors, [0.9, 0.6, 0.6, 0.3, 0.5]))
    np.testing.assert_allclose(gain, [0, 0.25, 0, 0, 0], atol=1e-8)
    # What promises nothing for sure may, in doubt; at the ends nothing does.
    doubtful = knee_gain(belief(known, errors, [0.9, 0.75, 0.65, 0.55, 0.5], deviation=0.1))
    assert doubtful[1] > doubtful[2] > 0
    assert doubtful[[3, 4]] == pytest.approx(0.0, abs=1e-12)


def test_a_front_without_two_ends_is_widened_first():
    believed = belief([2], [0.6], [0.9, 0.8, 0.6, 0.5], deviation=0.1)
    np.testing.assert_array_equal(knee_gain(believed), front_gain(believed))


def test_gains_begin_from_those_that_meet_the_cap():
    mean = [0.7, 0.5, 0.45, 0.3]
    whole, capped = (belief([0, 1], [0.7, 0.5], mean, meets_cap=[True, meets]) for meets in (True, False))
    alone = belief([0], [0.7], mean)
    np.testing.assert_allclose(w_gain(capped), w_gain(alone))
    assert w_gain(whole)[2] < w_gain(capped)[2]
    assert front_gain(whole)[2] < front_gain(capped)[2]


GRID = np.array(list(product([1, 2, 4, 6], [1, 2, 4, 8], [64, 128, 192], [64, 128, 256, 512])))


def made_up(seed, *, bend=0.05, **settings):
    """A space whose errors fall with size but for too many heads and for luck, half of it under a cap on parameters."""
    generator = np.random.default_rng(seed)
    # Some of the grid, so that representatives do not all have as many heads.
    shapes = GRID[np.sort(generator.choice(len(GRID), 150, replace=False))]
    depth, heads, hidden, intermediate = shapes.T.astype(float)
    parameters = 1000 * hidden + depth * (4 * hidden**2 + 2 * hidden * intermediate)
    order = np.argsort(parameters, kind="stable")[:75]
    errors = 1.5 * np.exp(np.log(shapes) @ [-0.08, -0.02, -0.12, -0.03] + bend * np.log(heads / 2) ** 2)
    errors *= np.exp(0.01 * generator.standard_normal(len(shapes)))
    maximum = MaximumPoint(4 * parameters.max(), 4 * parameters.max(), 0.9 * errors.min())
    problem = SearchProblem(
        shapes[order], parameters[order], 10 * parameters[order], maximum, trials_per_round=2, seed=seed, **settings
    )
    return problem, Recorded(errors[order], np.zeros(len(order)), {})


def shortfall_of(name, *, answer, seeds=40, budget=16):
    """Percent by which the smallest error found is above the smallest there is, on average."""
    lost = []
    for seed in range(seeds):
        problem, recorded = made_up(seed, answer=answer, budget=budget)
        found = run_search(build_strategy(name, problem), recorded).finished
        lost.append(100 * (recorded.errors[found].min() / recorded.errors.min() - 1))
    return float(np.mean(lost))


@pytest.mark.slow
def test_who_asks_for_the_smallest_error_gets_nearer_to_it_than_who_asks_for_the_front():
    by_error, by_front = (shortfall_of("surrogate", answer=answer) for answer in ("smallest_error", "pareto_front"))
    assert by_error < 0.5
    assert by_error < 0.5 * by_front
    assert by_error < 0.5 * min(shortfall_of(name, answer="smallest_error") for name in ("random", "fptas"))


def test_under_a_cap_on_the_error_the_best_that_meets_it_is_looked_for():
    lost = {True: [], False: []}
    for seed, is_told in product(range(10), lost):
        problem, recorded = made_up(seed, bend=0.0, budget=12)
        cap = float(np.quantile(recorded.errors, 0.3))
        strategy = build_strategy("surrogate", replace(problem, max_error=cap if is_told else None))
        found = [index for index in run_search(strategy, recorded).finished if recorded.errors[index] <= cap]
        w = problem.w(np.arange(len(problem)), recorded.errors)
        lost[is_told].append(1 - w[found].max(initial=0) / w[recorded.errors <= cap].max())
    assert np.mean(lost[True]) < 0.01
    assert np.mean(lost[True]) < 0.5 * np.mean(lost[False])


def test_the_cap_is_on_the_share_of_wrong_tokens_though_w_takes_the_loss():
    problem, recorded = made_up(0, budget=16)
    # The share falls as the number of heads rises, which the loss says nothing of.
    share = 0.9 * problem.shapes[:, 1] ** -0.3
    first = [trial.index for trial in build_strategy("surrogate", problem).ask({})]
    outcomes = {index: Outcome(float(recorded.errors[index]), capped_error=float(share[index])) for index in first}
    heads = {}
    for cap in (None, 0.55):
        picks = build_strategy("surrogate", replace(problem, max_error=cap)).ask(outcomes)
        heads[cap] = [int(problem.shapes[trial.index, 1]) for trial in picks]
    # 0.9 * 4 ** -0.3 is 0.594, and 0.9 * 8 ** -0.3 is 0.482.
    assert heads == {None: [1, 1], 0.55: [8, 8]}


def test_the_answer_decides_whose_turn_it_is(monkeypatch):
    asked = []
    for name in ("w_gain", "front_gain", "error_gain", "knee_gain"):
        gain = getattr(acquisition, name)
        noted = lambda believed, name=name, gain=gain: asked.append(name) or gain(believed)  # noqa: E731
        for answer, gains in list(ACQUISITIONS.items()):
            monkeypatch.setitem(ACQUISITIONS, answer, tuple(noted if one is gain else one for one in gains))
    turns = {}
    for answer in ACQUISITIONS:
        problem, recorded = made_up(0, budget=16, answer=answer)
        run_search(build_strategy("surrogate", problem), recorded)
        turns[answer] = asked[:2]
        assert len(asked) == 8
        asked.clear()
    assert turns == {
        "largest_w": ["w_gain", "front_gain"],
        "pareto_front": ["front_gain"] * 2,
        "smallest_error": ["error_gain"] * 2,
        "knee": ["knee_gain", "front_gain"],
    }

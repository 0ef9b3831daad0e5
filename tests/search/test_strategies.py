import math
import time
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from bort_kedro.errors import ConfigurationError
from bort_kedro.search.error_model import ErrorModel
from bort_kedro.search.hypervolume import hypervolume
from bort_kedro.search.loop import run_search
from bort_kedro.search.replay import Recorded
from bort_kedro.search.strategies import STRATEGIES, Outcome, SearchProblem, Trial, acquisition, build_strategy
from bort_kedro.search.strategies.acquisition import expected_w_gain
from bort_kedro.search.strategies.halving import RUNG_SHARES, rung_sizes
from bort_kedro.search.strategies.partition import representatives
from bort_kedro.search.w_coefficient import MaximumPoint, front_layers

GRID = np.array(list(product([1, 2, 4, 6], [1, 2, 4], [64, 128, 192], [64, 128, 256, 512])))
EXPONENTS = np.array([-0.06, -0.02, -0.12, -0.03])


def planted_error(shapes):
    """A power law of the shape, which falls in each of its parameters."""
    return 1.5 * np.exp(np.log(shapes) @ EXPONENTS)


def problem_of(shapes, budget, **settings):
    """The shapes in order, with the leading terms of parameters and operations; T is the largest of all, doubled."""
    depth, heads, hidden, intermediate = shapes.T.astype(float)
    parameters = 1000 * hidden + depth * (4 * hidden**2 + 2 * hidden * intermediate)
    cost = depth * (4 * hidden**2 + 2 * hidden * intermediate + 16 * heads)
    order = np.lexsort((cost, parameters))
    largest = 2 * shapes.max(axis=0)
    maximum = MaximumPoint(4 * parameters.max(), 4 * cost.max(), float(planted_error(largest)))
    return SearchProblem(
        shapes[order], parameters[order], cost[order], maximum, budget, maximum_shape=tuple(largest), **settings
    )


def random_shapes(number, seed=0):
    generator = np.random.default_rng(seed)
    return np.column_stack([generator.integers(1, high, number) for high in (25, 17, 1025, 4097)])


def recorded_of(problem, *, noise=0.02, seed=0):
    """Errors of the planted law, noisier and higher after a part of the training."""
    law, generator = planted_error(problem.shapes), np.random.default_rng(seed)

    def with_noise(factor):
        return factor * law * np.exp(noise * factor * generator.standard_normal(len(law)))

    return Recorded(
        with_noise(1.0), np.zeros(len(law)), {RUNG_SHARES[0]: with_noise(1.5), RUNG_SHARES[1]: with_noise(1.2)}
    )


def all_rounds(strategy, recorded):
    """Every round a strategy asks for, and the outcomes at its end; each ask is repeated with the mapping reversed."""
    rounds, outcomes = [], {}
    while trials := strategy.ask(outcomes):
        assert strategy.ask(dict(reversed(outcomes.items()))) == trials
        rounds.append(trials)
        outcomes |= {trial.index: outcome for trial, outcome in recorded(trials)}
        assert len(rounds) < 500, "never ends"
    return rounds, outcomes


@pytest.mark.parametrize("name", STRATEGIES)
class TestEveryStrategy:
    """What a search relies on, whichever strategy it takes."""

    @pytest.fixture(params=[(144, 1, 1), (144, 9, 2), (144, 30, 5), (10, 7, 3), (5, 4, 1), (2, 1, 1), (1, 1, 1)])
    def problem(self, request):
        number, budget, trials_per_round = request.param
        kept = np.sort(np.random.default_rng(1).choice(len(GRID), number, replace=False))
        return problem_of(GRID[kept], budget, seed=3, trials_per_round=trials_per_round)

    def test_it_asks_only_for_what_can_be_trained_and_ends(self, name, problem):
        rounds, outcomes = all_rounds(build_strategy(name, problem), recorded_of(problem))
        for trials in rounds:
            indices = [trial.index for trial in trials]
            assert len(set(indices)) == len(indices)
            assert all(0 <= index < len(problem) for index in indices)
            assert all(0 < trial.share <= 1 for trial in trials)
        assert build_strategy(name, problem).ask(outcomes) == []

    def test_it_never_winds_a_candidate_back_nor_trains_it_to_the_end_again(self, name, problem):
        rounds, _ = all_rounds(build_strategy(name, problem), recorded_of(problem))
        reached: dict[int, float] = {}
        for trial in (trial for trials in rounds for trial in trials):
            assert trial.share > reached.get(trial.index, 0.0)
            reached[trial.index] = trial.share

    def test_it_trains_at_least_one_candidate_to_the_end(self, name, problem):
        _, outcomes = all_rounds(build_strategy(name, problem), recorded_of(problem))
        assert any(outcome.share == 1.0 for outcome in outcomes.values())

    def test_the_same_problem_gives_the_same_rounds(self, name, problem):
        recorded = recorded_of(problem)
        first, _ = all_rounds(build_strategy(name, problem), recorded)
        assert all_rounds(build_strategy(name, problem), recorded)[0] == first

    def test_it_spends_no_more_than_the_budget(self, name, problem):
        allowed = len(problem) if name == "exhaustive" else problem.budget
        _, outcomes = all_rounds(build_strategy(name, problem), recorded_of(problem))
        assert sum(outcome.share for outcome in outcomes.values()) <= allowed + 1e-9

    @pytest.mark.parametrize("budget", [10, 11, 1000])
    def test_a_budget_of_the_whole_space_trains_everything(self, name, budget):
        problem = problem_of(GRID[:10], budget, trials_per_round=3)
        trace = run_search(build_strategy(name, problem), recorded_of(problem))
        assert trace.finished == list(range(10))
        assert trace.cost == pytest.approx(10)

    def test_what_was_trained_before_is_not_asked_for(self, name):
        problem = problem_of(GRID, budget=12, trials_per_round=4)
        asked = build_strategy(name, problem).ask({})
        outcomes = {trial.index: Outcome(0.9, 1.0) for trial in asked[::2]}
        again = build_strategy(name, problem).ask(outcomes)
        assert [trial.index for trial in again] == [trial.index for trial in asked if trial.index not in outcomes]

    @pytest.mark.parametrize("first", [(143, 7), (9, 3, 100, 57, 20, 77)])
    def test_whom_the_budget_goes_to_first_is_trained_first_and_is_part_of_it(self, name, first):
        problem = problem_of(GRID, 12 if len(first) == 2 else 6, seed=3, trials_per_round=2, first=first)
        rounds, outcomes = all_rounds(build_strategy(name, problem), recorded_of(problem))
        assert rounds[0] == [Trial(index) for index in first]
        spent = sum(outcome.share for outcome in outcomes.values())
        assert spent == pytest.approx(len(GRID) if name == "exhaustive" else problem.budget, abs=2 / 9)
        assert {*first} <= {index for index, outcome in outcomes.items() if outcome.share == 1.0}


# Whom halving carries on depends on who has started.
@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in {"exhaustive", "successive_halving"}])
def test_a_larger_budget_trains_what_it_adds(name):
    smaller, larger = (problem_of(GRID, budget, seed=3, trials_per_round=2) for budget in (8, 13))
    recorded = recorded_of(larger)
    before = run_search(build_strategy(name, smaller), recorded).finished
    known = [Trial(index) for index in before]
    after = run_search(build_strategy(name, larger), recorded, known=known)
    assert (len(before), len(after.finished)) == (8, 13)
    assert set(before) < set(after.finished)
    # Where nothing is added, nothing is asked for.
    assert run_search(build_strategy(name, smaller), recorded, known=known).rounds == [known]


@pytest.mark.parametrize(
    ("num_candidates", "budget", "expected"),
    [
        # Of nine the middle, 4, and those of the four before and of the four after it.
        (9, 3, [1, 4, 6]),
        # Of ten the middle is 4 or 5; the longest interval is 5 to 9, then 0 to 3.
        (10, 1, [4]),
        (10, 2, [4, 7]),
        (10, 3, [1, 4, 7]),
        # Now 2 to 3, 5 to 6 and 8 to 9 are the longest, and the first of them is cut.
        (10, 4, [1, 2, 4, 7]),
        (10, 6, [1, 2, 4, 5, 7, 8]),
        (3, 1, [1]),
        (4, 4, [0, 1, 2, 3]),
        (4, 9, [0, 1, 2, 3]),
        (1, 9, [0]),
    ],
)
def test_fptas_trains_the_middles_of_the_longest_intervals(num_candidates, budget, expected):
    problem = problem_of(GRID[:num_candidates], budget)
    assert build_strategy("fptas", problem).ask({}) == [Trial(index) for index in expected]


def test_representatives_spend_the_budget_and_keep_those_of_a_smaller_one():
    smaller: list[int] = []
    for budget in range(1, 302):
        larger = representatives(300, budget=budget)
        assert len(larger) == min(budget, 300)
        assert set(smaller) < set(larger) or budget > 300
        assert larger == sorted(larger)
        # What lies between two of them is cut in halves, so that no interval is much longer than another.
        between = np.diff([-1, *larger, 300]) - 1
        assert between.max() <= 2 * between.min() + 2
        smaller = larger
    assert smaller == list(range(300))


@pytest.mark.parametrize(
    ("first", "budget", "expected"),
    [
        ((4,), 2, [4, 7]),
        ((0,), 3, [0, 4, 7]),
        ((0, 7), 4, [0, 1, 4, 7]),
        ((9, 0), 3, [0, 4, 9]),
        ((3, 4, 5), 2, [3, 4, 5]),
        (tuple(range(10)), 12, list(range(10))),
    ],
)
def test_representatives_are_what_is_left_of_the_budget_beside_those_that_come_first(first, budget, expected):
    assert representatives(10, budget=budget, first=first) == expected


def test_exhaustive_trains_everything_whatever_the_budget():
    strategy = build_strategy("exhaustive", problem_of(GRID[:4], budget=2))
    assert strategy.ask({}) == [Trial(index) for index in range(4)]


def test_random_draws_the_budget_anew_from_each_seed():
    draws = [build_strategy("random", problem_of(GRID, budget=12, seed=seed)).ask({}) for seed in (0, 0, 1, 2)]
    assert draws[0] == draws[1]
    assert len({tuple(draw) for draw in draws}) == 3
    for draw in draws:
        assert len({trial.index for trial in draw}) == 12


def test_random_draws_every_candidate_about_equally_often():
    counts = np.zeros(20)
    for seed in range(1000):
        drawn = build_strategy("random", problem_of(GRID[:20], budget=5, seed=seed)).ask({})
        counts[[trial.index for trial in drawn]] += 1
    # Binomial with a mean of 250 and a deviation of 13.7.
    assert counts.sum() == 5000
    assert np.abs(counts - 250).max() < 4.5 * 13.7


@pytest.mark.parametrize(
    ("num_candidates", "budget", "expected"),
    [
        # 27/9 + 9 * 2/9 + 3 * 2/3 is 7 exactly.
        (27, 7, [27, 9, 3]),
        # [9, 3, 1] costs 1 + 2/3 + 2/3; what is left of 3 pays for one more on the last rung.
        (9, 3, [9, 3, 2]),
        # [30, 10, 4] costs 10/3 + 20/9 + 8/3 = 74/9, which is more than 8; [29, 10, 4] costs 73/9, [28, 10, 4] costs 8.
        (36, 8, [28, 10, 4]),
        (10, 1, [1, 1, 1]),
        # [36, 12, 4] costs 28/3. Of the 44/3 left, 16/3 carry the 8 others of the second rung on, and ten more reach
        # the last for 8/9 each; the rest, 4/9, pays for two on the second.
        (36, 24, [36, 24, 22]),
        (5, 5, [5, 5, 5]),
        (5, 40, [5, 5, 5]),
    ],
)
def test_rungs_hold_as_many_as_the_budget_pays_for(num_candidates, budget, expected):
    assert rung_sizes(num_candidates, budget=budget) == expected


@pytest.mark.parametrize(
    ("first", "budget", "expected"),
    [
        # One training of two is left, and then two of three: three on two rungs cost 1, the end of one 2/3.
        ((0,), 2, [1, 1, 1]),
        ((0,), 3, [3, 3, 1]),
        ((0, 3), 2, [0, 0, 0]),
        ((0, 1, 2, 3), 9, [0, 0, 0]),
    ],
)
def test_halving_shares_what_those_trained_in_any_case_leave_of_the_budget(first, budget, expected):
    problem = problem_of(GRID[:4], budget, first=first)
    rounds, _ = all_rounds(build_strategy("successive_halving", problem), recorded_of(problem))
    assert [trial.index for trial in rounds[0]] == [*first]
    assert [len(trials) for trials in rounds[1:]] == [count for count in expected if count]


def test_rungs_shrink_and_never_cost_more_than_the_budget():
    increments = np.diff((0.0, *RUNG_SHARES))
    for num_candidates, budget in product(range(1, 61), range(1, 41)):
        sizes = rung_sizes(num_candidates, budget=budget)
        assert np.dot(sizes, increments) <= budget + 1e-9
        assert num_candidates >= sizes[0] >= sizes[1] >= sizes[2] >= 1
        assert len(representatives(num_candidates, budget=sizes[0])) == sizes[0]
        # Nobody is dropped whom the budget could carry on.
        left = budget - np.dot(sizes, increments) + 1e-9
        assert sizes[2] == sizes[1] or left < increments[2]
        assert sizes[1] == sizes[0] or left < increments[1]


def test_survivors_have_the_smallest_errors_where_these_are_asked_for():
    problem = problem_of(random_shapes(60), budget=12, answer="smallest_error")
    recorded = recorded_of(problem, noise=0.1)
    rounds, _ = all_rounds(build_strategy("successive_halving", problem), recorded)
    for before, after in pairwise(rounds):
        members = [trial.index for trial in before]
        errors = recorded.partial_errors[before[0].share]
        best = sorted(members, key=errors.__getitem__)[: len(after)]
        assert sorted(best) == [trial.index for trial in after]


@pytest.mark.parametrize("seed", range(5))
def test_survivors_of_a_rung_are_on_the_earliest_layers_and_within_one_have_the_largest_w(seed):
    problem = problem_of(random_shapes(60, seed), budget=12)
    first, second, last = rung_sizes(60, budget=12)
    recorded = recorded_of(problem, noise=0.1, seed=seed)
    rounds, _ = all_rounds(build_strategy("successive_halving", problem), recorded)
    assert [len(trials) for trials in rounds] == [first, second, last]
    assert [{trial.share for trial in trials} for trials in rounds] == [{share} for share in RUNG_SHARES]
    for before, after in pairwise(rounds):
        members = [trial.index for trial in before]
        errors = recorded.partial_errors[before[0].share][members]
        layers = front_layers(np.column_stack([problem.parameters[members], problem.cost[members], errors]))
        ranks = list(zip(layers.tolist(), (-problem.w(members, errors)).tolist(), strict=True))
        kept = {trial.index for trial in after}
        survived = [rank for index, rank in zip(members, ranks, strict=True) if index in kept]
        dropped = [rank for index, rank in zip(members, ranks, strict=True) if index not in kept]
        assert max(survived) < min(dropped)


@pytest.mark.parametrize(
    ("parameters", "errors", "survivor"),
    [
        # One size: the smallest error beats the others.
        ([50.0, 50.0, 50.0], [0.7, 0.5, 0.6], 1),
        # No one beats another, T is of 100 and 100: 0.9 * 0.9 / 0.8 is above 0.5 * 0.5 / 0.4 and 0.2 * 0.2 / 0.2.
        ([10.0, 50.0, 80.0], [0.8, 0.4, 0.2], 0),
        # The third has the largest W, but the first is smaller and better, hence alone on the first layer with the
        # second: 0.9 * 0.9 / 0.8 = 1.01 is less than 0.5 * 0.5 / 0.2 = 1.25.
        ([10.0, 50.0, 20.0], [0.8, 0.2, 0.9], 1),
    ],
)
def test_the_last_survivor_is_on_the_front_and_has_the_largest_w_there(parameters, errors, survivor):
    sizes = np.array(parameters)
    problem = SearchProblem(GRID[:3], sizes, sizes, MaximumPoint(100.0, 100.0, 0.1), budget=2)
    outcomes = {index: Outcome(error, RUNG_SHARES[1]) for index, error in enumerate(errors)}
    assert rung_sizes(3, budget=2) == [3, 3, 1]
    assert build_strategy("successive_halving", problem).ask(outcomes) == [Trial(survivor)]


@pytest.mark.parametrize("budget", [10, 12, 20])
def test_surrogate_finds_the_largest_w_under_a_law_of_the_shape(budget):
    problem = problem_of(GRID, budget, trials_per_round=2)
    errors = planted_error(problem.shapes)
    trace = run_search(build_strategy("surrogate", problem), Recorded(errors, np.zeros(len(errors)), {}))
    best = int(np.argmax(problem.w(np.arange(len(problem)), errors)))
    first = representatives(len(problem), budget=round(budget / 2))
    assert best not in first
    assert best in trace.finished
    assert [trial.index for trial in trace.rounds[0]] == first
    assert {len(trials) for trials in trace.rounds[1:]} <= {1, 2}
    assert len(trace.finished) == budget


def test_surrogate_never_picks_a_candidate_that_is_known_and_stops_at_the_budget():
    problem = problem_of(GRID, budget=40, trials_per_round=30)
    errors = planted_error(problem.shapes)
    strategy = build_strategy("surrogate", problem)
    outcomes = {trial.index: Outcome(float(errors[trial.index])) for trial in strategy.ask({})}
    picked = [trial.index for trial in strategy.ask(outcomes)]
    assert len(outcomes) + len(picked) == 40
    assert not set(picked) & set(outcomes)
    # Told what the half of its picks would be, it looks elsewhere.
    outcomes |= {index: Outcome(float(errors[index])) for index in picked[::2]}
    others = [trial.index for trial in strategy.ask(outcomes)]
    assert len(outcomes) + len(others) == 40
    assert not set(others) & set(outcomes)


@pytest.mark.parametrize("budget", [36, 48])
def test_picks_of_the_surrogate_take_turns_between_the_largest_w_and_the_widest_front(budget):
    problem = problem_of(GRID, budget, trials_per_round=2)
    errors, strategy = planted_error(problem.shapes), build_strategy("surrogate", problem)
    known = [trial.index for trial in strategy.ask({})]
    assert len(known) % 2 == 0
    # So many errors without noise leave little doubt: what is expected is what will be.
    by_w = max(set(range(len(problem))) - set(known), key=problem.w(np.arange(len(problem)), errors).__getitem__)
    points = np.column_stack([np.log(problem.parameters), np.log(problem.cost), errors])
    worst = np.array([*points[:, :2].max(axis=0), errors[known].max()])
    best = np.array([*points[:, :2].min(axis=0), errors[known].min()])
    volumes = [hypervolume(points[[*known, by_w, index]], 1.1 * worst - 0.1 * best) for index in range(len(points))]
    asked = strategy.ask({index: Outcome(float(errors[index])) for index in known})
    assert {trial.index for trial in asked} == {by_w, int(np.argmax(volumes))}


def test_surrogate_looks_for_the_front_alone_where_no_largest_w_is_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(acquisition, "expected_w_gain", lambda *given: asked.append(given) or expected_w_gain(*given))
    for answer, calls in (("largest_w", 2), ("pareto_front", 0)):
        problem = problem_of(GRID, 8, trials_per_round=4, answer=answer)
        all_rounds(build_strategy("surrogate", problem), recorded_of(problem))
        # Each ask is made twice.
        assert len(asked) == 2 * calls
        asked.clear()


def test_the_surrogate_asks_for_the_gain_of_w_at_the_deviation_as_a_share_of_the_error(monkeypatch):
    asked = []
    monkeypatch.setattr(acquisition, "expected_w_gain", lambda *given: asked.append(given) or expected_w_gain(*given))
    problem = problem_of(GRID, 4)
    first = representatives(len(GRID), budget=2)
    errors = 5 * planted_error(problem.shapes)
    build_strategy("surrogate", problem).ask({index: Outcome(float(errors[index])) for index in first})
    known = np.vstack([problem.shapes[first], problem.maximum_shape])
    mean, deviation = ErrorModel.fit(known, np.array([*errors[first], problem.maximum.error])).predict(problem.shapes)
    ((w, share, best),) = asked
    np.testing.assert_allclose(w, problem.w(np.arange(len(GRID)), mean))
    np.testing.assert_allclose(share, deviation / mean)
    assert best == problem.w(first, errors[first]).max()


def test_of_trials_and_outcomes_only_the_candidate_and_its_error_must_be_said():
    assert Trial(3) == Trial(index=3, share=1.0)
    assert Outcome(0.5) == Outcome(error=0.5, share=1.0, standard_error=0.0, is_on_plateau=False, capped_error=None)


def test_candidates_on_the_plateau_teach_the_surrogate_nothing():
    problem = problem_of(GRID, 8, trials_per_round=2)
    first = representatives(len(GRID), budget=4)
    errors = planted_error(problem.shapes)
    learned = {index: Outcome(float(errors[index])) for index in first[1:]}
    strategy = build_strategy("surrogate", problem)
    picks = [strategy.ask(learned | {first[0]: Outcome(error, is_on_plateau=True)}) for error in (9.0, 1e-3)]
    assert picks[0] == picks[1]


def test_candidates_on_the_plateau_are_the_first_to_be_dropped_and_the_smallest_is_not_spared():
    problem = problem_of(GRID[:18], 4)
    members = representatives(18, budget=rung_sizes(18, budget=4)[0])
    keeps = rung_sizes(18, budget=4)[1]
    flat = {index: Outcome(5.0 - 0.001 * index, RUNG_SHARES[0], is_on_plateau=True) for index in members}
    learned = members[0]
    wanted = build_strategy("successive_halving", problem).ask(flat | {learned: Outcome(4.0, RUNG_SHARES[0])})
    # The one that learned, and of the others those of the lowest errors, which are the largest here.
    assert [trial.index for trial in wanted] == sorted([learned, *members[-(keeps - 1) :]])


def test_candidates_that_failed_do_not_go_on_and_others_take_their_places():
    problem = problem_of(GRID[:18], 4)
    sizes = rung_sizes(18, budget=4)
    members = representatives(18, budget=sizes[0])
    strategy = build_strategy("successive_halving", problem)
    failed = {index: Outcome(math.inf, RUNG_SHARES[0]) for index in members[:-2]}
    learned = {index: Outcome(0.5, RUNG_SHARES[0]) for index in members[-2:]}
    assert strategy.ask(failed | learned) == [Trial(index, RUNG_SHARES[1]) for index in members[-2:]]
    assert strategy.ask(dict.fromkeys(members, Outcome(math.inf, RUNG_SHARES[0]))) == []
    # One fails on the second rung: the other alone reaches the end.
    half_way = {members[-2]: Outcome(math.inf, RUNG_SHARES[1]), members[-1]: Outcome(0.4, RUNG_SHARES[1])}
    assert strategy.ask(failed | half_way) == [Trial(members[-1])]


def test_candidates_whose_end_is_known_take_places_on_every_rung():
    problem = problem_of(GRID[:18], 4)
    sizes = rung_sizes(18, budget=4)
    members = representatives(18, budget=sizes[0])
    recorded, strategy = recorded_of(problem), build_strategy("successive_halving", problem)
    # The worst of them by its earliest error, so that it would be the first to be dropped.
    known = max(members, key=recorded.partial_errors[RUNG_SHARES[0]].__getitem__)
    outside = next(index for index in range(18) if index not in members)
    trace = run_search(strategy, recorded, known=[Trial(known), Trial(outside)])
    first, *rungs = trace.rounds[1:]
    assert [trial.index for trial in first] == [index for index in members if index != known]
    assert [len(trials) for trials in rungs] == [size - 1 for size in sizes[1:] if size > 1]
    assert all(known not in {trial.index for trial in trials} for trials in rungs)
    assert {known, outside} < set(trace.finished)


def test_candidates_that_failed_teach_the_surrogate_nothing_and_are_not_asked_for_again():
    problem = problem_of(GRID, 8, trials_per_round=2)
    first = representatives(len(GRID), budget=4)
    errors = planted_error(problem.shapes)
    strategy = build_strategy("surrogate", problem)
    learned = {index: Outcome(float(errors[index])) for index in first[1:]}
    picks = [strategy.ask(learned | {first[0]: outcome}) for outcome in (Outcome(math.inf), Outcome(9.0, 1.0, 0, True))]
    assert picks[0] == picks[1]
    # Where all of them failed, T alone is known.
    rounds, outcomes = all_rounds(strategy, lambda trials: [(trial, Outcome(math.inf)) for trial in trials])
    assert len(outcomes) == 8
    assert [len(trials) for trials in rounds] == [4, 2, 2]


def test_the_regression_of_the_surrogate_knows_the_maximum_point_where_it_is_a_network(monkeypatch):
    fitted, fit = [], ErrorModel.fit
    monkeypatch.setattr(ErrorModel, "fit", lambda *known: fitted.append(known) or fit(*known))
    problem = problem_of(GRID, budget=2)
    outcomes = {int(index): Outcome(0.9) for index in representatives(len(GRID), budget=1)}
    for maximum_shape in (problem.maximum_shape, None):
        build_strategy("surrogate", replace(problem, maximum_shape=maximum_shape)).ask(outcomes)
    stuck = replace(problem, maximum=replace(problem.maximum, is_on_plateau=True))
    build_strategy("surrogate", stuck).ask(outcomes)
    # Where nothing else is known, an error on the plateau is better than none.
    build_strategy("surrogate", stuck).ask({index: Outcome(math.inf) for index in outcomes})
    (shapes, errors), (shapes_without, errors_without), (shapes_stuck, _), (shapes_alone, _) = fitted
    np.testing.assert_array_equal(shapes_stuck, problem.shapes[[71]])
    np.testing.assert_array_equal(shapes_alone, [problem.maximum_shape])
    np.testing.assert_array_equal(shapes, [problem.shapes[71], problem.maximum_shape])
    np.testing.assert_array_equal(errors, [0.9, problem.maximum.error])
    np.testing.assert_array_equal(shapes_without, problem.shapes[[71]])
    np.testing.assert_array_equal(errors_without, [0.9])


@pytest.mark.parametrize(("w", "deviation"), [(0.5, 0.1), (0.5, 0.4), (0.39, 0.05), (0.7, 0.2), (0.2, 0.5)])
def test_expected_gain_of_w_equals_the_mean_over_log_normal_draws(w, deviation):
    draws = w * np.exp(deviation * np.random.default_rng(0).standard_normal(2_000_000))
    gain = expected_w_gain(np.array([w]), np.array([deviation]), best=0.45)
    assert gain[0] == pytest.approx(np.maximum(draws - 0.45, 0).mean(), rel=0.02, abs=1e-6)


def test_expected_gain_of_a_certain_w_is_its_excess_or_nothing():
    gain = expected_w_gain(np.array([0.2, 0.45, 0.6]), np.full(3, 1e-9), best=0.45)
    np.testing.assert_allclose(gain, [0.0, 0.0, 0.15], atol=1e-9)


def test_candidates_of_the_size_of_the_maximum_point_promise_no_gain():
    deviation = np.full(3, 0.3)
    np.testing.assert_allclose(expected_w_gain(np.array([0.0, -0.1, 0.1]), deviation, best=0.5)[:2], 0.0, atol=1e-300)
    # Where all that was found has no W above 0, any W is a gain.
    mean = 0.1 * np.exp(0.3**2 / 2)
    np.testing.assert_allclose(
        expected_w_gain(np.array([0.0, 0.1, -0.2]), deviation, best=-0.1), [0, mean, 0], atol=1e-300
    )


@pytest.mark.parametrize(("num_candidates", "budget", "most_seconds"), [(300, 60, 1.0), (30_000, 60, 10.0)])
@pytest.mark.slow
def test_every_strategy_plays_a_recorded_table_quickly(num_candidates, budget, most_seconds):
    problem = problem_of(random_shapes(num_candidates), budget, trials_per_round=2)
    recorded, seconds = recorded_of(problem), {}
    for name in STRATEGIES:
        started = time.thread_time()
        run_search(build_strategy(name, problem), recorded)
        seconds[name] = time.thread_time() - started
    assert (max(seconds.values()) if num_candidates == 300 else sum(seconds.values())) < most_seconds, seconds


def test_unknown_strategy_lists_the_known_ones():
    with pytest.raises(ConfigurationError) as caught:
        build_strategy("genetic", problem_of(GRID[:4], budget=2))
    assert str(caught.value) == (
        "Unknown search strategy `genetic`. Allowed: fptas, surrogate, successive_halving, random, exhaustive. "
        "Change params:search.strategy."
    )

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bort_kedro.search import replay
from bort_kedro.search.guarantee import guarantee
from bort_kedro.search.loop import SearchTrace
from bort_kedro.search.replay import Finding, Recorded, bands, compare, judge, play, subspaces
from bort_kedro.search.strategies import STRATEGIES, Outcome, SearchProblem, Trial
from bort_kedro.search.strategies.halving import RUNG_SHARES
from bort_kedro.search.w_coefficient import MaximumPoint


def space(number=30, *, budget=6, seed=0):
    """Depths 1, 2, ...: parameters and costs grow with them, errors fall, a little noise aside."""
    depth = np.arange(1.0, number + 1)
    shapes = np.column_stack([depth, np.ones(number), np.full((number, 2), 8)]).astype(int)
    problem = SearchProblem(
        shapes, 10 * depth, depth**1.5, MaximumPoint(20.0 * number, 2 * number**1.5, 0.3), budget, seed=seed
    )
    errors = 0.9 * depth**-0.2 + 0.02 * np.sin(7 * depth)
    return problem, Recorded(errors, errors / 100, {share: errors + (1 - share) / 10 for share in RUNG_SHARES[:2]})


def test_a_trial_is_answered_with_the_error_recorded_at_its_share():
    recorded = Recorded(np.array([0.5, 0.4]), np.array([0.01, 0.02]), {1 / 3: np.array([0.8, 0.7])})
    trials = [Trial(1), Trial(0, 1 / 3), Trial(1, 1 / 9)]
    assert list(recorded(trials)) == [
        (Trial(1), Outcome(0.4, 1.0, 0.02)),
        (Trial(0, 1 / 3), Outcome(0.8, 1 / 3, 0.01)),
        # A share that was not recorded has the error of the full training.
        (Trial(1, 1 / 9), Outcome(0.4, 1 / 9, 0.02)),
    ]


def test_partial_errors_decide_who_goes_on():
    # Of three candidates of one size, all start and one is trained to the end.
    problem = replace(space(3, budget=2)[0], parameters=np.full(3, 10.0), cost=np.full(3, 10.0))
    errors = np.array([0.5, 0.6, 0.7])
    misled = Recorded(errors, np.zeros(3), {RUNG_SHARES[1]: errors[::-1]})
    best, worst = problem.w([0, 2], errors[[0, 2]])
    assert play("successive_halving", problem, Recorded(errors, np.zeros(3), {})).w_share == 1.0
    assert play("successive_halving", problem, misled).w_share == pytest.approx(worst / best)


def test_exhaustive_search_finds_all_there_is():
    problem, recorded = space()
    assert play("exhaustive", problem, recorded) == Finding(30.0, 1.0, pytest.approx(1.0), 0.0)


def test_shares_are_of_what_there_was_to_find():
    # On axes from 0 to 1 the points are (0, 0, 1) and (1, 1, 0), the reference (1.1, 1.1, 1.1): boxes of
    # 1.1 * 1.1 * 0.1 and 0.1 * 0.1 * 1.1, which share 0.1 * 0.1 * 0.1.
    problem = SearchProblem(
        np.array([[1, 1, 8, 8], [2, 1, 8, 8]]),
        np.array([10.0, 50.0]),
        np.array([1.0, 5.0]),
        MaximumPoint(100, 10, 0.2),
        1,
    )
    recorded = Recorded(np.array([0.8, 0.4]), np.zeros(2), {})
    # W is 0.81 * 0.2 / 0.8 and 0.25 * 0.2 / 0.4.
    whole, first, second = 0.121 + 0.011 - 0.001, 0.121, 0.011
    found = judge(SearchTrace(outcomes={0: Outcome(0.8)}, cost=1.0), problem, recorded)
    assert (found.cost, found.w_share) == (1.0, 1.0)
    assert found.hypervolume_share == pytest.approx(first / whole)
    found = judge(SearchTrace(outcomes={1: Outcome(0.4), 0: Outcome(0.9, 0.5)}, cost=1.5), problem, recorded)
    assert found.w_share == pytest.approx(0.125 / 0.2025)
    assert found.hypervolume_share == pytest.approx(second / whole)
    # Unseen, the first might have had T's error: W of 0.81.
    assert found.epsilon == pytest.approx(1 - 0.125 / 0.81)


def test_axes_of_any_spread_are_scaled_from_zero_to_one():
    problem, recorded = space(4)
    scaled = replay.objectives(replace(problem, cost=np.full(4, 7.0)), recorded.errors)
    np.testing.assert_allclose(scaled.min(axis=0), [0, 0, 0])
    np.testing.assert_allclose(scaled.max(axis=0), [1, 0, 1])


def test_a_finding_states_its_guarantee_unless_told_not_to():
    problem, recorded = space(4)
    trace = SearchTrace(outcomes={0: Outcome(float(recorded.errors[0]))}, cost=1.0)
    assert judge(trace, problem, recorded).epsilon == guarantee(problem, trace.outcomes).epsilon
    assert judge(trace, problem, recorded, with_guarantee=False).epsilon is None
    assert play("fptas", problem, recorded).epsilon is not None
    assert compare(["fptas"], [(problem, recorded)], budgets=[1])["epsilon"].notna().all()


def test_every_strategy_with_every_budget_on_every_space_is_one_row():
    spaces = [space(seed=seed) for seed in range(3)]
    table = compare(list(STRATEGIES), spaces, budgets=[3, 8])
    assert list(table.columns) == ["strategy", "budget", "seed", "cost", "w_share", "hypervolume_share", "epsilon"]
    assert len(table) == 5 * 2 * 3
    assert table[["strategy", "budget", "seed"]].drop_duplicates().shape[0] == len(table)
    rows = table.set_index("strategy")
    assert (rows.loc["exhaustive", ["cost", "w_share"]] == [30.0, 1.0]).all(axis=None)
    others = table[table["strategy"] != "exhaustive"]
    assert (others["cost"] <= others["budget"] + 1e-9).all()
    assert table[["w_share", "hypervolume_share"]].max().max() <= 1 + 1e-12
    # A row is what playing alone gives.
    problem, recorded = spaces[2]
    alone = play("random", replace(problem, budget=8), recorded)
    row = table[(table["strategy"] == "random") & (table["budget"] == 8) & (table["seed"] == 2)].iloc[0]
    assert Finding(*row[["cost", "w_share", "hypervolume_share", "epsilon"]]) == alone


def test_bands_are_means_and_the_middle_eight_tenths_over_seeds():
    findings = pd.DataFrame(
        {
            "strategy": ["random"] * 11 + ["fptas"],
            "budget": [4] * 11 + [4],
            "seed": [*range(11), 0],
            "cost": [3.0, 5.0] * 5 + [4.0, 2.0],
            "w_share": [*np.arange(11) / 10, 0.7],
            "hypervolume_share": [*np.arange(11)[::-1] / 20, 0.6],
        }
    )
    table = bands(findings)
    assert list(table.columns) == ["strategy", "trainings", "statistic", "mean", "lower", "upper"]
    assert table[["strategy", "statistic"]].to_numpy().tolist() == [
        ["random", "hypervolume"],
        ["random", "w"],
        ["fptas", "hypervolume"],
        ["fptas", "w"],
    ]
    # Of 0, 0.1, ... 1 the tenth and ninetieth percentiles are 0.1 and 0.9, of half of them 0.05 and 0.45.
    np.testing.assert_allclose(
        table[["trainings", "mean", "lower", "upper"]],
        [[4.0, 0.25, 0.05, 0.45], [4.0, 0.5, 0.1, 0.9], [2.0, 0.6, 0.6, 0.6], [2.0, 0.7, 0.7, 0.7]],
    )


def test_subspaces_keep_the_order_and_the_values():
    problem, recorded = space(40, seed=5)
    parts = subspaces(problem, recorded, count=4, size=12)
    assert [part.seed for part, _ in parts] == [0, 1, 2, 3]
    for part, errors in parts:
        kept = part.shapes[:, 0] - 1
        assert len(part) == len(errors.errors) == 12
        assert (np.diff(kept) > 0).all()
        np.testing.assert_array_equal(part.shapes, problem.shapes[kept])
        np.testing.assert_array_equal(part.parameters, problem.parameters[kept])
        np.testing.assert_array_equal(part.cost, problem.cost[kept])
        np.testing.assert_array_equal(errors.errors, recorded.errors[kept])
        np.testing.assert_array_equal(errors.standard_errors, recorded.standard_errors[kept])
        assert errors.partial_errors.keys() == recorded.partial_errors.keys()
        for share, values in errors.partial_errors.items():
            np.testing.assert_array_equal(values, recorded.partial_errors[share][kept])
        assert (part.maximum, part.budget) == (problem.maximum, problem.budget)


def test_subspaces_are_drawn_anew_and_follow_from_the_seed():
    problem, recorded = space(40)

    def drawn(seed):
        parts = subspaces(replace(problem, seed=seed), recorded, count=3, size=12)
        return [tuple(part.shapes[:, 0]) for part, _ in parts]

    assert drawn(0) == drawn(0)
    assert len({*drawn(0), *drawn(1)}) == 6


def test_a_subspace_of_the_whole_size_is_the_whole_space():
    problem, recorded = space(10)
    (part, errors), *_ = subspaces(problem, recorded, count=1, size=10)
    np.testing.assert_array_equal(part.shapes, problem.shapes)
    np.testing.assert_array_equal(errors.errors, recorded.errors)

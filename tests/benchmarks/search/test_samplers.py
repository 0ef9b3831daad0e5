"""Optuna's samplers on recorded errors: what they are told, what they spend, and what the page makes of it."""

import itertools

import numpy as np
import pandas as pd
import pytest

from benchmarks.search import recorded_table
from benchmarks.search.measured_space import bench_parameters
from benchmarks.search.samplers import QUESTIONS, ask_all, sampled
from benchmarks.search.samplers_page import samplers_part
from bort_kedro.search.replay import Recorded, part_of
from bort_kedro.search.strategies import SearchProblem
from bort_kedro.search.w_coefficient import MaximumPoint
from tiny_benchmarks import written

RECORDED = "tests/datasets/recorded_candidates.csv"


@pytest.fixture
def space():
    """Eight shapes; the larger, the better, but for the largest."""
    shapes = np.array(list(itertools.product((1, 2), (2,), (16, 32), (32, 64))))
    sizes = shapes.prod(axis=1).astype(float)
    errors = 1.0 / np.log(sizes)
    errors[-1] = 0.5
    problem = SearchProblem(shapes, sizes, 10 * sizes, MaximumPoint(1e5, 1e6, 0.1), budget=4)
    return problem, Recorded(errors, np.zeros(8), {})


@pytest.mark.parametrize(
    ("name", "asked"), [("TPE", "hypervolume"), ("TPE", "W"), ("NSGA-II", "hypervolume"), ("NSGA-II", "W"), ("GP", "W")]
)
def test_a_sampler_trains_different_shapes_as_many_as_it_may_and_the_same_ones_again(space, name, asked):
    question = QUESTIONS[asked]
    order = sampled(name, question, space, budget=6, seed=1)
    assert len(set(order)) == len(order) == 6
    assert sampled(name, question, space, budget=6, seed=1) == order
    assert sampled(name, question, space, budget=3, seed=1) == order[:3]


@pytest.fixture
def stubborn(monkeypatch):
    """A sampler that suggests the largest of all sizes, and nothing else."""
    from optuna.samplers import BaseSampler

    class Stubborn(BaseSampler):
        def infer_relative_search_space(self, study, trial):
            return {}

        def sample_relative(self, study, trial, search_space):
            return {}

        def sample_independent(self, study, trial, param_name, param_distribution):
            return param_distribution.high

    monkeypatch.setattr("benchmarks.search.samplers._build", lambda name, seed: Stubborn())


@pytest.mark.usefixtures("stubborn")
def test_where_nothing_new_is_suggested_the_rest_is_drawn(space):
    order = sampled("TPE", QUESTIONS["W"], space, budget=8, seed=0)
    assert order[0] == 7
    assert sorted(order) == list(range(8))


@pytest.mark.usefixtures("stubborn")
def test_a_place_without_a_shape_is_answered_by_the_nearest(space):
    # Three of eight remain, and none has the largest of all three sizes.
    part = part_of(*space, np.array([0, 5, 6]))
    assert part[0].shapes.tolist() == [[1, 2, 16, 32], [2, 2, 16, 64], [2, 2, 32, 32]]
    assert sampled("TPE", QUESTIONS["W"], part, budget=1, seed=0) == [1]


def test_a_row_for_whatever_was_asked_of_whomever(space):
    table = ask_all([space], bench_parameters().search.changed(engine="sequential"), budgets=[2], draws={"TPE": 1})
    assert table["share"].between(0, 1).all()
    assert table[["searcher", "question", "budget", "draw", "space"]].to_dict("records") == [
        {"searcher": "TPE", "question": question, "budget": 2, "draw": 0, "space": 0} for question in sorted(QUESTIONS)
    ]


def test_shares_are_those_worked_out_by_hand(space):
    problem, recorded = space
    errors = recorded.errors
    w = (1 - problem.parameters / 1e5) * (1 - problem.cost / 1e6) / (errors / 0.1)
    assert QUESTIONS["W"].share(problem, errors, [0, 3]) == pytest.approx(max(w[0], w[3]) / w.max())
    np.testing.assert_allclose(QUESTIONS["W"].costs(problem, errors)[:, 0], -w)
    # The smallest of the cheaper half, which is half of the way from its worst to its best.
    capped, _ = QUESTIONS["error under a cap"].space(problem, recorded)
    assert capped.answer == "smallest_error"
    np.testing.assert_array_equal(capped.cost, problem.cost[problem.cost <= np.median(problem.cost)])
    share = QUESTIONS["error under a cap"].share
    assert share(capped, np.array([4.0, 3.0, 2.0, 2.5]), [0, 1]) == 0.5
    for asked in ("hypervolume", "linear hypervolume"):
        assert QUESTIONS[asked].share(problem, errors, list(range(8))) == pytest.approx(1.0)
        assert 0 < QUESTIONS[asked].share(problem, errors, [0]) < 1
    logarithmic, linear = (QUESTIONS[name].costs(problem, errors) for name in ("hypervolume", "linear hypervolume"))
    np.testing.assert_allclose(linear[:, 0], (problem.parameters - 1024) / (8192 - 1024))
    np.testing.assert_allclose(logarithmic[:, 0], np.log2(problem.parameters / 1024) / 3)


def test_a_lead_counts_beyond_two_standard_errors_of_the_draws():
    rows = [("surrogate", 0, 0, 0.9), ("surrogate", 1, 0, 0.8)]
    rows += [("TPE", 0, 0, 0.8), ("TPE", 0, 1, 0.7), ("TPE", 1, 0, 0.7), ("TPE", 1, 1, 0.6)]
    rows += [("GP", 0, 0, 0.95), ("GP", 1, 0, 0.7)]
    found = pd.DataFrame(rows, columns=["searcher", "space", "draw", "share"]).assign(budget=12)
    found = pd.concat(found.assign(question=asked) for asked in QUESTIONS)
    part = samplers_part(found, judged=12, spaces="Two spaces.")
    figures = {each.name: each for each in part.figures}
    ahead = figures["surrogate ahead of TPE after 12 trainings: W"]
    # Differences .1, .2, .1, .2: a mean of .15, a deviation of .0577, over the root of four.
    assert (ahead.value, ahead.target, ahead.met) == (
        pytest.approx(0.15),
        pytest.approx(2 * 0.0288675, abs=1e-6),
        True,
    )
    assert figures["surrogate ahead of GP after 12 trainings: W"].met is False
    assert "| W, TPE | 85.0 | 70.0 | +15.0 ± 2.9 | yes |" in part.text
    assert "| W, GP | 85.0 | 82.5 | +2.5 ± 7.5 | **no** |" in part.text
    assert "Draws: surrogate 2, TPE 4, GP 2." in part.text
    assert "| `surrogate` | 85.0 (81–89) |" in part.text


def test_samplers_are_compared_on_any_table(monkeypatch, tmp_path):
    monkeypatch.setattr(recorded_table, "NUM_PARTS", 2)
    monkeypatch.setattr(recorded_table, "DRAWS", {"surrogate": 1, "TPE": 1})
    search = bench_parameters().search.changed(engine="sequential")
    recorded_table.compare_on_table(RECORDED, search, folder=tmp_path)
    page, figures = written(tmp_path, "search-table")
    assert page.startswith("# Searches on recorded_candidates.csv\n")
    # 16 of 26 rows, and a quarter of them trained.
    assert "2 random parts of 16 of the 26 rows of `recorded_candidates.csv`" in page
    assert "| trainings | 4 |" in page
    assert len(figures) == 2 * len(QUESTIONS)
    assert {each["unit"] for each in figures.values()} == {"share"}

"""The samplers of optuna on the same recorded errors, asked the same questions with as many trainings."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bort_kedro.search.engines import Engine, Job, run_jobs
from bort_kedro.search.loop import run_search
from bort_kedro.search.replay import Recorded, hypervolume_share, objectives, part_of, w_share
from bort_kedro.search.settings import SearchSettings
from bort_kedro.search.strategies import SearchProblem, build_strategy

if TYPE_CHECKING:
    import optuna

# Random trainings before a model is made; optuna's own ten would leave it two of twelve.
NUM_RANDOM = 5
# Suggestions in a row of what is trained already, before a shape not trained yet is drawn at random.
MAX_REPEATS = 20
Space = tuple[SearchProblem, Recorded]


def _build(name: str, seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    if name == "TPE":
        return optuna.samplers.TPESampler(n_startup_trials=NUM_RANDOM, seed=seed)
    if name == "GP":
        return optuna.samplers.GPSampler(n_startup_trials=NUM_RANDOM, deterministic_objective=True, seed=seed)
    return optuna.samplers.NSGAIISampler(population_size=NUM_RANDOM + 1, seed=seed)


SAMPLERS = ("TPE", "GP", "NSGA-II")
OWN = ("surrogate", "fptas", "random")


@dataclass(frozen=True)
class Question:
    """What is asked for, of whoever searches.

    Args:
        title: For the page.
        answer: What our search is asked for.
        costs: (N, K) of a space, all to be made small: what a sampler is told.
        share: What those found have of what there was, from 0 to 1.
        is_capped: Whether only the cheaper half of the space may be the answer; the others are then kept out of it.
    """

    title: str
    answer: str
    costs: Callable[[SearchProblem, NDArray[np.floating]], NDArray[np.floating]]
    share: Callable[[SearchProblem, NDArray[np.floating], Sequence[int]], float]
    is_capped: bool = False

    def space(self, problem: SearchProblem, recorded: Recorded) -> Space:
        """That whose answer is looked for."""
        problem = replace(problem, answer=self.answer)
        if not self.is_capped:
            return problem, recorded
        return part_of(problem, recorded, np.flatnonzero(problem.cost <= np.median(problem.cost)))


def _on_axes(*, are_sizes_logarithmic: bool, title: str) -> Question:
    def costs(problem: SearchProblem, errors: NDArray[np.floating]) -> NDArray[np.floating]:
        return objectives(problem, errors, are_sizes_logarithmic=are_sizes_logarithmic)

    return Question(
        title,
        "pareto_front",
        costs,
        lambda problem, errors, found: hypervolume_share(costs(problem, errors), found),
    )


def smallest_error_share(problem: SearchProblem, errors: NDArray[np.floating], found: Sequence[int]) -> float:
    """How far the smallest error found lies from the largest of all (0) to the smallest of all (1)."""
    return float((errors.max() - errors[found].min()) / np.ptp(errors))


QUESTIONS = {
    "hypervolume": _on_axes(are_sizes_logarithmic=True, title="Hypervolume of the true front, logarithmic sizes"),
    "linear hypervolume": _on_axes(are_sizes_logarithmic=False, title="Hypervolume of the true front, linear sizes"),
    "W": Question(
        "The largest W",
        "largest_w",
        lambda problem, errors: -problem.w(np.arange(len(problem)), errors)[:, None],
        w_share,
    ),
    "error under a cap": Question(
        "The smallest error under a cap: half of the space's shapes cost no more",
        "smallest_error",
        lambda problem, errors: errors[:, None],
        smallest_error_share,
        is_capped=True,
    ),
}


def sampled(name: str, question: Question, space: Space, *, budget: int, seed: int) -> list[int]:
    """The candidates that a sampler of optuna trains, in its order.

    It suggests a place among the sizes of the space. The nearest shape answers: with its recorded error, or, where it
    was trained before, with what is known, which costs nothing.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem, recorded = space
    costs = question.costs(problem, recorded.errors)
    levels = [np.unique(column) for column in problem.shapes.T]
    places = np.column_stack(
        [np.searchsorted(values, column) for values, column in zip(levels, problem.shapes.T, strict=True)]
    )
    generator = np.random.default_rng(seed)
    trained: dict[int, None] = {}
    repeats = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(directions=["minimize"] * costs.shape[1], sampler=_build(name, seed))
        while len(trained) < min(budget, len(problem)):
            if repeats >= MAX_REPEATS:
                index = int(generator.choice([each for each in range(len(problem)) if each not in trained]))
                study.enqueue_trial({str(axis): int(place) for axis, place in enumerate(places[index])})
            trial = study.ask()
            asked = np.array([trial.suggest_int(str(axis), 0, len(values) - 1) for axis, values in enumerate(levels)])
            index = _nearest(places, asked, levels)
            study.tell(trial, costs[index].tolist())
            repeats = repeats + 1 if index in trained else 0
            trained[index] = None
    return list(trained)


def _nearest(places: NDArray[np.integer], asked: NDArray[np.integer], levels: Sequence[NDArray[np.integer]]) -> int:
    """The candidate at the place asked for, or nearest to it with every size scaled to its range."""
    spans = np.array([max(1, len(values) - 1) for values in levels])
    return int(np.argmin((((places - asked) / spans) ** 2).sum(axis=1)))


def _own(name: str, space: Space, *, budget: int) -> list[int]:
    problem, recorded = space
    return run_search(build_strategy(name, replace(problem, budget=budget)), recorded).finished


def _found(
    number: int, name: str, asked: str, space: Space, budgets: Sequence[int], draw: int
) -> list[dict[str, object]]:
    """Shares by budget. A sampler of optuna is not told of its budget; a search of ours is."""
    question = QUESTIONS[asked]
    problem, recorded = question.space(*space)
    within = [budget for budget in budgets if budget < len(problem)]
    if name in SAMPLERS:
        order = sampled(name, question, (problem, recorded), budget=max(within), seed=draw)
        found = {budget: order[:budget] for budget in within}
    else:
        found = {budget: _own(name, (replace(problem, seed=draw), recorded), budget=budget) for budget in within}
    return [
        {"space": number, "searcher": name, "question": asked, "budget": budget, "draw": draw}
        | {"share": question.share(problem, recorded.errors, indices)}
        for budget, indices in found.items()
    ]


def ask_all(
    spaces: Sequence[Space],
    search: SearchSettings,
    *,
    budgets: Sequence[int],
    draws: dict[str, int],
) -> pd.DataFrame:
    """What everyone finds of everything that is asked.

    Args:
        spaces: Each with its errors.
        search: Says where the work is done, and by how many workers.
        budgets: Numbers of trainings.
        draws: Of each searcher on each space, by name; its seed is the number of the draw.

    Returns:
        One row each: ``space`` (its place), ``searcher``, ``question``, ``budget``, ``draw`` and ``share``.
    """
    jobs = [
        Job(f"{name}, {asked}", _found, (number, name, asked, space, budgets, draw))
        for (number, space), name, asked in itertools.product(enumerate(spaces), draws, QUESTIONS)
        for draw in range(draws[name])
    ]
    with Engine(search) as engine:
        found = [row for rows in run_jobs(jobs, engine, description="asking every sampler") for row in rows]
    return pd.DataFrame(found).sort_values(["question", "searcher", "budget", "space", "draw"], ignore_index=True)

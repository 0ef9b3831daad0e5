"""Train shapes of ``conf/bench`` in several ways, short and long, from random weights and from layers of T."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.search.measured_space import ordered_shapes, tokenized
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import SHAPE_COLUMNS, BertShape
from bort_kedro.params import Parameters
from bort_kedro.pretraining.pretrain import definite
from bort_kedro.search.engines import Engine, Job, run_jobs
from bort_kedro.search.settings import SearchSettings
from bort_kedro.search.short_training import Inheritance, ShortTraining, steps_of, with_changes
from bort_kedro.training.saved_state import SavedState

# Of the ordered space, so that three seeds of long trainings take minutes.
EVERY = 3
# T is trained as much longer than an inherited candidate as `conf/base` has it, six times.
NARROWING, MAXIMUM_POINT_SHARE = "svd", 1.5
# Of the steps of `conf/bench`. As for the default's, those of inherited trainings are fewer.
RANDOM_SHARES, INHERITED_SHARES, END_SHARE = (1.0, 1 / 4), (1 / 4, 1 / 8, 1 / 16), 4.0


@dataclass(frozen=True)
class Course:
    """One way to train every shape.

    Args:
        num_steps: For which the learning rate warms up and decays.
        is_inherited: Whether it begins with layers of T; else with weights as drawn.
        is_end: Whether short trainings are held against it.
    """

    num_steps: int
    is_inherited: bool
    is_end: bool = False

    @property
    def name(self) -> str:
        """For tables."""
        return f"{f'{NARROWING} of T' if self.is_inherited else 'random'}, {self.num_steps:,} steps"

    def seeds(self, count: int) -> range:
        """An end's are others than those of short trainings, so that no luck is shared."""
        return range(count, 2 * count) if self.is_end else range(count)

    def training(self, plain: ShortTraining, states_folder: Path, inheritance: Inheritance) -> ShortTraining:
        """Of one shape; each course has a folder of its own, or one would be taken for an earlier try of another."""
        optimization = plain.settings.optimization.changed(num_steps=self.num_steps)
        folder = f"{NARROWING if self.is_inherited else 'random'}-{self.num_steps}"
        return replace(
            plain,
            settings=plain.settings.changed(optimization=optimization),
            states=TrainingStates(states_folder / folder, keep=1),
            inheritance=inheritance if self.is_inherited else None,
        )


def courses_of(search: SearchSettings) -> list[Course]:
    """The short trainings, and the two long ones at the end."""
    steps = search.training.optimization.num_steps
    return [
        *(Course(steps_of(share, steps), is_inherited=False) for share in RANDOM_SHARES),
        *(Course(steps_of(share, steps), is_inherited=True) for share in INHERITED_SHARES),
        *(Course(steps_of(END_SHARE, steps), is_inherited=is_inherited, is_end=True) for is_inherited in (False, True)),
    ]


def train_courses(raw_corpus: pd.DataFrame, parameters: Parameters, states_folder: Path) -> pd.DataFrame:
    """Errors of every `EVERY`-th candidate and of T after every course, with as many seeds as the parameters say.

    Finished trainings are kept in the folder and not repeated, so a benchmark that was stopped goes on.

    Returns:
        One row for each course, shape and seed: ``training`` (the course's name), the shape, ``is_maximum_point``,
        ``seed``, ``share`` (1, as trainings end), ``error``, ``loss``, their standard errors, ``seconds`` of building,
        training and scoring. T's rows stand in every course, with T as it was trained for that seed.
    """
    tokens, tokenizer = tokenized(raw_corpus, parameters)
    steps = steps_of(MAXIMUM_POINT_SHARE, parameters.search.training.optimization.num_steps)
    search = parameters.search.changed(maximum_point_steps=steps)
    states = TrainingStates(states_folder / "maximum-point", keep=1)
    plain = ShortTraining(tokens, definite(search.training), parameters.corpus.max_positions, states)
    of_maximum = replace(plain, settings=definite(search.maximum_point_training()))
    maximum, shapes = search.stated_maximum(), ordered_shapes(parameters)[::EVERY]
    courses, seeds = courses_of(search), range(2 * search.num_seeds)
    kept_ids = torch.arange(tokens.vocabulary.size)
    with Engine(search) as engine:
        jobs = [_job("T", of_maximum, maximum, seed) for seed in seeds]
        maximum_rows = pd.DataFrame(run_jobs(jobs, engine, description="training the maximum point"))
        inheritances = {
            seed: Inheritance(Pretrained(of_maximum.trained(maximum, {}, seed), tokenizer), kept_ids, NARROWING)
            for seed in seeds
        }
        jobs = [
            _job(course.name, course.training(plain, states_folder, inheritances[seed]), shape, seed)
            # The longest first, so that no worker is left with one at the end.
            for course in sorted(courses, key=lambda course: -course.num_steps)
            for seed in course.seeds(search.num_seeds)
            for shape in reversed(shapes)
        ]
        rows = pd.DataFrame(run_jobs(jobs, engine, description="training in every way"))
    of_t = [
        maximum_rows[maximum_rows["seed"].isin(course.seeds(search.num_seeds))].assign(training=course.name)
        for course in courses
    ]
    both = {False: rows, True: pd.concat(of_t)}
    table = pd.concat([part.assign(is_maximum_point=is_maximum) for is_maximum, part in both.items()])
    return table.assign(share=1.0).sort_values(["training", "seed", *SHAPE_COLUMNS], ignore_index=True)


def _job(name: str, training: ShortTraining, shape: BertShape, seed: int) -> Job:
    return Job(f"{shape.identifier}, {name}, seed {seed}", _train_one, (name, training, shape, seed))


def _train_one(name: str, training: ShortTraining, shape: BertShape, seed: int) -> dict[str, Any]:
    """A row of the table; the seconds of the whole are kept beside the score."""
    settings = with_changes(training.settings, {"seed": seed})
    kept = training.states.of(f"start/{shape.identifier}", training.identity(shape, settings))
    state = kept.latest()
    if state is None:
        began = time.perf_counter()
        num_steps = settings.optimization.num_steps
        record = training.run(shape, {}, seed, num_steps)
        scores = {key: value for key, value in record.items() if key != "history"}
        state = SavedState(num_steps, {}, scores | {"seconds": round(time.perf_counter() - began, 3)})
        kept.put(state)
    return {"training": name, **shape.to_row(), "seed": seed, **state.record}

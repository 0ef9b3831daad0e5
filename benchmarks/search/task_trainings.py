"""Train shapes short and long, and fine-tune each on the built-in tasks, short and long too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from benchmarks.search.measured_space import ordered_shapes, tokenized
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import SHAPE_COLUMNS, BertShape
from bort_kedro.finetuning.objectives import predict
from bort_kedro.finetuning.task_error import TaskError
from bort_kedro.params import Parameters
from bort_kedro.params.finetune import task_of
from bort_kedro.pipelines.corpus.nodes import split_documents
from bort_kedro.pipelines.search.training_nodes import task_error
from bort_kedro.pipelines.tasks.nodes import builder_of
from bort_kedro.pretraining.distillation import Distillation
from bort_kedro.pretraining.pretrain import definite
from bort_kedro.search.engines import Engine, Job, run_jobs
from bort_kedro.search.settings import SearchSettings
from bort_kedro.search.short_training import Inheritance, ShortTraining, comparison, steps_of
from bort_kedro.text.trimming import vocabulary_map

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from bort_kedro.frozen import JsonObject

TASKS, NUM_SEEDS = ("order", "library"), 3
# Of the steps of a short training; what a chosen shape gets is longer than what chose it.
LONG_SHARE = 2.0
PREDICTED_TOKENS = 8192


class ErrorOnTest(TaskError):
    """1 - the score on test, which no search sees."""

    @property
    def identity(self) -> JsonObject:
        """Its own, as dev is another split."""
        return super().identity | {"split": "test"}

    def __call__(
        self, model: PreTrainedModel, seed: int, tokenizer: PreTrainedTokenizerFast | None = None
    ) -> JsonObject:
        encoder = Pretrained(model, tokenizer or self.tokenizer)
        task, trial = self.fine_tuned(encoder, self.data, seed)
        outputs = predict(trial.model, task.task.form, task.splits["test"], batch_tokens=PREDICTED_TOKENS)
        return {"error": 1.0 - task.score("test", outputs), "seconds": trial.seconds, "num_tokens": trial.num_tokens}


@dataclass(frozen=True)
class Course:
    """One way to train every shape, and what is asked of it then.

    Args:
        is_long: Whether the short ones are held against it; its seeds are others, so that no luck is shared.
        plain: The training, by whose tokens loss and divergence are told.
        tasks: What measures the error on each.
    """

    is_long: bool
    plain: ShortTraining
    tasks: dict[str, TaskError]

    def seeds(self, count: int) -> range:
        """Of its trainings."""
        return range(count, 2 * count) if self.is_long else range(count)


def train_and_fine_tune(raw_corpus: pd.DataFrame, parameters: Parameters, states_folder: Path) -> pd.DataFrame:
    """What every shape reaches after a short training, and after a long one.

    All begin with layers of one T, as in a search. Finished trainings are kept in the folder and not repeated, so a
    benchmark that was stopped goes on.

    Returns:
        One row for each course, shape and seed: ``is_long``, the shape, ``seed``; ``loss`` and ``divergence``; by name
        the error on each task, on dev where short and on test where long; ``<name>_seconds`` of training for each.
    """
    search, shapes = parameters.search, ordered_shapes(parameters)
    courses = courses_of(raw_corpus, parameters, states_folder)
    jobs = [
        Job(f"{shape.identifier}, {'long' if course.is_long else 'short'}, seed {seed}", _row, (course, shape, seed))
        for course in sorted(courses, key=lambda course: not course.is_long)
        for seed in course.seeds(search.num_seeds)
        # The longest first, so that no worker is left with one at the end.
        for shape in reversed(shapes)
    ]
    with Engine(search) as engine:
        rows = pd.DataFrame(run_jobs(jobs, engine, description="training and fine-tuning"))
    return rows.sort_values(["is_long", "seed", *SHAPE_COLUMNS], ignore_index=True)


def courses_of(raw_corpus: pd.DataFrame, parameters: Parameters, states_folder: Path) -> list[Course]:
    """The short one, which is the search's own, and the long one, whose fine-tuning is the project's."""
    search, finetune, positions = parameters.search, parameters.finetune, parameters.corpus.max_positions
    tokens, tokenizer = tokenized(raw_corpus, parameters)
    settings = definite(search.training)
    optimization, of_maximum = settings.optimization, definite(search.maximum_point_training())
    training = ShortTraining(tokens, of_maximum, positions, TrainingStates(states_folder / "maximum-point", keep=1))
    maximum = Pretrained(training.trained(search.stated_maximum(), {}, optimization.seed), tokenizer)
    documents, _ = split_documents(raw_corpus, parameters.corpus)
    examples = {name: builder_of(name)(documents, finetune)[0] for name in TASKS}
    own = search.finetuning.changed(num_epochs=finetune.training.num_epochs)

    def course(share: float, asked: SearchSettings, measure: type[TaskError]) -> Course:
        num_steps, is_long = steps_of(share, optimization.num_steps), measure is ErrorOnTest
        states = TrainingStates(states_folder / ("long" if is_long else "short"), keep=1)
        plain = ShortTraining(
            tokens,
            settings.changed(optimization=optimization.changed(num_steps=num_steps)),
            positions,
            states,
            Inheritance(maximum, torch.arange(tokens.vocabulary.size), search.narrowing),
            comparison("divergence", Distillation(maximum, vocabulary_map(tokenizer, tokenizer), search.distillation)),
        )
        tasks = {}
        for name, rows in examples.items():
            short = task_error(rows, task_of(name, finetune), tokenizer, asked, finetune, states)
            tasks[name] = measure(**{field: getattr(short, field) for field in TaskError.__dataclass_fields__})
        return Course(is_long, plain, tasks)

    return [course(1.0, search, TaskError), course(LONG_SHARE, search.changed(finetuning=own), ErrorOnTest)]


def _row(course: Course, shape: BertShape, seed: int) -> dict[str, Any]:
    """The pretraining is one, and found again where a task asks for it."""
    plain, num_steps = course.plain, course.plain.settings.optimization.num_steps
    by_tokens = plain.run(shape, {}, seed, num_steps)
    row = {"is_long": course.is_long, **shape.to_row(), "seed": seed, "seconds": by_tokens["seconds"]}
    row |= {name: by_tokens[name] for name in ("loss", "divergence")}
    for name, measure in course.tasks.items():
        record = replace(plain, comparison=None, task=measure).run(shape, {}, seed, num_steps)
        row |= {name: record["error"], f"{name}_seconds": record["seconds"]}
    return row

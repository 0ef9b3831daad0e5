"""Nodes that open or train T, train candidates, and hand on the chosen one."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import SHAPE_COLUMNS, BertShape
from bort_kedro.errors import FailedTrainingError
from bort_kedro.frozen import JsonObject
from bort_kedro.params import FinetuneParams
from bort_kedro.params.finetune import task_of
from bort_kedro.pipelines.search.nodes import TaskParams, shapes_of
from bort_kedro.search.candidates import candidate_training, problem_of, results_of, spending_of, with_end, with_w
from bort_kedro.search.loop import SearchTrace, run_search
from bort_kedro.search.measures import plateau_error
from bort_kedro.search.settings import EngineSettings, SearchSettings
from bort_kedro.search.strategies import build_strategy
from bort_kedro.tasks.table import Task
from bort_kedro.text.tokens import Tokens
from bort_kedro.training.observer import Training
from bort_kedro.training.saved_state import States

LOGGER = logging.getLogger(__name__)
WITHOUT_MAXIMUM_POINT = (
    "W measures every candidate against it, so there is no search without it. Lower "
    "params:search.maximum_point_learning_rate (where an encoder is opened, learning_rate under "
    "params:search.training.optimization), or choose a smaller params:search.maximum_point; where memory ran out, "
    "raise gradient_accumulation_steps under params:search.training.optimization. Then run the same command again."
)


def open_maximum_point(search: SearchSettings, max_positions: int) -> Pretrained:
    """Open the encoder of the hub or of a folder that is T; the copy that is kept makes later stages need neither."""
    from bort_kedro.search.maximum_point import open_encoder

    return open_encoder(search, max_positions=max_positions)


def train_maximum_point(
    tokens: Tokens,
    tokenizer: Any,
    training_states: States,
    maximum_point_size: JsonObject,
    search: SearchSettings,
    max_positions: int,
    examples: pd.DataFrame | None = None,
    finetune: TaskParams = None,
) -> tuple[Pretrained, JsonObject, pd.DataFrame]:
    """Train T with every hyperparameter set and seed, as a candidate; its error anchors W, and the best one teaches.

    Where candidates are measured against T, there is one of them: the set with the lowest loss, and the first seed.

    Raises:
        FailedTrainingError: If every training comes apart or outgrows the memory; the search cannot do without it.
    """
    from bort_kedro.pretraining.pretrain import definite, new_encoder, pretrain
    from bort_kedro.search.maximum_point import Attempt, error_of, under_theta
    from bort_kedro.search.short_training import building_told, with_changes

    settings, sets = definite(search.maximum_point_training()), search.hyperparameter_sets
    shape, first = BertShape.from_row(maximum_point_size), settings.optimization.seed
    name, description = f"search/maximum-point-{shape.identifier}", f"training the maximum point {shape}"
    is_compared = search.error_measure in ("divergence", "distance")

    def errors_with(encoder: Pretrained, seed: int, *, compares: bool) -> JsonObject:
        teacher, training = _short_training(
            encoder, tokens, tokenizer, training_states, search, max_positions, examples, finetune
        )
        training = training if compares else replace(training, comparison=None)
        return error_of(teacher, training, settings, shape, seeds=[seed])

    def train(number: int, seed: int) -> Attempt:
        own = with_changes(settings, sets[number].changes() | {"seed": seed})
        with building_told(shape):
            model = new_encoder(shape, tokens, max_positions=max_positions, settings=own)
            # As of a candidate, one curve is told while it is drawn.
            is_told = len(sets) == 1 and seed == first
            on_row = partial(training_states.observer.row_logged, _told_as(shape)) if is_told else lambda row: None
            result = pretrain(
                model, tokens, own, states=training_states, name=name, description=description, on_row=on_row
            )
            trained = Pretrained(model, tokenizer)
            errors = errors_with(trained, seed, compares=False)
        spent = {name: errors[name] + value for name, value in result.spent().items()}
        return Attempt(trained, errors | spent, result.history)

    with _failure_told(shape):
        best = under_theta(
            train,
            num_sets=len(sets),
            seeds=[first] if is_compared else range(first, first + search.num_seeds),
            decided_by="loss" if is_compared else search.error_column,
        )
        errors = best.errors
        if is_compared:
            against = errors_with(best.encoder, first, compares=True)
            spent = {name: errors[name] + against[name] for name in ("seconds", "num_tokens")}
            errors = {"hyperparameter_set": errors["hyperparameter_set"]} | against | spent
    row = maximum_point_size | errors
    training_states.observer.training_ended(_told_as(shape), results_of(row), best.history, None)
    return best.encoder, row, pd.DataFrame(best.history)


def score_maximum_point(
    maximum_point_encoder: Pretrained,
    tokens: Tokens,
    tokenizer: Any,
    training_states: States,
    maximum_point_size: JsonObject,
    search: SearchSettings,
    max_positions: int,
    examples: pd.DataFrame | None = None,
    finetune: TaskParams = None,
) -> JsonObject:
    """What an opened T reaches on the validation split; it is not trained.

    Raises:
        FailedTrainingError: As for `train_maximum_point`, of its own shape where that is trained for its error.
    """
    from bort_kedro.pretraining.pretrain import definite
    from bort_kedro.search.maximum_point import error_of

    shape, settings = BertShape.from_row(maximum_point_size), definite(search.maximum_point_training())
    with _failure_told(shape):
        teacher, training = _short_training(
            maximum_point_encoder, tokens, tokenizer, training_states, search, max_positions, examples, finetune
        )
        seeds = range(settings.optimization.seed, settings.optimization.seed + search.num_seeds)
        row = maximum_point_size | error_of(teacher, training, settings, shape, seeds=seeds)
    training_states.observer.training_ended(_told_as(shape), results_of(row), [], None)
    return row


def _told_as(shape: BertShape) -> Training:
    return Training("maximum point", "maximum point", shape.to_row())


@contextmanager
def _failure_told(shape: BertShape) -> Iterator[None]:
    """Say of a failure within the block what the search can do about it."""
    from bort_kedro.search.short_training import building_told

    try:
        with building_told(shape):
            yield
    except FailedTrainingError as fault:
        raise FailedTrainingError(f"the maximum point {shape}", fault.reason, WITHOUT_MAXIMUM_POINT) from fault


def measure_errors(
    search_space: pd.DataFrame,
    maximum_point: JsonObject,
    maximum_point_encoder: Pretrained,
    baseline_errors: dict[str, float],
    tokens: Tokens,
    tokenizer: Any,
    training_states: States,
    search: SearchSettings,
    max_positions: int,
    examples: pd.DataFrame | None = None,
    finetune: TaskParams = None,
    earlier_candidates: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Train whom the strategy asks for; their errors, how each training went, and what went wrong on the way.

    What earlier searches trained alike is known from the start, and so is what a table of their results has.
    """
    from bort_kedro.search.earlier import observations
    from bort_kedro.search.engines import Engine
    from bort_kedro.search.trained_errors import TrainedErrors

    unigram_error = plateau_error(baseline_errors)
    _, training = _short_training(
        maximum_point_encoder, tokens, tokenizer, training_states, search, max_positions, examples, finetune
    )
    # Of several hyperparameter sets it turns out at the end whose curve is the candidate's.
    training = replace(training, is_told=len(search.hyperparameter_sets) == 1)
    if training.distillation is not None:
        for width in set(search_space["hidden_size"]):
            training.distillation.require_fitting(int(width))
    limits = search.limits()

    def tell(row: JsonObject, history: list[JsonObject]) -> None:
        known = search_space.loc[[row["candidate"]]].assign(**row, trained_share=row["share"])
        if row["share"] >= 1.0:
            known = with_w(known, measure=search.error_column, maximum=problem.maximum, unigram_error=unigram_error)
        (found,) = known.to_dict("records")
        failure = row["failure"] if math.isnan(row["error"]) else None
        training_states.observer.training_ended(candidate_training(row), results_of(found), history, failure)

    # The workers stay for all rounds.
    with Engine(search) as engine:
        source = TrainedErrors(
            shapes_of(search_space),
            training,
            measure=search.error_measure,
            hyperparameter_sets=[choice.changes() for choice in search.hyperparameter_sets],
            num_seeds=search.num_seeds,
            engine=engine,
            unigram_error=unigram_error,
            on_answer=tell,
        )
        if earlier_candidates is not None:
            source.given = observations(earlier_candidates, search_space, search, trained_as=source.trained_as)
            LOGGER.info(
                "Of the %d rows of earlier_candidates, %d are candidates.", len(earlier_candidates), len(source.given)
            )
        problem = problem_of(
            search_space,
            maximum_point,
            measure=search.error_column,
            unigram_error=unigram_error,
            **spending_of(search, search_space, source.given),
        )
        # Where trainings run decides nothing, nor do limits: until they end a search, it goes as without them.
        no_asking = {"training", "distillation", *EngineSettings.model_fields, *vars(limits)}
        known = source.known_from_before(search.model_dump(mode="json", exclude=no_asking))
        trace = run_search(build_strategy(search.strategy, problem), source, known=known, limits=limits)
    return _tables(source, len(known), trace)


def _tables(source: Any, num_known: int, trace: SearchTrace) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Errors, histories and restarts of a search, the first of whose trials were known or given."""
    restarts = [{"jobs": "; ".join(restart.jobs), "reason": restart.reason} for restart in source.restarts]
    rows = pd.DataFrame(source.rows)
    was_given = rows["candidate"].isin(list(source.given))
    return (
        with_end(rows.assign(was_known=(rows.index < num_known) & ~was_given, was_given=was_given), trace),
        # Where all trainings fail there is no history, but still a table.
        pd.DataFrame(source.history, columns=None if source.history else ["shape", "share", "step"]),
        pd.DataFrame(restarts, columns=["jobs", "reason"]),
    )


def _short_training(
    maximum_point_encoder: Pretrained,
    tokens: Tokens,
    tokenizer: Any,
    training_states: States,
    search: SearchSettings,
    max_positions: int,
    examples: pd.DataFrame | None = None,
    finetune: TaskParams = None,
) -> tuple[Any, Any]:
    """T in the vocabulary of the candidates with what it may teach them, and what their short trainings share.

    With the examples of a task these end with the error on it.
    """
    from bort_kedro.pretraining.distillation import Distillation
    from bort_kedro.pretraining.pretrain import definite
    from bort_kedro.search.short_training import Inheritance, ShortTraining, comparison
    from bort_kedro.text.trimming import vocabulary_map

    own_map = vocabulary_map(tokenizer, maximum_point_encoder.tokenizer)
    teacher = Distillation(maximum_point_encoder, own_map, search.distillation)
    training = ShortTraining(
        tokens,
        definite(search.training),
        max_positions,
        training_states,
        Inheritance(maximum_point_encoder, own_map.kept, search.narrowing) if search.start == "teacher" else None,
        comparison(search.error_measure, teacher),
        teacher if search.distillation.kinds else None,
    )
    if examples is not None and finetune is not None and search.searched_task is not None:
        data = examples, task_of(search.searched_task, finetune)
        training = replace(training, task=task_error(*data, tokenizer, search, finetune, training_states))
    return teacher, training


def task_error(
    examples: pd.DataFrame,
    task: Task,
    tokenizer: Any,
    search: SearchSettings,
    finetune: FinetuneParams,
    training_states: States,
) -> Any:
    """What measures the error of a candidate on a task: one fine-tuning, as the search asks for it."""
    from bort_kedro.finetuning.data import check_examples
    from bort_kedro.finetuning.task_error import TaskError
    from bort_kedro.finetuning.theta import build_theta

    asked = search.finetuning
    # As many threads as the trainings before it, of which several may run side by side.
    settings = finetune.training.changed(
        num_epochs=asked.num_epochs,
        learning_rates=(asked.learning_rate,),
        batch_tokens=(asked.batch_tokens,),
        num_threads=search.training.num_threads,
        max_sets=None,
        patience=None,
    )
    theta = build_theta(settings, draw_seed=finetune.split_seed)
    return TaskError(check_examples(examples, task), tokenizer, theta[0], settings, training_states)


def hand_on_candidate(
    candidate_errors: pd.DataFrame,
    selected_shape: dict[str, int],
    maximum_point_encoder: Pretrained,
    tokens: Tokens,
    tokenizer: Any,
    training_states: States,
    search: SearchSettings,
    max_positions: int,
) -> Pretrained:
    """The chosen candidate as its short training left it, of its best hyperparameter set and the first seed."""
    finished = candidate_errors[candidate_errors["share"] >= 1.0].set_index(list(SHAPE_COLUMNS))
    shape = BertShape.from_row(selected_shape)
    number = finished["hyperparameter_set"].loc[tuple(shape.to_row().values())]
    changes = search.hyperparameter_sets[int(number)].changes()
    _, training = _short_training(maximum_point_encoder, tokens, tokenizer, training_states, search, max_positions)
    seed = search.training.optimization.seed
    return Pretrained(training.trained(shape, changes, seed), tokenizer)

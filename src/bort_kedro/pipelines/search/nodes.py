"""Nodes of the search stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from bort_kedro.encoders.costs import candidate_counts
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import SHAPE_COLUMNS, BertShape
from bort_kedro.errors import FailedTrainingError
from bort_kedro.frozen import JsonObject
from bort_kedro.latency.model import Calibration, LatencyModel, calibrate
from bort_kedro.search.answers import require_within_caps
from bort_kedro.search.candidates import order, problem_of
from bort_kedro.search.conclusion import conclude
from bort_kedro.search.growth import check_growth
from bort_kedro.search.loop import run_search
from bort_kedro.search.measures import measured_with
from bort_kedro.search.report import GrowthReport, SearchReport, Sizes, WorkerRestart
from bort_kedro.search.settings import EngineSettings, SearchSettings
from bort_kedro.search.space import enumerate_shapes, shape_of_maximum, space_within
from bort_kedro.search.strategies import build_strategy
from bort_kedro.search.strategies.partition import representatives
from bort_kedro.text.tokens import Tokens
from bort_kedro.training.saved_state import States

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


def enumerate_candidates(
    search: SearchSettings, maximum_point_encoder: Pretrained | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """The candidates that can be built, the combinations that cannot, and the shape of T."""
    opened = None if maximum_point_encoder is None else maximum_point_encoder.model.config.to_dict()
    maximum = shape_of_maximum(search, opened)
    space = enumerate_shapes(space_within(search, maximum))
    columns = list(SHAPE_COLUMNS)
    return (
        pd.DataFrame([shape.to_row() for shape in space.shapes], columns=columns),
        pd.DataFrame(space.invalid, columns=columns),
        maximum.to_row(),
    )


def estimate_costs(
    candidate_shapes: pd.DataFrame,
    maximum_point_shape: dict[str, int],
    tokens: Tokens,
    search: SearchSettings,
    max_positions: int,
) -> tuple[pd.DataFrame, JsonObject, GrowthReport]:
    """Parameters and operations of each candidate, part by part, and of T; whether the AB^nC condition holds."""
    sizes = {
        "vocabulary_size": tokens.vocabulary.size,
        "max_positions": max_positions,
        "sequence_length": search.latency.sequence_length,
    }
    shapes = _shapes(candidate_shapes)
    growth = check_growth(shapes, **sizes)
    costs = candidate_shapes.assign(**candidate_counts(shapes, **sizes))
    maximum = BertShape.from_row(maximum_point_shape)
    counts = {name: int(values[0]) for name, values in candidate_counts([maximum], **sizes).items()}
    return costs, maximum.to_row() | counts, GrowthReport(holds=growth.holds, sentence=growth.sentence())


def measure_latency(
    candidate_costs: pd.DataFrame,
    maximum_point_costs: JsonObject,
    tokens: Tokens,
    training_states: States,
    search: SearchSettings,
) -> pd.DataFrame:
    """Time T and representatives of the ordered candidates, those of the budget among them, or every candidate."""
    from bort_kedro.latency.shapes import resolve_device, time_shapes_once

    ordered = candidate_costs.sort_values(["parameters", "operations"], kind="stable", ignore_index=True)
    count = len(ordered) if search.cost == "measured_latency" else max(search.latency.num_measured, search.budget)
    kept = representatives(len(ordered), budget=count)
    shapes = [*_shapes(ordered.loc[kept]), BertShape.from_row(maximum_point_costs)]
    device = resolve_device(search.latency.device)
    timings = time_shapes_once(
        shapes, training_states, search.latency, vocabulary_size=tokens.vocabulary.size, device=device
    )
    return pd.DataFrame(
        {
            **timing.shape.to_row(),
            "is_maximum_point": number == len(kept),
            "latency_ms": timing.median_ms,
            "latency_lower_quartile_ms": timing.lower_quartile_ms,
            "latency_upper_quartile_ms": timing.upper_quartile_ms,
        }
        for number, timing in enumerate(timings)
    )


def model_latency(
    candidate_shapes: pd.DataFrame, candidate_latency: pd.DataFrame, search: SearchSettings
) -> tuple[pd.DataFrame, pd.DataFrame, Calibration]:
    """Fit milliseconds to operations; the latency of every candidate, and how well the model does."""
    length = search.latency.sequence_length
    measured, milliseconds = _shapes(candidate_latency), candidate_latency["latency_ms"].to_numpy(float)
    model = LatencyModel.fit(measured, milliseconds, sequence_length=length)
    left_out, calibration = calibrate(measured, milliseconds, sequence_length=length)
    columns = list(SHAPE_COLUMNS)
    timed = candidate_latency.loc[~candidate_latency["is_maximum_point"], [*columns, "latency_ms"]]
    modelled = candidate_shapes.assign(modelled_ms=model.predict(_shapes(candidate_shapes)))
    table = modelled.merge(timed, on=columns, how="left")
    is_measured = table["latency_ms"].notna() & (search.cost != "modelled_latency")
    table["latency_source"] = np.where(is_measured, "measured", "modelled")
    table["latency_ms"] = table["latency_ms"].where(is_measured, table["modelled_ms"])
    check = candidate_latency.assign(latency_leave_one_out_ms=left_out, latency_modelled_ms=model.predict(measured))
    return table.drop(columns="modelled_ms"), check, calibration


def order_candidates(
    candidate_costs: pd.DataFrame,
    modelled_latency: pd.DataFrame,
    latency_check: pd.DataFrame,
    maximum_point_costs: JsonObject,
    search: SearchSettings,
) -> tuple[pd.DataFrame, JsonObject]:
    """The candidates under the caps in the order (p, i), and T beside them."""
    table = candidate_costs.merge(modelled_latency, on=list(SHAPE_COLUMNS), how="left")
    table["cost"] = table[search.cost_column].astype(float)
    is_allowed = require_within_caps(table, search.caps.model_dump(exclude={"max_error"}), what="candidates")
    # T on the same scale as the candidates: modelled where they all are.
    source = "latency_modelled_ms" if search.cost == "modelled_latency" else "latency_ms"
    latency = latency_check.loc[latency_check["is_maximum_point"], source].iloc[0]
    maximum = maximum_point_costs | {"latency_ms": float(latency)}
    return order(table[is_allowed]), maximum | {"cost": float(maximum[search.cost_column])}


def train_maximum_point(
    tokens: Tokens,
    tokenizer: Any,
    training_states: States,
    maximum_point_size: JsonObject,
    search: SearchSettings,
    max_positions: int,
) -> tuple[Pretrained, JsonObject, pd.DataFrame]:
    """Train T; its error anchors W, candidates may begin with its layers, and the teacher is what it becomes.

    Raises:
        FailedTrainingError: If its training comes apart or outgrows the memory; the search cannot do without it.
    """
    from bort_kedro.pretraining.pretrain import definite, new_encoder, pretrain
    from bort_kedro.search.maximum_point import error_of

    settings = definite(search.maximum_point_training())
    shape = BertShape.from_row(maximum_point_size)
    name, description = f"search/maximum-point-{shape.identifier}", f"training the maximum point {shape}"
    with _failure_told(shape):
        model = new_encoder(shape, tokens, max_positions=max_positions, settings=settings)
        result = pretrain(model, tokens, settings, states=training_states, name=name, description=description)
        trained = Pretrained(model, tokenizer)
        teacher = _as_teacher(trained, tokenizer, search)
        training = _short_training(teacher, tokens, training_states, search, max_positions)
        errors = error_of(teacher, training, settings, shape)
    spent = {"seconds": round(result.seconds, 1), "num_tokens": result.num_tokens}
    row = maximum_point_size | errors | {name: errors[name] + value for name, value in spent.items()}
    return trained, row, pd.DataFrame(result.history)


def score_maximum_point(
    maximum_point_encoder: Pretrained,
    tokens: Tokens,
    tokenizer: Any,
    training_states: States,
    maximum_point_size: JsonObject,
    search: SearchSettings,
    max_positions: int,
) -> JsonObject:
    """What an opened T reaches on the validation split; it is not trained.

    Raises:
        FailedTrainingError: As for `train_maximum_point`, of its own shape where that is trained for its error.
    """
    from bort_kedro.pretraining.pretrain import definite
    from bort_kedro.search.maximum_point import error_of

    shape, settings = BertShape.from_row(maximum_point_size), definite(search.maximum_point_training())
    with _failure_told(shape):
        teacher = _as_teacher(maximum_point_encoder, tokenizer, search)
        training = _short_training(teacher, tokens, training_states, search, max_positions)
        return maximum_point_size | error_of(teacher, training, settings, shape)


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
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Train whom the strategy asks for; their errors, how each training went, and what went wrong on the way.

    What earlier searches trained alike is known from the start.
    """
    from bort_kedro.search.engines import Engine
    from bort_kedro.search.trained_errors import TrainedErrors

    problem = problem_of(
        search_space,
        maximum_point,
        measure=search.error_column,
        unigram_error=baseline_errors.get("unigram"),
        **search.spending(),
    )
    teacher = _as_teacher(maximum_point_encoder, tokenizer, search)
    training = _short_training(teacher, tokens, training_states, search, max_positions)
    if training.distillation is not None:
        for width in set(search_space["hidden_size"]):
            training.distillation.require_fitting(int(width))
    # The workers stay for all rounds.
    with Engine(search) as engine:
        source = TrainedErrors(
            _shapes(search_space),
            training,
            measure=search.error_measure,
            hyperparameter_sets=[choice.changes() for choice in search.hyperparameter_sets],
            num_seeds=search.num_seeds,
            engine=engine,
            unigram_error=baseline_errors.get("unigram"),
        )
        # Where trainings run decides nothing.
        known = source.known_from_before(
            search.model_dump(mode="json", exclude={"training", "distillation", *EngineSettings.model_fields})
        )
        run_search(build_strategy(search.strategy, problem), source, known=known)
    restarts = [{"jobs": "; ".join(restart.jobs), "reason": restart.reason} for restart in source.restarts]
    return (
        pd.DataFrame(source.rows).assign(was_known=lambda rows: rows.index < len(known)),
        # Where all trainings fail there is no history, but still a table.
        pd.DataFrame(source.history, columns=None if source.history else ["shape", "share", "step"]),
        pd.DataFrame(restarts, columns=["jobs", "reason"]),
    )


def _as_teacher(maximum_point_encoder: Pretrained, tokenizer: Any, search: SearchSettings) -> Any:
    """T in the vocabulary of the candidates, with what it may teach them."""
    from bort_kedro.pretraining.distillation import Distillation
    from bort_kedro.text.trimming import vocabulary_map

    return Distillation(
        maximum_point_encoder, vocabulary_map(tokenizer, maximum_point_encoder.tokenizer), search.distillation
    )


def _short_training(
    maximum_point: Any, tokens: Tokens, training_states: States, search: SearchSettings, max_positions: int
) -> Any:
    """What the short trainings of all candidates share."""
    from bort_kedro.pretraining.pretrain import definite
    from bort_kedro.search.short_training import Inheritance, ShortTraining, comparison

    encoder, kept_ids = maximum_point.teacher, maximum_point.vocabulary_map.kept
    return ShortTraining(
        tokens,
        definite(search.training),
        max_positions,
        training_states,
        Inheritance(encoder, kept_ids, search.narrowing) if search.start == "teacher" else None,
        comparison(search.error_measure, maximum_point),
        maximum_point if search.distillation.kinds else None,
    )


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
    teacher = _as_teacher(maximum_point_encoder, tokenizer, search)
    training = _short_training(teacher, tokens, training_states, search, max_positions)
    seed = search.training.optimization.seed
    return Pretrained(training.trained(shape, changes, seed), tokenizer)


def score_counting_baselines(tokens: Tokens, search: SearchSettings) -> dict[str, float]:
    """Errors of guessing the most frequent token, and the most frequent follower; none where no token is predicted."""
    if "loss" not in measured_with(search.error_measure):
        return {}
    from bort_kedro.pretraining.baselines import CountBaselines
    from bort_kedro.pretraining.masked_lm import score_baselines
    from bort_kedro.pretraining.pretrain import EVALUATION_BATCH_TOKENS, evaluation_blocks

    baselines = CountBaselines(tokens.splits["train"], tokens.vocabulary.is_ordinary)
    blocks = evaluation_blocks(tokens, "validation")
    correct = score_baselines(blocks, baselines, batch_tokens=EVALUATION_BATCH_TOKENS)
    return {name: 1.0 - float(right.mean()) for name, right in correct.items()}


def select_shape(
    tokens: Tokens,
    search_space: pd.DataFrame,
    candidate_errors: pd.DataFrame,
    worker_restarts: pd.DataFrame,
    maximum_point: JsonObject,
    baseline_errors: dict[str, float],
    invalid_shapes: pd.DataFrame,
    candidate_shapes: pd.DataFrame,
    growth_check: GrowthReport,
    latency_calibration: Calibration,
    search: SearchSettings,
    max_positions: int,
) -> tuple[pd.DataFrame, dict[str, int], SearchReport]:
    """Choose a shape, and say why and how sure."""
    return conclude(
        search_space,
        candidate_errors,
        maximum_point,
        settings=search,
        baseline_errors=baseline_errors,
        num_invalid=len(invalid_shapes),
        num_over_caps=len(candidate_shapes) - len(search_space),
        growth_check=growth_check,
        latency_calibration=latency_calibration,
        sizes=Sizes(
            vocabulary_size=tokens.vocabulary.size,
            max_positions=max_positions,
            sequence_length=search.latency.sequence_length,
        ),
        worker_restarts=[WorkerRestart.from_json(row) for row in worker_restarts.to_dict("records")],
    )


def _shapes(table: pd.DataFrame) -> list[BertShape]:
    return [BertShape.from_row(row) for row in table.to_dict("records")]

"""Nodes of the search stage but those that train: the space, what it costs, and the choice."""

from typing import Any

import numpy as np
import pandas as pd

from bort_kedro.encoders.costs import ShapeArrays, candidate_counts
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import SHAPE_COLUMNS, BertShape, shape_text
from bort_kedro.errors import ConfigurationError
from bort_kedro.exports.sizes import exported_bytes
from bort_kedro.frozen import JsonObject
from bort_kedro.latency.model import Calibration, LatencyModel, calibrate
from bort_kedro.params.finetune import task_of
from bort_kedro.search.answers import require_within_caps
from bort_kedro.search.candidates import order
from bort_kedro.search.conclusion import conclude
from bort_kedro.search.growth import check_growth
from bort_kedro.search.measures import measured_with
from bort_kedro.search.report import GrowthReport, SearchReport, Sizes, WorkerRestart
from bort_kedro.search.settings import SearchSettings
from bort_kedro.search.space import enumerate_shapes, shape_of_maximum, space_within
from bort_kedro.search.strategies.partition import representatives
from bort_kedro.text.tokens import Tokens
from bort_kedro.training.saved_state import States

MEGABYTE = 1e6
# `FinetuneParams`, or None where no task is searched for: Kedro warns of a type that may be None in some nodes alone.
TaskParams = Any


def enumerate_candidates(
    search: SearchSettings, maximum_point_encoder: Pretrained | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """The candidates that can be built, the combinations that cannot, and the shape of T."""
    opened = None if maximum_point_encoder is None else maximum_point_encoder.model.config.to_dict()
    maximum = shape_of_maximum(search, opened)
    space = enumerate_shapes(space_within(search, maximum), added=search.always_train)
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
    """Parameters and operations of each candidate, part by part, its megabytes, and T's; whether AB^nC holds."""
    tables = {"vocabulary_size": tokens.vocabulary.size, "max_positions": max_positions}
    sizes = tables | {"sequence_length": search.latency.sequence_length}
    shapes = shapes_of(candidate_shapes)
    growth = check_growth(shapes, **sizes)
    maximum = BertShape.from_row(maximum_point_shape)
    every = [*shapes, maximum]
    num_bytes = exported_bytes(ShapeArrays.of(every), search.latency.runtime, **tables)
    counts = pd.DataFrame(candidate_counts(every, **sizes)).assign(megabytes=num_bytes / MEGABYTE)
    costs = candidate_shapes.assign(**counts.iloc[:-1])
    maximum_costs = {name: values[len(shapes)].item() for name, values in counts.items()}
    return costs, maximum.to_row() | maximum_costs, GrowthReport(holds=growth.holds, sentence=growth.sentence())


def measure_latency(
    candidate_costs: pd.DataFrame,
    maximum_point_costs: JsonObject,
    tokens: Tokens,
    training_states: States,
    search: SearchSettings,
) -> pd.DataFrame:
    """Time T and representatives of the ordered candidates, or every candidate.

    Those of the budget are among them, but where each has to be exported.
    """
    from bort_kedro.latency.shapes import resolve_device, time_shapes_once

    settings, runtime = search.latency, None
    if settings.runtime is not None:
        from bort_kedro.exports.timed_classifiers import timed_runtime

        runtime = timed_runtime(settings.runtime, num_threads=settings.num_threads)
    ordered = candidate_costs.sort_values(["parameters", "operations"], kind="stable", ignore_index=True)
    count = settings.num_measured if runtime else max(settings.num_measured, search.trainings(len(ordered)))
    kept = representatives(len(ordered), budget=len(ordered) if search.cost == "measured_latency" else count)
    shapes = [*shapes_of(ordered.loc[kept]), BertShape.from_row(maximum_point_costs)]
    timings = time_shapes_once(
        shapes,
        training_states,
        settings,
        vocabulary_size=tokens.vocabulary.size,
        device="cpu" if runtime else resolve_device(settings.device),
        runtime=runtime,
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


def take_latency(recorded_latencies: pd.DataFrame, maximum_point_costs: JsonObject) -> pd.DataFrame:
    """What was timed elsewhere, in the place of `measure_latency`; T may be without.

    Raises:
        ConfigurationError: If a shape stands there twice.
    """
    columns = list(SHAPE_COLUMNS)
    twice = recorded_latencies[recorded_latencies.duplicated(columns)]
    if len(twice):
        raise ConfigurationError(
            f"Line {twice['row'].iloc[0]} of the catalog's `recorded_latencies` has {shape_text(twice.iloc[0])} again, "
            "allowed is each shape once: that of one device, batch size and sequence length. Mend the file, or keep "
            "rows out with `where` in the catalog entry."
        )
    table, maximum = recorded_latencies[[*columns, "latency_ms"]], [maximum_point_costs[name] for name in columns]
    is_maximum = (table[columns] == maximum).all(axis=1)
    if not is_maximum.any():
        table.loc[len(table)] = [*maximum, np.nan]
    return table.assign(
        is_maximum_point=is_maximum.reindex(table.index, fill_value=True),
        latency_lower_quartile_ms=table["latency_ms"],
        latency_upper_quartile_ms=table["latency_ms"],
    )


def model_latency(
    candidate_shapes: pd.DataFrame, candidate_latency: pd.DataFrame, search: SearchSettings
) -> tuple[pd.DataFrame, pd.DataFrame, Calibration]:
    """Fit milliseconds to operations; the latency of every candidate, and how well the model does."""
    length, columns = search.latency.sequence_length, list(SHAPE_COLUMNS)
    known = candidate_latency.dropna(subset="latency_ms")
    # Rows of a table that somebody brought need not be shapes that can be built.
    measured, milliseconds = known[columns].to_numpy(np.int64), known["latency_ms"].to_numpy(float)
    model = LatencyModel.fit(measured, milliseconds, sequence_length=length)
    left_out, calibration = calibrate(measured, milliseconds, sequence_length=length)
    timed = known[[*columns, "latency_ms"]].drop_duplicates(columns)
    modelled = candidate_shapes.assign(modelled_ms=model.predict(shapes_of(candidate_shapes)))
    table = modelled.merge(timed, on=columns, how="left")
    is_measured = table["latency_ms"].notna() & (search.cost != "modelled_latency")
    table["latency_source"] = np.where(is_measured, _source(search), "modelled")
    table["latency_ms"] = table["latency_ms"].where(is_measured, table["modelled_ms"])
    check = candidate_latency.assign(
        latency_leave_one_out_ms=pd.Series(left_out, known.index),
        latency_modelled_ms=model.predict(candidate_latency[columns].to_numpy(np.int64)),
    )
    return table.drop(columns="modelled_ms"), check, calibration


def _source(search: SearchSettings) -> str:
    """Of latencies that are not modelled."""
    return "recorded" if search.cost == "recorded_latency" else "measured"


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
    of_maximum = latency_check[latency_check["is_maximum_point"]].iloc[0]
    # T on the same scale as the candidates: modelled where they all are.
    is_modelled = search.cost == "modelled_latency" or pd.isna(of_maximum["latency_ms"])
    latency = float(of_maximum["latency_modelled_ms" if is_modelled else "latency_ms"])
    maximum = maximum_point_costs | {
        "latency_ms": latency,
        "latency_source": "modelled" if is_modelled else _source(search),
    }
    return order(table[is_allowed]), maximum | {"cost": float(maximum[search.cost_column])}


def score_baselines(
    tokens: Tokens, search: SearchSettings, examples: pd.DataFrame | None = None, finetune: TaskParams = None
) -> dict[str, float]:
    """Errors of guessing the most frequent token, and the most frequent follower, or of a task the best constant
    answer; none where there is neither."""
    if examples is not None and finetune is not None and search.searched_task is not None:
        from bort_kedro.finetuning.data import check_examples
        from bort_kedro.finetuning.task_error import constant_error

        return {"constant": constant_error(check_examples(examples, task_of(search.searched_task, finetune)))}
    if "loss" not in measured_with(search.error_measure):
        return {}
    from bort_kedro.pretraining.baselines import CountBaselines
    from bort_kedro.pretraining.masked_lm import score_baselines as score_counts
    from bort_kedro.pretraining.pretrain import EVALUATION_BATCH_TOKENS, evaluation_blocks

    baselines = CountBaselines(tokens.splits["train"], tokens.vocabulary.is_ordinary)
    blocks = evaluation_blocks(tokens, "validation")
    correct = score_counts(blocks, baselines, batch_tokens=EVALUATION_BATCH_TOKENS)
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
        worker_restarts=tuple(WorkerRestart.from_json(row) for row in worker_restarts.to_dict("records")),
    )


def shapes_of(table: pd.DataFrame) -> list[BertShape]:
    """Of the rows of a table."""
    return [BertShape.from_row(row) for row in table.to_dict("records")]

"""Nodes of the search stage but those that train: the space, what it costs, and the choice."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bort_kedro.encoders.costs import candidate_counts
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import SHAPE_COLUMNS, BertShape
from bort_kedro.frozen import JsonObject
from bort_kedro.latency.model import Calibration, LatencyModel, calibrate
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
    shapes = shapes_of(candidate_shapes)
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
    shapes = [*shapes_of(ordered.loc[kept]), BertShape.from_row(maximum_point_costs)]
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
    measured, milliseconds = shapes_of(candidate_latency), candidate_latency["latency_ms"].to_numpy(float)
    model = LatencyModel.fit(measured, milliseconds, sequence_length=length)
    left_out, calibration = calibrate(measured, milliseconds, sequence_length=length)
    columns = list(SHAPE_COLUMNS)
    timed = candidate_latency.loc[~candidate_latency["is_maximum_point"], [*columns, "latency_ms"]]
    modelled = candidate_shapes.assign(modelled_ms=model.predict(shapes_of(candidate_shapes)))
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


def shapes_of(table: pd.DataFrame) -> list[BertShape]:
    """Of the rows of a table."""
    return [BertShape.from_row(row) for row in table.to_dict("records")]

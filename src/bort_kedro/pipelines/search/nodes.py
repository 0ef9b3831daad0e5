"""Nodes of the search stage."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bort_kedro.core.costs import count_operations, count_parameters
from bort_kedro.core.search_space import enumerate_shapes
from bort_kedro.core.selection import choose, sensitivity
from bort_kedro.core.shapes import BertShape
from bort_kedro.core.strategies import build_strategy
from bort_kedro.core.tokens import Tokens
from bort_kedro.params import SearchParams


def enumerate_candidates(search: SearchParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The candidates that can be built, and the combinations that cannot."""
    space = enumerate_shapes(**search.space.model_dump())
    columns = list(BertShape.__dataclass_fields__)
    return (
        pd.DataFrame([shape.to_row() for shape in space.shapes], columns=columns),
        pd.DataFrame(space.invalid, columns=columns),
    )


def _costs(shape: BertShape, tokens: Tokens, max_positions: int, sequence_length: int) -> dict[str, int]:
    parameters = count_parameters(shape, vocabulary_size=tokens.vocabulary.size, max_positions=max_positions)
    return {
        "parameters": parameters.total,
        "parameters_without_embeddings": parameters.encoder,
        "operations": count_operations(shape, sequence_length=sequence_length).total,
    }


def estimate_costs(
    candidate_shapes: pd.DataFrame, tokens: Tokens, search: SearchParams, max_positions: int
) -> pd.DataFrame:
    """Parameters and operations of each candidate, in the order (p, i) that the strategies partition."""
    rows = [
        shape.to_row() | _costs(shape, tokens, max_positions, search.latency.sequence_length)
        for shape in map(BertShape.from_row, candidate_shapes.to_dict("records"))
    ]
    return pd.DataFrame(rows).sort_values(["parameters", "operations"], kind="stable", ignore_index=True)


def measure_latency(candidate_costs: pd.DataFrame, tokens: Tokens, search: SearchParams) -> pd.DataFrame:
    """Time the encoder of every candidate on this machine."""
    from bort_kedro.training.timing import time_shapes

    shapes = [BertShape.from_row(row) for row in candidate_costs.to_dict("records")]
    timings = time_shapes(shapes, vocabulary_size=tokens.vocabulary.size, **search.latency.model_dump())
    return pd.DataFrame(
        {
            **timing.shape.to_row(),
            "latency_ms": timing.median_ms,
            "latency_lower_quartile_ms": timing.lower_quartile_ms,
            "latency_upper_quartile_ms": timing.upper_quartile_ms,
        }
        for timing in timings
    )


def train_maximum_point(
    tokens: Tokens, tokenizer: Any, training_states: Any, search: SearchParams, max_positions: int
) -> tuple[Any, dict[str, Any], pd.DataFrame]:
    """Train T as long as a candidate; its error anchors W, and it is the teacher's start."""
    from bort_kedro.models.pretrained import Pretrained
    from bort_kedro.training.pretraining import PretrainingSettings, new_encoder, pretrain, score

    values = search.training.model_dump() | {"num_threads": search.maximum_point_threads}
    settings = PretrainingSettings.from_mapping(values, learning_rate=search.maximum_point_learning_rate)
    shape = search.maximum_point.to_shape()
    model = new_encoder(shape, tokens, max_positions=max_positions, settings=settings)
    result = pretrain(
        model,
        tokens,
        settings,
        states=training_states,
        name=f"search/maximum-point-{shape.identifier}",
        description=f"training the maximum point {shape}",
    )
    quality = score(
        model, tokens, split="validation", num_threads=settings.num_threads, description="scoring the maximum point"
    )
    row = {
        **shape.to_row(),
        **_costs(shape, tokens, max_positions, search.latency.sequence_length),
        "error": 1.0 - quality.accuracy,
        "error_standard_error": quality.accuracy_standard_error,
        "loss": quality.loss,
        "loss_standard_error": quality.loss_standard_error,
        "seconds": round(result.seconds, 1),
    }
    return Pretrained(model, tokenizer), row, pd.DataFrame(result.history)


def measure_errors(
    candidate_costs: pd.DataFrame,
    tokens: Tokens,
    training_states: Any,
    search: SearchParams,
    max_positions: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train the candidates that the strategy asks for; their errors, and how each training went."""
    from bort_kedro.training.candidates import ShortTraining, train_candidates
    from bort_kedro.training.pretraining import PretrainingSettings

    shapes = [BertShape.from_row(row) for row in candidate_costs.to_dict("records")]
    strategy = build_strategy(search.strategy, num_candidates=len(shapes), interval=search.interval)
    settings = PretrainingSettings.from_mapping(search.training.model_dump())
    results = train_candidates(
        shapes,
        strategy,
        ShortTraining(tokens, settings, max_positions, training_states),
        engine=search.engine,
        num_workers=search.num_workers,
    )
    errors = [
        {
            **shapes[index].to_row(),
            "error": result.error,
            "error_standard_error": result.error_standard_error,
            "loss": result.loss,
            "loss_standard_error": result.loss_standard_error,
            "seconds": round(result.seconds, 1),
        }
        for index, result in results.items()
    ]
    history = [
        {"shape": shapes[index].identifier, **row} for index, result in results.items() for row in result.history
    ]
    return pd.DataFrame(errors), pd.DataFrame(history)


def select_shape(
    candidate_costs: pd.DataFrame,
    candidate_latency: pd.DataFrame,
    candidate_errors: pd.DataFrame,
    maximum_point: dict[str, Any],
    invalid_shapes: pd.DataFrame,
    tokens: Tokens,
    search: SearchParams,
) -> tuple[pd.DataFrame, dict[str, int], dict[str, Any]]:
    """Join what is known of the candidates, choose one, and say why and how sure."""
    from bort_kedro.core.baselines import CountBaselines
    from bort_kedro.training.masked_lm import score_baselines
    from bort_kedro.training.pretraining import EVALUATION_BATCH_TOKENS, evaluation_blocks

    columns = list(BertShape.__dataclass_fields__)
    table = candidate_costs.merge(candidate_latency[[*columns, "latency_ms"]], on=columns, how="left")
    table = table.merge(candidate_errors, on=columns, how="left")
    table["is_trained"] = table["error"].notna()
    baselines = CountBaselines(tokens.splits["train"], tokens.vocabulary.is_ordinary)
    correct = score_baselines(evaluation_blocks(tokens, "validation"), baselines, batch_tokens=EVALUATION_BATCH_TOKENS)
    choice = choose(
        table,
        measure=search.error_measure,
        maximum_point=maximum_point,
        unigram_error=1.0 - float(correct["unigram"].mean()),
    )
    row = _json_row(choice.table, choice.selected)
    report = {
        "strategy": search.strategy,
        "interval": search.interval,
        "error_measure": search.error_measure,
        "baseline_errors": {name: 1.0 - float(right.mean()) for name, right in correct.items()},
        "num_candidates": len(table),
        "num_invalid": len(invalid_shapes),
        "num_trained": int(table["is_trained"].sum()),
        "num_on_plateau": int((choice.table["is_on_plateau"] & table["is_trained"]).sum()),
        "selected": row,
        "runner_up": None if choice.runner_up is None else _json_row(choice.table, choice.runner_up),
        "is_distinguishable": choice.is_distinguishable,
        "maximum_point": maximum_point,
        "seconds": round(float(candidate_errors["seconds"].sum()) + maximum_point["seconds"], 1),
        "sensitivity": [
            {
                "multiple": row["multiple"],
                "by_error": BertShape.from_row(choice.table.loc[row["by_error"]]).to_row(),
                "by_loss": BertShape.from_row(choice.table.loc[row["by_loss"]]).to_row(),
            }
            for row in sensitivity(choice.table, maximum_point=maximum_point)
        ],
        "notes": _notes(choice.table, maximum_point, search.error_measure),
    }
    return choice.table, BertShape.from_row(row).to_row(), report


def _json_row(table: pd.DataFrame, index: int) -> dict[str, Any]:
    import json

    return json.loads(table.loc[index].to_json())


def _notes(table: pd.DataFrame, maximum_point: dict[str, Any], measure: str) -> list[str]:
    """What a reader must know before believing the choice."""
    notes = []
    better = table[table[measure] < maximum_point[measure]]
    if len(better):
        best = better.loc[better[measure].idxmin()]
        notes.append(
            f"{len(better)} candidate(s) had a lower {measure} than the maximum point after the same number of steps "
            f"(best {best[measure]:.3f} against {maximum_point[measure]:.3f}): T is not the best network of the "
            "family yet, as its definition asks; train longer or choose another maximum point."
        )
    on_plateau = table[table["is_on_plateau"] & table["is_trained"]]
    if len(on_plateau):
        names = ", ".join(BertShape.from_row(row).identifier for row in on_plateau.to_dict("records"))
        notes.append(f"Still on the unigram plateau, hence not ranked: {names}.")
    return notes


def plot_pareto(
    candidate_table: pd.DataFrame,
    selected_shape: dict[str, int],
    maximum_point: dict[str, Any],
    search_report: dict[str, Any],
) -> Any:
    """Error against parameters, with the front, the choice and the maximum point."""
    from bort_kedro.pipelines.plots import pareto_figure

    return pareto_figure(candidate_table, selected_shape, maximum_point, measure=search_report["error_measure"])

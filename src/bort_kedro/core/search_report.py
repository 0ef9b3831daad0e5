"""What a search reports beside its table: the choice, how sure it is, and what a reader must know first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bort_kedro.core.candidates import join_errors, maximum_of, outcomes_of, predict_errors, problem_of
from bort_kedro.core.guarantee import Guarantee, guarantee
from bort_kedro.core.selection import MEASURES, Choice, choose, sensitivity
from bort_kedro.core.shapes import SHAPE_COLUMNS, shape_text


def conclude(
    search_space: pd.DataFrame,
    candidate_errors: pd.DataFrame,
    maximum_point: Mapping[str, Any],
    *,
    settings: Mapping[str, Any],
    baseline_errors: Mapping[str, float],
) -> tuple[pd.DataFrame, dict[str, int], dict[str, Any]]:
    """Join what is known of the candidates, choose one, and say why and how sure.

    Args:
        search_space: The candidates in order.
        candidate_errors: One row a trial.
        maximum_point: T.
        settings: Dumped parameters of the search: ``strategy``, ``budget``, ``error_measure``, ``answer``, ``caps``,
            ``cost``.
        baseline_errors: Errors of the unigram and bigram baselines; empty where they are unknown.

    Returns:
        The candidate table, the selected shape, and the report.
    """
    measure = settings["error_measure"]
    maximum = maximum_of(maximum_point, measure)
    choice = choose(
        join_errors(search_space, candidate_errors),
        measure=measure,
        maximum=maximum,
        unigram_error=baseline_errors.get("unigram"),
        answer=settings["answer"],
        caps=settings["caps"],
    )
    problem = problem_of(search_space, maximum_point, measure=measure, budget=settings["budget"])
    table, error_model = predict_errors(choice.table, problem, measure=measure)
    bound = guarantee(problem, outcomes_of(table, measure), unranked=table.index[table["is_on_plateau"]].tolist())
    selected = _json_row(table, choice.selected)
    report = {
        **{name: settings[name] for name in ("strategy", "budget", "cost", "answer", "caps")},
        "error_measure": measure,
        "baseline_errors": dict(baseline_errors),
        "num_candidates": len(table),
        "num_trained": int(table["is_trained"].sum()),
        "num_tried": int(candidate_errors["candidate"].nunique()),
        "trainings_spent": round(float(candidate_errors.groupby("candidate")["share"].max().sum()), 3),
        "num_on_plateau": int((table["is_on_plateau"] & table["is_trained"]).sum()),
        "selected": selected,
        "runner_up": None if choice.runner_up is None else _json_row(table, choice.runner_up),
        "is_distinguishable": choice.is_distinguishable,
        "pareto_front": [_shape(table, index) for index in table.index[table["is_pareto"]]],
        # JSON has no NaN: a recorded table may lack T's standard error.
        "maximum_point": {name: None if pd.isna(value) else value for name, value in maximum_point.items()},
        "seconds": round(float(candidate_errors["seconds"].sum()) + maximum_point.get("seconds", 0.0), 1),
        "error_model": error_model,
        "guarantee": vars(bound)
        | {"bound_shape": None if bound.bound_index is None else _shape(table, bound.bound_index)},
        "sensitivity": [
            {"multiple": row["multiple"]}
            | {f"by_{name}": _shape(table, row[f"by_{name}"]) for name in MEASURES if f"by_{name}" in row}
            for row in sensitivity(table, maximum=maximum)
        ],
        "notes": notes(choice, maximum_point, measure, bound),
    }
    return table, {name: int(selected[name]) for name in SHAPE_COLUMNS}, report


def _shape(table: pd.DataFrame, index: Any) -> dict[str, int]:
    return {name: int(table.at[index, name]) for name in SHAPE_COLUMNS}


def _json_row(table: pd.DataFrame, index: int) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(table.loc[index].to_json())
    return row


def notes(choice: Choice, maximum_point: Mapping[str, Any], measure: str, bound: Guarantee) -> list[str]:
    """What a reader must know before believing the choice."""
    table, found = choice.table, []
    better = table[table[measure] < maximum_point[measure]]
    if len(better):
        best = better.loc[better[measure].idxmin()]
        found.append(
            f"{len(better)} candidate(s) had a lower {measure} than the maximum point after the same number of steps "
            f"(best {best[measure]:.3f} against {maximum_point[measure]:.3f}): T is not the best network of the "
            "family yet, as its definition asks; train longer or choose another maximum point."
        )
    on_plateau = table[table["is_on_plateau"] & table["is_trained"]]
    if len(on_plateau):
        found.append(f"Still on the unigram plateau, hence not ranked: {_names(on_plateau.to_dict('records'))}.")
    if bound.num_violations:
        found.append(
            f"In {bound.num_violations} of {bound.num_comparable} pairs of trained candidates where one contains the "
            f"other, the larger one has the higher {measure}, beyond their noise: the order of errors that the "
            "guarantee rests on does not hold for all of this space after so short a training."
        )
    return found


def _names(rows: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(shape_text(row) for row in rows)

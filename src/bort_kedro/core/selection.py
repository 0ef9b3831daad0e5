"""Choose the shape: rank the trained candidates by W and say how sure the choice is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bort_kedro.core.scoring import pareto_front, w_coefficient, w_standard_error
from bort_kedro.core.statistics import STANDARD_ERRORS_TO_WIN, is_above_noise
from bort_kedro.errors import TrainingError

# Sizes of T, against the one trained, for which the choice is worked out again.
MAXIMUM_POINT_MULTIPLES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Choice:
    """The outcome of a search.

    Args:
        table: The candidates, with ``w``, ``w_standard_error``, ``is_on_plateau``, ``is_pareto``,
            ``is_selected`` beside what was given; untrained ones have no ``error`` and no ``w``.
        selected: Index of the chosen row.
        runner_up: Index of the second-best row, or None.
        is_distinguishable: False when the two best differ by less than their noise.
    """

    table: pd.DataFrame
    selected: int
    runner_up: int | None
    is_distinguishable: bool


def choose(candidates: pd.DataFrame, *, measure: str, maximum_point: dict[str, float], unigram_error: float) -> Choice:
    """Rank by W-coefficient; candidates that learned no more than the most frequent token are not ranked.

    Args:
        candidates: Columns ``parameters``, ``operations``, and ``error`` and ``loss``, each with its
            ``_standard_error``; these are NaN for candidates that were not trained.
        measure: Which of the two is e in W: ``error`` or ``loss``.
        maximum_point: The same columns of T.
        unigram_error: Error of always predicting the most frequent token.

    Raises:
        TrainingError: If no trained candidate left the unigram plateau.
    """
    table = candidates.copy()
    table["is_on_plateau"] = table["error"] > unigram_error - STANDARD_ERRORS_TO_WIN * table["error_standard_error"]
    table["w"] = w_coefficient(
        parameters=table["parameters"].to_numpy(float),
        operations=table["operations"].to_numpy(float),
        error=table[measure].to_numpy(float),
        maximum_parameters=maximum_point["parameters"],
        maximum_operations=maximum_point["operations"],
        maximum_error=maximum_point[measure],
    )
    table.loc[table["is_on_plateau"], "w"] = np.nan
    table["w_standard_error"] = w_standard_error(table["w"], table[measure], table[f"{measure}_standard_error"])
    ranked = table["w"].dropna().sort_values(ascending=False, kind="stable")
    if ranked.empty:
        raise TrainingError(
            f"None of the {int(table['error'].notna().sum())} trained candidates predicts hidden tokens better than "
            f"the most frequent token does (error {unigram_error:.3f}), so W would rank noise. Raise num_steps or "
            "learning_rate under params:search.training.optimization, or give more text."
        )
    selected = int(ranked.index[0])
    runner_up = int(ranked.index[1]) if len(ranked) > 1 else None
    table["is_pareto"] = pareto_front(table[["parameters", "operations", measure]].to_numpy(float)) & table["w"].notna()
    table["is_selected"] = table.index == selected
    return Choice(table, selected, runner_up, _differ(table, selected, runner_up))


def _differ(table: pd.DataFrame, first: int, second: int | None) -> bool:
    if second is None:
        return True
    noise = np.hypot(table.at[first, "w_standard_error"], table.at[second, "w_standard_error"])
    return is_above_noise(table.at[first, "w"] - table.at[second, "w"], noise)


def sensitivity(table: pd.DataFrame, *, maximum_point: dict[str, float]) -> list[dict[str, float | int]]:
    """Which candidate W chooses for larger maximum points, and for the loss in the place of the error rate.

    The error of T is a factor common to all candidates, so no further training is needed to answer.

    Args:
        table: From `choose`, with a column ``loss`` beside ``error``.
        maximum_point: ``parameters`` and ``operations`` of T.

    Returns:
        One row for each multiple in `MAXIMUM_POINT_MULTIPLES`: ``multiple``, and the indices ``by_error`` and
        ``by_loss`` of the chosen rows.
    """
    ranked = table[table["w"].notna()]
    rows = []
    for multiple in MAXIMUM_POINT_MULTIPLES:
        row: dict[str, float | int] = {"multiple": multiple}
        for measure in ("error", "loss"):
            w = w_coefficient(
                parameters=ranked["parameters"].to_numpy(float),
                operations=ranked["operations"].to_numpy(float),
                error=ranked[measure].to_numpy(float),
                maximum_parameters=multiple * maximum_point["parameters"],
                maximum_operations=multiple * maximum_point["operations"],
                maximum_error=1.0,
            )
            row[f"by_{measure}"] = int(ranked.index[int(np.argmax(w))])
        rows.append(row)
    return rows

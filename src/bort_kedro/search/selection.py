"""Choose the shape: rank the trained candidates, take the answer that was asked for, say how sure it is."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bort_kedro.encoders.shapes import shape_text
from bort_kedro.errors import TrainingError
from bort_kedro.search.answers import ANSWERS, require_within_caps
from bort_kedro.search.candidates import with_w
from bort_kedro.search.measures import BESIDE_ERROR
from bort_kedro.search.w_coefficient import MaximumPoint, pareto_front, w_coefficient
from bort_kedro.statistics import is_above_noise

# Sizes of T, against the one trained, for which the choice is worked out again.
MAXIMUM_POINT_MULTIPLES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Choice:
    """The outcome of a search.

    Args:
        table: The candidates, with ``w``, ``w_standard_error``, ``is_on_plateau``, ``is_pareto``, ``meets_caps``,
            ``is_selected`` beside what was given; untrained ones have no ``error`` and no ``w``.
        is_distinguishable: False when the two best differ by less than their noise.
    """

    table: pd.DataFrame
    selected: int
    runner_up: int | None
    is_distinguishable: bool


def choose(
    candidates: pd.DataFrame,
    *,
    measure: str,
    maximum: MaximumPoint,
    unigram_error: float | None,
    answer: str,
    caps: dict[str, float | None],
    least_noise: float = 0.0,
    error_source: str = "training",
) -> Choice:
    """Rank by W-coefficient; candidates that learned no more than the most frequent token are not ranked.

    Args:
        candidates: Columns ``parameters``, ``cost``, ``latency_ms``, ``error`` and what of `BESIDE_ERROR` was measured,
            each with a ``_standard_error``; NaN for candidates that were not trained. ``has_failed`` and ``failure``
            name those that failed.
        measure: Which of these columns is e in W, and in T.
        maximum: T.
        unigram_error: None where it is unknown.
        answer: Key of `answers.ANSWERS`.
        caps: See `answers.CAPPED`.
        least_noise: Deviation that every error is taken to have at least when the two best are told apart, as a share
            of it; standard errors of one seed know nothing of its luck.
        error_source: Which a cap that nothing meets is told by.

    Raises:
        TrainingError: If no trained candidate left the unigram plateau, or all trainings failed.
        ConfigurationError: If none that did meets the caps.
    """
    table = with_w(candidates, measure=measure, maximum=maximum, unigram_error=unigram_error)
    is_ranked = table["w"].notna()
    if not is_ranked.any():
        raise _nothing_to_rank(table, unigram_error)
    table["meets_caps"] = False
    what = "rows looked up" if error_source == "table" else "trained candidates"
    within = require_within_caps(table[is_ranked], caps, what=what, error_source=error_source)
    table.loc[is_ranked, "meets_caps"] = within
    allowed = is_ranked & table["meets_caps"]
    table["is_pareto"] = False
    table.loc[allowed, "is_pareto"] = pareto_front(table.loc[allowed, ["parameters", "cost", measure]].to_numpy(float))
    selected = ANSWERS[answer](table[allowed], measure)
    # Only a search for the smallest error is decided by the error alone; the others weigh it by W.
    decided_by = measure if answer == "smallest_error" else "w"
    runner_up = _runner_up(table[allowed], selected, decided_by)
    table["is_selected"] = table.index == selected
    return Choice(table, selected, runner_up, _differ(table, selected, runner_up, decided_by, least_noise))


def _nothing_to_rank(table: pd.DataFrame, unigram_error: float | None) -> TrainingError:
    failed = table[table["has_failed"]]
    reasons = "".join(f"\n  - {shape_text(row)}: {row['failure']}" for row in failed.to_dict("records"))
    num_trained = int(table["error"].notna().sum())
    if not num_trained:
        return TrainingError(
            f"The trainings of all {len(failed)} candidates that were tried have failed, so there is none to choose:"
            f"{reasons}\nLower learning_rate, or batch_tokens where memory ran out, under params:search.training or "
            "its optimization, or in params:search.hyperparameter_sets; what failed is not trained again until a "
            "setting changes."
        )
    also = f"\nThe trainings of {len(failed)} more have failed:{reasons}" if len(failed) else ""
    return TrainingError(
        f"None of the {num_trained} trained candidates is better than the most frequent token, or of a task the best "
        f"constant answer (error {unigram_error:.3f}), so W would rank noise. Raise num_steps or learning_rate under "
        f"params:search.training.optimization, of a task those of params:search.finetuning, or give more text.{also}"
    )


def _runner_up(table: pd.DataFrame, selected: int, decided_by: str) -> int | None:
    others = table.drop(index=selected).sort_values(decided_by, ascending=decided_by != "w", kind="stable")
    return None if others.empty else int(others.index[0])


def _differ(table: pd.DataFrame, first: int, second: int | None, decided_by: str, least_noise: float) -> bool:
    if second is None:
        return True
    values = table.loc[[first, second], decided_by]
    noise = np.maximum(table.loc[[first, second], f"{decided_by}_standard_error"], least_noise * values)
    return is_above_noise(abs(values[first] - values[second]), float(np.hypot(*noise)))


def sensitivity(table: pd.DataFrame, *, maximum: MaximumPoint) -> dict[int, dict[str, int]]:
    """Which candidate has the largest W for larger maximum points, and for the other measures of the error.

    The error of T is a factor common to all candidates, so no further training is needed to answer.

    Returns:
        For each of `MAXIMUM_POINT_MULTIPLES` and each measure that the table has, the index of the row with the largest
        W.
    """
    ranked = table[table["w"].notna() & table["meets_caps"]]
    found: dict[int, dict[str, int]] = {}
    for multiple in MAXIMUM_POINT_MULTIPLES:
        larger = MaximumPoint(multiple * maximum.parameters, multiple * maximum.cost, error=1.0)
        best = {}
        for measure in ("error", *BESIDE_ERROR):
            if measure in ranked:
                w = w_coefficient(
                    larger,
                    parameters=ranked["parameters"].to_numpy(float),
                    cost=ranked["cost"].to_numpy(float),
                    error=ranked[measure].to_numpy(float),
                )
                best[measure] = int(ranked.index[int(np.argmax(w))])
        found[multiple] = best
    return found

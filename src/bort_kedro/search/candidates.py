"""The candidate table: what is known of each shape before training, and what the search adds to it."""

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from bort_kedro.encoders.shapes import SHAPE_COLUMNS, shape_text
from bort_kedro.errors import ConfigurationError
from bort_kedro.frozen import JsonObject, TableRow
from bort_kedro.search.error_model import ErrorModel, leave_one_out
from bort_kedro.search.loop import SearchTrace
from bort_kedro.search.measures import MEASURES
from bort_kedro.search.report import ErrorModelFit
from bort_kedro.search.settings import SearchSettings
from bort_kedro.search.strategies import Outcome, SearchProblem
from bort_kedro.search.w_coefficient import MaximumPoint, require_above_zero, w_coefficient, w_standard_error
from bort_kedro.statistics import is_on_plateau
from bort_kedro.training.observer import CANDIDATE, Row, Training

# The fewest trained candidates whose errors a regression on the shape can say anything of.
FEWEST_FOR_MODEL = 3
# What a row of errors says of its trial, and not of the candidate.
OF_A_TRIAL = ("share", "seconds", "num_tokens", "failure", "was_known", "was_given", "ended_by")
# What is told of a candidate to who compares them.
COMPARED = (
    *("parameters", "operations", "latency_ms", "megabytes", "cost"),
    *(f"{measure.column}{noise}" for measure in MEASURES.values() for noise in ("", "_standard_error")),
    *("w", "w_standard_error", "is_pareto", "is_selected", "trained_share", "seconds", "num_tokens"),
)


def order(candidates: pd.DataFrame) -> pd.DataFrame:
    """The candidates in the order (p, i) that strategies partition, numbered from 0."""
    return candidates.sort_values(["parameters", "cost"], kind="stable", ignore_index=True)


def problem_of(
    search_space: pd.DataFrame,
    maximum_point: TableRow,
    *,
    measure: str,
    is_network: bool = True,
    unigram_error: float | None = None,
    **spending: Any,
) -> SearchProblem:
    """The space, in order with columns of the shape, ``parameters`` and ``cost``, as the strategies see it.

    The maximum point has ``parameters``, ``cost`` and the measure of T; one made up above a recorded table is no
    network.
    """
    return SearchProblem(
        shapes=search_space[list(SHAPE_COLUMNS)].to_numpy(np.int64),
        parameters=search_space["parameters"].to_numpy(float),
        cost=search_space["cost"].to_numpy(float),
        maximum=maximum_of(maximum_point, measure, unigram_error),
        maximum_shape=tuple(maximum_point[name] for name in SHAPE_COLUMNS) if is_network else None,
        **spending,
    )


def spending_of(search: SearchSettings, search_space: pd.DataFrame, given: Collection[int] = ()) -> JsonObject:
    """What strategies are told of the wish, in this space, where some errors are given: fields of `SearchProblem`.

    Raises:
        ConfigurationError: If a candidate that is to be trained in any case is none of it.
    """
    return {
        "budget": search.trainings(len(search_space)) + len(given),
        "seed": search.seed,
        "trials_per_round": search.trials_per_round,
        "answer": search.answer,
        "max_error": search.caps.max_error,
        "first": tuple(dict.fromkeys((*given, *_always_trained(search, search_space)))),
    }


def places_of(search_space: pd.DataFrame) -> dict[tuple[int, ...], int]:
    """The place of each shape, by its four sizes; the first where a recorded table repeats it."""
    rows = search_space[list(SHAPE_COLUMNS)].drop_duplicates().itertuples(name=None)
    return {tuple(sizes): int(index) for index, *sizes in rows}


def _always_trained(search: SearchSettings, search_space: pd.DataFrame) -> tuple[int, ...]:
    places = places_of(search_space)
    for shape in search.always_train:
        if tuple(vars(shape).values()) not in places:
            raise ConfigurationError(
                f"params:search.always_train has {shape}, which is none of the {len(search_space)} candidates: it is "
                "over a cap under params:search.caps, or no row of the recorded table. Allowed are the others. Change "
                "params:search.always_train, or the caps."
            )
    return tuple(places[tuple(vars(shape).values())] for shape in search.always_train)


def with_end(errors: pd.DataFrame, trace: SearchTrace) -> pd.DataFrame:
    """The rows of a search, the last of which says which limit ended it."""
    return errors.assign(ended_by=pd.Series({len(errors) - 1: trace.ended_by}, dtype=object))


def maximum_of(maximum_point: TableRow, measure: str, unigram_error: float | None = None) -> MaximumPoint:
    """T in the measure that W takes.

    Raises:
        TrainingError: If its error is 0.
    """
    noise = {name: maximum_point.get(f"{name}_standard_error") for name in ("error", measure)}
    known = {name: 0.0 if value is None or np.isnan(value) else value for name, value in noise.items()}
    return MaximumPoint(
        maximum_point["parameters"],
        maximum_point["cost"],
        require_above_zero(maximum_point[measure], "the maximum point"),
        standard_error=known[measure],
        # Told of the error, whichever measure W takes.
        is_on_plateau=bool(is_on_plateau(maximum_point["error"], known["error"], unigram_error)),
    )


def join_errors(search_space: pd.DataFrame, candidate_errors: pd.DataFrame) -> pd.DataFrame:
    """The space, in order, with the errors of the candidates that were trained to the end; NaN for all others.

    Errors have a row for each trial, with ``candidate`` (its place in the space), ``share``, and errors; where
    trainings may fail also ``failure``, the reason of any. A trial without an error has failed.
    """
    finished = candidate_errors[candidate_errors["share"] >= 1.0].set_index("candidate")
    new = [name for name in finished if name not in {*SHAPE_COLUMNS, *OF_A_TRIAL}]
    table = search_space.drop(columns=[name for name in new if name in search_space]).join(finished[new])
    latest = candidate_errors.sort_values("share", kind="stable").groupby("candidate").tail(1).set_index("candidate")
    latest = latest.reindex(table.index)
    return table.assign(
        is_trained=table["error"].notna(),
        trained_share=latest["share"].fillna(0.0),
        has_failed=latest["share"].notna() & latest["error"].isna(),
        failure=latest.get("failure"),
    )


def with_w(
    candidates: pd.DataFrame, *, measure: str, maximum: MaximumPoint, unigram_error: float | None
) -> pd.DataFrame:
    """Add ``is_on_plateau``, ``w`` and ``w_standard_error``; what is on the unigram plateau has no W.

    T's error is in the same measure as theirs, whose column and those of ``parameters``, ``cost`` and ``error`` are
    needed, each error with its ``_standard_error``.
    """
    table = candidates.copy()
    table["is_on_plateau"] = is_on_plateau(table["error"], table["error_standard_error"], unigram_error)
    table["w"] = w_coefficient(
        maximum,
        parameters=table["parameters"].to_numpy(float),
        cost=table["cost"].to_numpy(float),
        error=table[measure].to_numpy(float),
    )
    table.loc[table["is_on_plateau"], "w"] = np.nan
    table["w_standard_error"] = w_standard_error(table["w"], table[measure], table[f"{measure}_standard_error"])
    return table


def candidate_training(row: TableRow) -> Training:
    """What a candidate's training is told as, from its shape."""
    return Training(shape_text(row), CANDIDATE, {name: int(row[name]) for name in SHAPE_COLUMNS})


def results_of(row: TableRow) -> Row:
    """Numbers of a candidate, or of T, that are worth to be compared; what is not known is left out."""
    return {name: float(row[name]) for name in COMPARED if pd.notna(row.get(name))}


def outcomes_of(table: pd.DataFrame, measure: str) -> dict[int, Outcome]:
    """The finished trainings of a chosen table, plateau and failures included, as strategies know them."""
    known = table[table["is_trained"] | table["has_failed"]]
    noise = known[f"{measure}_standard_error"].fillna(0.0)
    return {
        int(index): Outcome(float(error), float(share), float(deviation), is_on_plateau=bool(on_plateau))
        for index, error, share, deviation, on_plateau in zip(
            known.index,
            known[measure].fillna(math.inf),
            known["trained_share"],
            noise,
            known["is_on_plateau"],
            strict=True,
        )
    }


def predict_errors(table: pd.DataFrame, problem: SearchProblem, *, measure: str) -> tuple[pd.DataFrame, ErrorModelFit]:
    """Add what a regression on the log-shape says of every candidate, and how well it ranks those known.

    The table is from `join_errors`, with ``is_on_plateau``; candidates on the plateau teach the regression nothing.

    Returns:
        The table with ``predicted``, ``predicted_standard_deviation`` and ``w_predicted`` (NaN with fewer than
        `FEWEST_FOR_MODEL` candidates, and of those that failed), and how well it ranks, by Spearman's correlation.
    """
    from scipy.stats import spearmanr

    known = table[table["is_trained"] & ~table["is_on_plateau"]]
    if len(known) < FEWEST_FOR_MODEL:
        nothing = dict.fromkeys(("predicted", "predicted_standard_deviation", "w_predicted"), np.nan)
        return table.assign(**nothing), ErrorModelFit(num_candidates=len(known), rank_correlation=None)
    shapes, errors = problem.shapes[known.index], known[measure].to_numpy(float)
    mean, deviation = ErrorModel.fit(shapes, errors).predict(problem.shapes)
    left_out = leave_one_out(shapes, errors)
    correlation = float(spearmanr(left_out, errors).statistic) if np.ptp(errors) and np.ptp(left_out) else float("nan")
    predicted = table.assign(
        predicted=mean, predicted_standard_deviation=deviation, w_predicted=problem.w(np.arange(len(problem)), mean)
    )
    predicted.loc[table["has_failed"], ["predicted", "predicted_standard_deviation", "w_predicted"]] = np.nan
    return predicted, ErrorModelFit(
        num_candidates=len(known), rank_correlation=None if np.isnan(correlation) else correlation
    )

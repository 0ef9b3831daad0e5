"""What a search reports beside its table: the choice, how sure it is, and what a reader must know first."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bort_kedro.encoders.shapes import SHAPE_COLUMNS, shape_text
from bort_kedro.frozen import JsonObject, TableRow
from bort_kedro.search.candidates import join_errors, maximum_of, outcomes_of, predict_errors, problem_of
from bort_kedro.search.guarantee import Guarantee, guarantee, relative_residual
from bort_kedro.search.measures import BASELINES, plateau_error
from bort_kedro.search.published import epsilon_of, running_time
from bort_kedro.search.report import (
    Candidate,
    GuaranteeReport,
    MaximumPointRow,
    PublishedScheme,
    SearchReport,
    SensitivityRow,
    ShapeValues,
)
from bort_kedro.search.selection import Choice, choose, sensitivity
from bort_kedro.search.settings import SearchSettings
from bort_kedro.search.strategies import SearchProblem
from bort_kedro.search.w_coefficient import MaximumPoint
from bort_kedro.statistics import STANDARD_ERRORS_TO_WIN, is_on_plateau


def conclude(
    search_space: pd.DataFrame,
    candidate_errors: pd.DataFrame,
    maximum_point: TableRow,
    *,
    settings: SearchSettings,
    baseline_errors: Mapping[str, float],
    **known: Any,
) -> tuple[pd.DataFrame, dict[str, int], SearchReport]:
    """Join what is known of the candidates, choose one, and say why and how sure.

    Args:
        search_space: The candidates in order.
        candidate_errors: One row a trial; ``was_known`` where earlier searches had trained some, ``was_given`` where a
            table had their errors, ``ended_by`` where a limit ended the search.
        maximum_point: T; ``is_network`` is False where it was made up above a recorded table.
        settings: What was searched, and what is wanted.
        baseline_errors: Errors of `measures.BASELINES`; empty where they are unknown.
        known: Fields of `SearchReport` that nothing here tells.

    Returns:
        The candidate table, the selected shape, and the report.

    Raises:
        ConfigurationError: If no candidate whose error is known meets the caps.
        TrainingError: If every one of them is on the unigram plateau, or all trainings failed.
    """
    measure, is_recorded = settings.error_column, settings.error_source == "table"
    is_network = bool(maximum_point.get("is_network", True))
    unigram_error = plateau_error(baseline_errors)
    maximum = maximum_of(maximum_point, measure, unigram_error)
    joined = join_errors(search_space, candidate_errors)
    problem = problem_of(
        search_space,
        maximum_point,
        measure=measure,
        is_network=is_network,
        unigram_error=unigram_error,
        budget=settings.trainings(len(search_space)),
    )
    has_one_seed = settings.num_seeds == 1 and not is_recorded
    choice = choose(
        joined,
        measure=measure,
        maximum=maximum,
        unigram_error=unigram_error,
        answer=settings.answer,
        caps=settings.caps.model_dump(),
        least_noise=_luck(joined, problem, measure, unigram_error) if has_one_seed else 0.0,
        error_source=settings.error_source,
    )
    table, error_model = predict_errors(choice.table, problem, measure=measure)
    # Over the cap on the error: its W is no find.
    unranked = table.index[table["is_trained"] & ~table["meets_caps"]].tolist()
    bound = guarantee(problem, outcomes_of(table, measure), unranked=unranked)
    report = SearchReport(
        **_asked(settings),
        budget=problem.budget,
        published=_published(settings, problem, maximum),
        **_counted(table, candidate_errors),
        **_chosen(table, choice),
        is_network=is_network,
        baseline_errors=dict(baseline_errors),
        trainings_spent=_spent(candidate_errors, settings),
        num_better_than_maximum=len(_better_than_maximum(table, maximum, measure)),
        maximum_point=MaximumPointRow.of(maximum_point),
        seconds=round(_sum_of("seconds", candidate_errors, maximum_point), 1),
        num_tokens=int(_sum_of("num_tokens", candidate_errors, maximum_point)),
        error_model=error_model,
        guarantee=GuaranteeReport(
            **dict(bound), bound_shape=None if bound.bound_index is None else _shape(table, bound.bound_index)
        ),
        sensitivity=_sensitivity(table, maximum, {measure: settings.error_measure}),
        notes=(*_early_end(candidate_errors), *notes(choice, maximum, bound, settings)),
        **known,
    )
    return table, report.selected.four(), report


def _sensitivity(table: pd.DataFrame, maximum: MaximumPoint, named: Mapping[str, str]) -> tuple[SensitivityRow, ...]:
    """Whom W would choose with a larger T, by the names of the measures."""
    found = sensitivity(table, maximum=maximum)
    return tuple(
        SensitivityRow(
            multiple=multiple, by_measure={named.get(name, name): _shape(table, at) for name, at in best.items()}
        )
        for multiple, best in found.items()
    )


def _asked(settings: SearchSettings) -> JsonObject:
    """What of the settings a report repeats."""
    is_recorded = settings.error_source == "table"
    names = {"strategy", "cost", "answer", "error_measure", "error_source", "start"}
    return settings.model_dump(include=names) | {
        "caps": settings.caps,
        "num_seeds": None if is_recorded else settings.num_seeds,
        "task": settings.task if settings.error_measure == "task" else None,
        "runtime": None if is_recorded else settings.latency.runtime,
        "recorded_maximum_multiple": settings.recorded_maximum_multiple if is_recorded else None,
    }


def _published(settings: SearchSettings, problem: SearchProblem, maximum: MaximumPoint) -> PublishedScheme | None:
    """What the published scheme promises of this search; None of any other."""
    if settings.strategy != "fptas" or settings.error_source == "table":
        return None
    interval = settings.interval or max(1.0, len(problem) / problem.budget)
    num_steps, batch = settings.training.optimization.num_steps, settings.training.batch_tokens
    num_sets, num_trained = len(settings.hyperparameter_sets), min(len(problem), problem.budget)
    epsilon = epsilon_of(num_steps, interval)
    return PublishedScheme(
        interval=interval,
        epsilon=epsilon,
        num_steps=num_steps,
        batch_tokens=batch,
        num_sets=num_sets,
        promised=running_time(
            num_candidates=len(problem),
            num_weights=maximum.parameters,
            num_sets=num_sets,
            batch=batch,
            epsilon=epsilon,
            interval=interval,
        ),
        planned=len(problem) + maximum.parameters * (1 + num_trained * num_sets * num_steps * batch),
    )


def _counted(table: pd.DataFrame, candidate_errors: pd.DataFrame) -> JsonObject:
    """How many candidates there are, and what became of them."""
    return {
        "num_candidates": len(table),
        "num_trained": int(table["is_trained"].sum()),
        "num_tried": int(candidate_errors["candidate"].nunique()),
        **{f"num_{how}": _how_many(candidate_errors, f"was_{how}") for how in ("known", "given")},
        "num_on_plateau": int((table["is_on_plateau"] & table["is_trained"]).sum()),
        "num_failed": int(table["has_failed"].sum()),
    }


def _how_many(candidate_errors: pd.DataFrame, column: str) -> int:
    return int(candidate_errors[column].sum()) if column in candidate_errors else 0


def _early_end(candidate_errors: pd.DataFrame) -> list[str]:
    reasons = candidate_errors.get("ended_by", pd.Series(dtype=object)).dropna()
    return [
        f"The search ended before its budget was spent: {reason}. A looser limit goes on from here."
        for reason in reasons
    ]


def _chosen(table: pd.DataFrame, choice: Choice) -> JsonObject:
    """The choice, and what was nearly chosen or could have been."""
    return {
        "selected": _candidate(table, choice.selected),
        "runner_up": None if choice.runner_up is None else _candidate(table, choice.runner_up),
        "is_distinguishable": choice.is_distinguishable,
        "pareto_front": tuple(_shape(table, index) for index in table.index[table["is_pareto"]]),
    }


def _luck(table: pd.DataFrame, problem: SearchProblem, measure: str, unigram_error: float | None) -> float:
    """By how much a regression on the shape misses, as a share: the best estimate of a seed's luck there is."""
    on_plateau = is_on_plateau(table["error"], table["error_standard_error"], unigram_error)
    learned = table[table["is_trained"] & ~on_plateau]
    share = relative_residual(problem.shapes[learned.index], learned[measure].to_numpy(float))
    return share if math.isfinite(share) else 0.0


def _shape(table: pd.DataFrame, index: int) -> ShapeValues:
    return ShapeValues(**{name: int(table.at[index, name]) for name in SHAPE_COLUMNS})


def _candidate(table: pd.DataFrame, index: int) -> Candidate:
    return Candidate.from_json(json.loads(table.loc[index].to_json()))


def _spent(candidate_errors: pd.DataFrame, settings: SearchSettings) -> float:
    """Full trainings, every seed and hyperparameter set included; look-ups where nothing was trained."""
    candidates = float(candidate_errors.groupby("candidate")["share"].max().sum())
    is_recorded = settings.error_source == "table"
    repeats = 1 if is_recorded else settings.num_seeds * len(settings.hyperparameter_sets)
    return round(repeats * (candidates - _how_many(candidate_errors, "was_given")), 3)


def _sum_of(name: str, candidate_errors: pd.DataFrame, maximum_point: TableRow) -> float:
    """What the last rung of each candidate took, which counts those before it, and the maximum point."""
    last = candidate_errors.sort_values("share").groupby("candidate")[name].last()
    return float(last.sum()) + float(maximum_point.get(name, 0.0))


def notes(choice: Choice, maximum: MaximumPoint, bound: Guarantee, settings: SearchSettings) -> list[str]:
    """What a reader must know before believing the choice."""
    table, measure, is_recorded = choice.table, settings.error_column, settings.error_source == "table"
    found = _maximum_is_not_best(_better_than_maximum(table, maximum, measure), maximum, settings)
    on_plateau = table[table["is_on_plateau"] & table["is_trained"]]
    guess = BASELINES["constant" if settings.error_measure == "task" else "unigram"]
    if len(on_plateau):
        found.append(f"No better than {guess}, hence not ranked: {_names(on_plateau.to_dict('records'))}.")
    if maximum.is_on_plateau:
        remedy = "raise params:search.maximum_point_steps, or change params:search.maximum_point_learning_rate"
        found.append(
            f"The maximum point is no better than {guess}, so it bounds nothing, and the regression does without it: "
            f"{remedy if settings.encoder is None else 'choose another params:search.maximum_point'}."
        )
    found += [
        f"The training of {shape_text(row)} failed, hence it is not ranked: {row['failure']}."
        if row["has_failed"]
        else f"Of {shape_text(row)} some trainings failed, and the other hyperparameter sets count: {row['failure']}."
        for row in table[table["failure"].notna()].to_dict("records")
    ]
    if bound.num_violations:
        known, where = ("rows looked up", "table") if is_recorded else ("trained candidates", "space")
        found.append(
            f"In {bound.num_violations} of {bound.num_comparable} pairs of {known} where one contains the other, the "
            f"larger one has the higher {settings.error_measure}, beyond their noise: the order of errors that the "
            f"guarantee rests on does not hold for all of this {where}"
            f"{'.' if is_recorded else ' after so short a training.'}"
        )
    cap, selected = settings.caps.max_latency_ms, table.loc[choice.selected]
    if cap is not None and selected["latency_source"] == "modelled":
        found.append(
            f"The choice meets max_latency_ms {cap:,.10g} with {selected['latency_ms']:.3g} ms, but its latency is "
            "modelled, not measured."
        )
    return found


def _better_than_maximum(table: pd.DataFrame, maximum: MaximumPoint, measure: str) -> pd.Series:
    """Errors below T's beyond its noise, of those that learned; none where T itself did not, and so measures nobody.

    The noise matters where T's own shape is a candidate and one of its two trainings is T's error (`distance`).
    """
    errors: pd.Series = table.loc[~table["is_on_plateau"], measure]
    least = maximum.error - STANDARD_ERRORS_TO_WIN * maximum.standard_error
    return errors[(errors < least) & (not maximum.is_on_plateau)]


def _maximum_is_not_best(better: pd.Series, maximum: MaximumPoint, settings: SearchSettings) -> list[str]:
    """That T is not what its definition asks, where it is not."""
    if better.empty:
        return []
    known = f"(best {better.min():.3f} against {maximum.error:.3f})"
    if settings.error_source == "table":
        return [
            f"{len(better)} row(s) have a lower error than the maximum point {known}: the largest row of the table is "
            "not its best, as the definition of T asks."
        ]
    when = "once trained further" if settings.start == "teacher" else "after their own steps"
    return [
        f"{len(better)} candidate(s) had a lower {settings.error_measure} than the maximum point {when} {known}: T is "
        f"not the best network of the family yet, as its definition asks; {_better_maximum(settings)}."
    ]


def _better_maximum(settings: SearchSettings) -> str:
    """What helps where candidates are better than T."""
    if settings.error_measure == "distance":  # T's own is what the training of a candidate leaves of its shape
        return "train all of them longer, T's own shape too (params:search.training.optimization.num_steps)"
    if settings.encoder is not None:
        return (
            "choose another maximum point, or measure candidates against this one (params:search.error_measure "
            "divergence)"
        )
    return "train it longer (params:search.maximum_point_steps) or choose another maximum point"


def _names(rows: Sequence[TableRow]) -> str:
    return ", ".join(shape_text(row) for row in rows)

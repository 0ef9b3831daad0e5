"""Nodes of a search whose errors come from a recorded table instead of trainings."""

from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from bort_kedro.datasets.candidate_csv import OPTIONAL_COLUMNS, as_numbers
from bort_kedro.encoders.costs import recorded_operations
from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.errors import ConfigurationError
from bort_kedro.frozen import JsonObject
from bort_kedro.search.answers import CAPPED, require_within_caps
from bort_kedro.search.candidates import order, problem_of, spending_of, with_end
from bort_kedro.search.conclusion import conclude
from bort_kedro.search.loop import run_search
from bort_kedro.search.replay import Recorded, bands, compare, subspaces
from bort_kedro.search.report import SearchReport
from bort_kedro.search.settings import SearchSettings
from bort_kedro.search.strategies import STRATEGIES, SearchProblem, build_strategy

# A table knows the error alone.
MEASURE = "error"
# Strategies are compared on random parts of the table, for budgets of these shares of a part.
NUM_PARTS = 5
PART_SHARE, LARGEST_PART = 0.6, 300
BUDGET_SHARES = (0.04, 0.1, 0.2, 0.3)
# Numbers of a row that are no cost of its shape.
NO_COSTS = (*SHAPE_COLUMNS, "error", "error_standard_error", "row")


def order_recorded(
    recorded_candidates: pd.DataFrame, search: SearchSettings
) -> tuple[pd.DataFrame, JsonObject, dict[str, int]]:
    """The table's rows under the caps in the order (p, i), and T: its own row, or a point above them all.

    Such a point has the shape and the error of the largest row, by parameters, then cost.

    Raises:
        ConfigurationError: If the cost is no column of numbers above 0, a cap is on a latency that the table lacks, or
            no row meets the caps.
    """
    for name in ("max_latency_ms", "max_megabytes"):
        cap = getattr(search.caps, name)
        if CAPPED[name] not in recorded_candidates and cap is not None:
            raise ConfigurationError(
                f"params:search.caps.{name} is {cap:,.10g}, and the recorded table has no column `{CAPPED[name]}` that "
                "could be held against it. Set it to null, or give the table one."
            )
    unknown = {name: np.nan for name in OPTIONAL_COLUMNS if name not in recorded_candidates}
    table = recorded_candidates.assign(
        operations=recorded_operations(recorded_candidates, sequence_length=search.latency.sequence_length),
        latency_source="recorded",
    )
    if search.error_measure == "task":
        errors = _above_zero(table, str(search.task), "task", str(search.task))
        # What noise the table has is that of its own column.
        table = table.assign(error=errors, error_standard_error=np.nan)
    table["cost"] = _above_zero(table, search.cost_column, "cost", search.cost)
    table = table.assign(**unknown)
    is_maximum = _is_maximum(table, search)
    candidates = table[~is_maximum]
    if is_maximum.any():
        maximum = table[is_maximum].iloc[0].to_dict()
    else:
        largest = candidates[["parameters", "operations", "latency_ms", "megabytes", "cost"]].max()
        # A search trains T before all others: what is looked up for it is the largest row, and not the best.
        maximum = order(candidates).iloc[-1].to_dict() | dict(search.recorded_maximum_multiple * largest)
    caps = search.caps.model_dump(exclude={"max_error"})
    is_allowed = require_within_caps(candidates, caps, what="rows of the recorded table", error_source="table")
    names = [*SHAPE_COLUMNS, "parameters", "operations", "cost", "error", *OPTIONAL_COLUMNS]
    counts = {"num_rows": len(table), "num_over_caps": int((~is_allowed).sum())}
    point = {name: _plain(maximum[name]) for name in names} | {"is_network": bool(is_maximum.any())}
    return order(candidates[is_allowed]), point, counts


def _above_zero(table: pd.DataFrame, column: str, key: str, value: str) -> pd.Series:
    """(N,) above 0, from the column that a value of the search names."""
    numbers = {name: as_numbers(table[name]) for name in table if name not in NO_COSTS}
    allowed = [name for name, values in numbers.items() if is_numeric_dtype(values)]
    remedy = f"Allowed are the columns of numbers: {', '.join(allowed)}. Change params:search.{key}, or the table."
    if column not in allowed:
        found = f"and column `{column}` holds {'no cost' if column in NO_COSTS else 'texts'}"
        if column not in table:
            found = f"and the recorded table has no column `{column}`"
        raise ConfigurationError(f"params:search.{key} is `{value}`, {found}. {remedy}")
    values = numbers[column].astype(float)
    unusable = table[~((values > 0) & np.isfinite(values))]
    if len(unusable):
        line, cell = unusable.iloc[0][["row", column]]
        raise ConfigurationError(
            f"params:search.{key} is `{value}`: line {line} of the recorded table has {cell!r} in column `{column}`, "
            "allowed are finite numbers above 0. Mend the table, or keep such rows out with `where` in the catalog "
            f"entry `recorded_candidates`, or change params:search.{key}."
        )
    return values


def _is_maximum(table: pd.DataFrame, search: SearchSettings) -> pd.Series:
    """(N,) True for rows of the maximum point's shape, if they are as large as all others, as T must be."""
    is_shape = (table[list(SHAPE_COLUMNS)] == list(search.stated_maximum().to_row().values())).all(axis=1)
    sizes = table[["parameters", "cost"]]
    is_largest = (sizes >= sizes.max()).all(axis=1)
    return is_shape & is_largest & (len(table) > int(is_shape.sum()))


def replay_errors(search_space: pd.DataFrame, maximum_point: JsonObject, search: SearchSettings) -> pd.DataFrame:
    """Look up the errors of whom the strategy asks for."""
    problem = _problem(search_space, maximum_point, search)
    recorded = recorded_errors(search_space)
    trace = run_search(build_strategy(search.strategy, problem), recorded, limits=search.limits())
    rows = [
        {
            "candidate": index,
            **{name: int(search_space.at[index, name]) for name in SHAPE_COLUMNS},
            "share": outcome.share,
            "error": outcome.error,
            # As the table has it: strategies take a noise that is not known for none.
            "error_standard_error": float(search_space.at[index, "error_standard_error"]),
            "seconds": 0.0,
            "num_tokens": 0,
        }
        for index, outcome in trace.outcomes.items()
    ]
    return with_end(pd.DataFrame(rows), trace)


def select_recorded(
    search_space: pd.DataFrame,
    candidate_errors: pd.DataFrame,
    maximum_point: JsonObject,
    recorded_counts: dict[str, int],
    search: SearchSettings,
) -> tuple[pd.DataFrame, dict[str, int], SearchReport]:
    """Choose a row of the table, and say why and how sure."""
    return conclude(
        search_space,
        candidate_errors,
        maximum_point,
        settings=search.changed(error_measure=MEASURE),
        baseline_errors={},
        num_over_caps=recorded_counts["num_over_caps"],
    )


def compare_strategies(search_space: pd.DataFrame, maximum_point: JsonObject, search: SearchSettings) -> pd.DataFrame:
    """What every strategy would have found on random parts of this table, for which number of trainings."""
    problem = _problem(search_space, maximum_point, search)
    size = min(LARGEST_PART, max(1, round(PART_SHARE * len(problem))))
    parts = subspaces(problem, recorded_errors(search_space), count=NUM_PARTS, size=size)
    names = [name for name in STRATEGIES if name != "exhaustive"]
    budgets = sorted({max(2, round(share * size)) for share in BUDGET_SHARES})
    return bands(compare(names, parts, budgets=budgets, with_guarantee=False))


def recorded_errors(search_space: pd.DataFrame) -> Recorded:
    """What a strategy is answered with on a table."""
    noise = search_space["error_standard_error"].fillna(0.0).to_numpy(float)
    return Recorded(search_space["error"].to_numpy(float), noise, {})


def _plain(value: Any) -> Any:
    """A Python number, so that JSON can hold it; None for NaN, which JSON has not."""
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _problem(search_space: pd.DataFrame, maximum_point: JsonObject, search: SearchSettings) -> SearchProblem:
    return problem_of(
        search_space,
        maximum_point,
        measure=MEASURE,
        is_network=maximum_point["is_network"],
        **spending_of(search, search_space),
    )

"""Which of the candidates that meet the caps is the answer, for each question a user may ask."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bort_kedro.encoders.shapes import shape_text
from bort_kedro.errors import ConfigurationError

# Candidates named when none meets the caps.
NEAREST_NAMED = 3
# Depths below the line of a front's ends that are no more than rounding, on axes from 0 to 1.
LEAST_BEND = 1e-9
# Column of the candidate table that each cap limits.
CAPPED = {
    "max_parameters": "parameters",
    "max_operations": "operations",
    "max_latency_ms": "latency_ms",
    "max_megabytes": "megabytes",
    "max_error": "error",
}


def largest_w(table: pd.DataFrame, measure: str) -> int:
    """The row with the largest W."""
    return int(table["w"].idxmax())


def smallest_error(table: pd.DataFrame, measure: str) -> int:
    """The row with the smallest error, the cheaper one of equals."""
    return int(table.sort_values([measure, "cost"], kind="stable").index[0])


def knee(table: pd.DataFrame, measure: str) -> int:
    """The row of the Pareto front farthest below the line from its cheapest cost and worst error to the reverse.

    Both axes, log(cost) and error, are scaled to the front's range first (our decision,
    docs/decisions/0008-answers.md). A front of one or two rows, or none of whose rows lies below the line, has no bend
    of that kind: then the row with the largest W.
    """
    front = table[table["is_pareto"]]
    cost, error = np.log(front["cost"].to_numpy(float)), front[measure].to_numpy(float)
    if len(front) < 3 or np.ptp(cost) == 0 or np.ptp(error) == 0:
        return largest_w(front, measure)
    below = depths_below_line(cost, error)
    if below.max() <= LEAST_BEND:
        return largest_w(front, measure)
    return int(front.index[int(np.argmax(below))])


def depths_below_line(log_cost: NDArray[np.floating], error: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) how far each member of a front lies below the line through its ends, both axes from 0 to 1."""
    depths = 1.0 - (log_cost - log_cost.min()) / np.ptp(log_cost) - (error - error.min()) / np.ptp(error)
    return np.asarray(depths, dtype=np.float64)


# Every one is given the ranked rows that meet the caps. The whole front is an answer too; the stages that need
# one shape take its row with the largest W.
ANSWERS: dict[str, Callable[[pd.DataFrame, str], int]] = {
    "largest_w": largest_w,
    "pareto_front": largest_w,
    "smallest_error": smallest_error,
    "knee": knee,
}


def excess(table: pd.DataFrame, caps: dict[str, float | None]) -> pd.Series:
    """How far each row is over the cap it misses most, as a ratio less one; 0 or below meets them all.

    A value that is not known (NaN) is not held against a row. Columns are those of `CAPPED`, as far as they are there;
    a cap that is None is none.
    """
    ratios = [
        table[CAPPED[name]] / cap - 1.0 for name, cap in caps.items() if cap is not None and CAPPED[name] in table
    ]
    if not ratios:
        return pd.Series(-np.inf, index=table.index)
    return pd.concat(ratios, axis=1).max(axis=1).fillna(-np.inf)


def require_within_caps(
    table: pd.DataFrame, caps: dict[str, float | None], *, what: str, error_source: str = "training"
) -> pd.Series:
    """(N,) True for rows that meet every cap; see `excess`.

    Raises:
        ConfigurationError: If none does; the text names the nearest, what they have, and what to change besides the
            caps.
    """
    over = excess(table, caps)
    if (over <= 0).any():
        return over <= 0
    asked = ", ".join(f"{name} {cap:,.10g}" for name, cap in caps.items() if cap is not None)
    nearest = [_describe(table.loc[index], caps) for index in over.sort_values(kind="stable").index[:NEAREST_NAMED]]
    raise ConfigurationError(
        f"None of the {len(table)} {what} meets the caps ({asked}). Nearest:\n"
        + "\n".join(f"  - {line}" for line in nearest)
        + f"\n{_remedy(error_source, is_error_capped=caps.get('max_error') is not None)}"
    )


def _remedy(error_source: str, *, is_error_capped: bool) -> str:
    """What a user can change so that some row meets the caps."""
    if error_source == "table":
        more = "look up more rows (params:search.budget)"
        space = "change the table, or its `where`, in the catalog entry `recorded_candidates`"
    else:
        more = "train more candidates (params:search.budget) or longer (params:search.training.optimization.num_steps)"
        space = "give params:search.space shapes that can meet them"
    remedies = ["Raise the caps under params:search.caps", *([more] if is_error_capped else []), f"or {space}"]
    return f"{', '.join(remedies)}."


def _describe(row: pd.Series, caps: dict[str, float | None]) -> str:
    values = [
        f"{CAPPED[name]} {row[CAPPED[name]]:,.10g}" + (" (over)" if row[CAPPED[name]] > cap else "")
        for name, cap in caps.items()
        if cap is not None and CAPPED[name] in row
    ]
    return f"{shape_text(row)}: {', '.join(values)}"

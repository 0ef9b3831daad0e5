"""What searches elsewhere found, as observations of this one: checked, and in the form of its own rows."""

from reprlib import repr as shortened

import numpy as np
import pandas as pd

from bort_kedro.encoders.shapes import SHAPE_COLUMNS, shape_text
from bort_kedro.errors import ConfigurationError
from bort_kedro.frozen import JsonObject
from bort_kedro.search.candidates import places_of
from bort_kedro.search.measures import measured_with
from bort_kedro.search.settings import SearchSettings

TABLE = "the catalog's `earlier_candidates`"
STATED = "stated"


def observations(
    table: pd.DataFrame, search_space: pd.DataFrame, search: SearchSettings, *, trained_as: str
) -> dict[int, JsonObject]:
    """Rows as `TrainedErrors` has them, by the candidate they are of.

    The table has the columns of a candidate table: the shape, all that this search measures, and which hyperparameter
    set was the best where there are several; standard errors and ``parameters`` are read where they are there. Rows
    without an error (not trained, or failed) and those of other shapes are left out.

    Raises:
        ConfigurationError: Names the column, or the line (the header being 1) and the cell, that cannot be used; or if
            candidates were trained otherwise, or none is of this space.
    """
    measured = measured_with(search.error_measure)
    many_sets = ["hyperparameter_set"] if len(search.hyperparameter_sets) > 1 else []
    is_checked = search.earlier_candidates == "checked"
    _require_columns(table, [*SHAPE_COLUMNS, *measured, *many_sets, *(["trained_as"] if is_checked else [])])
    trained = _trained(table, [*SHAPE_COLUMNS, *measured], len(search.hyperparameter_sets))
    places = places_of(search_space)
    shapes = [tuple(int(size) for size in sizes) for sizes in trained[list(SHAPE_COLUMNS)].itertuples(index=False)]
    found = trained.assign(candidate=[places.get(shape, -1) for shape in shapes]).query("candidate >= 0")
    if found.empty:
        raise ConfigurationError(
            f"None of the {len(table)} rows of {TABLE} has the error of one of the {len(search_space)} candidates. "
            "Name another table there, change params:search.space, or set params:search.earlier_candidates to none."
        )
    _require_alike(found, search_space, trained_as if is_checked else None)
    return {
        int(row["candidate"]): {
            "candidate": int(row["candidate"]),
            **{name: int(row[name]) for name in SHAPE_COLUMNS},
            "share": 1.0,
            "hyperparameter_set": int(row.get("hyperparameter_set", 0)),
            "num_seeds": search.num_seeds,
            **{name: float(row[name]) for name in measured},
            **{f"{name}_standard_error": float(row.get(f"{name}_standard_error", np.nan)) for name in measured},
            "seconds": 0.0,
            "num_tokens": 0,
            "trained_as": trained_as if is_checked else STATED,
            "failure": None,
        }
        for row in found.to_dict("records")
    }


def _require_columns(table: pd.DataFrame, needed: list[str]) -> None:
    missing = [name for name in needed if name not in table]
    if missing:
        also = (
            " Without `trained_as` nothing can be checked: if you know that all were trained as this search would, set "
            "params:search.earlier_candidates to stated."
        )
        raise ConfigurationError(
            f"The table of {TABLE} has no column {', '.join(missing)}; needed are {', '.join(needed)}, as a candidate "
            f"table has them.{also if 'trained_as' in missing else ''}"
        )


def _trained(table: pd.DataFrame, needed: list[str], num_sets: int) -> pd.DataFrame:
    """Rows whose needed cells all hold numbers above 0."""
    noise = [name for name in table if str(name).endswith("_standard_error")]
    others = [name for name in ("hyperparameter_set", "parameters") if name in table]
    # As texts, since whole numbers beyond those of a computer would be a fault of pandas otherwise.
    numbers = table[[*needed, *noise, *others]].astype(object).map(str).apply(pd.to_numeric, errors="coerce")
    for name in needed:
        is_text = numbers[name].isna() & table[name].notna()
        is_wrong = is_text | ~numbers[name].fillna(1.0).between(0, np.inf, inclusive="neither")
        _refuse(table[is_wrong], name, "a finite number above 0, or nothing where nothing was trained")
    trained = table.assign(**numbers).dropna(subset=needed)
    for name in SHAPE_COLUMNS:
        _refuse(trained[trained[name] % 1 != 0], name, "a whole number")
    _refuse(trained[trained.duplicated(list(SHAPE_COLUMNS))], SHAPE_COLUMNS[0], "each shape once")
    if "hyperparameter_set" in trained:
        is_known = trained["hyperparameter_set"].isin(range(num_sets))
        _refuse(trained[~is_known], "hyperparameter_set", f"a number from 0 to {num_sets - 1}")
    return trained


def _refuse(rows: pd.DataFrame, column: str, allowed: str) -> None:
    """Of the rows that cannot be used, name the first."""
    for line, cell in zip(rows.index + 2, rows[column], strict=True):
        raise ConfigurationError(
            f"Line {line} of {TABLE} has {shortened(cell)} in column `{column}`, allowed is {allowed}. Mend the table, "
            "or name another one there."
        )


def _require_alike(found: pd.DataFrame, search_space: pd.DataFrame, trained_as: str | None) -> None:
    """Refuse what was trained otherwise, as far as it can be seen."""
    counted = search_space["parameters"].loc[found["candidate"]].to_numpy()
    for line, row, parameters in zip(found.index + 2, found.to_dict("records"), counted, strict=True):
        if row.get("parameters", parameters) != parameters:
            raise ConfigurationError(
                f"Line {line} of {TABLE} has {row['parameters']:,.0f} parameters for {shape_text(row)}, which has "
                f"{parameters:,.0f} with the vocabulary and the positions of this search, so it was not trained alike. "
                "Name another table there, or set params:search.earlier_candidates to none."
            )
        if trained_as is not None and row["trained_as"] != trained_as:
            raise ConfigurationError(
                f"Line {line} of {TABLE} was trained as `{row['trained_as']}`, and this search trains as "
                f"`{trained_as}`: corpus, vocabulary, maximum point, settings, sets, seeds, measure or versions "
                "differ. Name another table there, or set params:search.earlier_candidates to none; to stated only "
                "where you know that what differs changes no error."
            )

"""A table of candidates that somebody measured, as spaces to compare samplers on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.page import Part, write_page
from benchmarks.search.samplers import Space, ask_all
from benchmarks.search.samplers_page import samplers_part
from bort_kedro.datasets.candidate_csv import RecordedCandidatesDataset
from bort_kedro.pipelines.search.recorded_nodes import MEASURE, order_recorded, recorded_errors
from bort_kedro.search.candidates import problem_of, spending_of
from bort_kedro.search.replay import subspaces
from bort_kedro.search.settings import SearchSettings

NUM_PARTS = 20
# Of the rows in a part: of a table of 500, 300.
PART_SHARE = 0.6
# Trainings, as far as a part has more rows; leads are judged at the first.
BUDGETS = (12, 30, 60)
DRAWS = {"surrogate": 1, "fptas": 1, "random": 1, "TPE": 1, "NSGA-II": 1}
# A Gaussian process takes a minute a search.
GAUSSIAN_DRAWS, GAUSSIAN_PARTS = {"GP": 1}, 3


def parts_of_table(file: str, search: SearchSettings) -> tuple[list[Space], int]:
    """Random parts of a table, and its number of rows."""
    table = RecordedCandidatesDataset(filepath=file).load()
    space, maximum, _ = order_recorded(table, search)
    problem = problem_of(
        space, maximum, measure=MEASURE, is_network=maximum["is_network"], **spending_of(search, space)
    )
    size = max(2, round(PART_SHARE * len(problem)))
    return subspaces(problem, recorded_errors(space), count=NUM_PARTS, size=size), len(table)


def compare_on_table(file: str, search: SearchSettings, *, folder: Path) -> None:
    """Write ``search-table.md`` and its figures.

    Args:
        file: The table.
        search: Says which column is the cost, and where the work is done.
        folder: For both files.
    """
    parts, num_rows = parts_of_table(file, search)
    size = len(parts[0][0])
    budgets = [budget for budget in BUDGETS if budget < size // 2] or [max(1, size // 4)]
    found = pd.concat(
        ask_all(spaces, search, budgets=budgets, draws=draws)
        for spaces, draws in ((parts, DRAWS), (parts[:GAUSSIAN_PARTS], GAUSSIAN_DRAWS))
    )
    name = Path(file).name
    sentence = f"{NUM_PARTS} random parts of {size} of the {num_rows} rows of `{name}`, with its errors."
    write_page(
        "search-table",
        f"Searches on {name}",
        [samplers_part(found, judged=budgets[0], spaces=sentence), Part("", f"Cost: `{search.cost_column}`.")],
        {"rows": num_rows, "parts": NUM_PARTS, "part_size": size, "cost": search.cost_column},
        command=f"make bench-search TABLE={name}",
        packages=("optuna", "numpy"),
        folder=folder,
    )

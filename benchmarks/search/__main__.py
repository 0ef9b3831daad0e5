"""Hold the search's strategies against a space whose every candidate was trained; writes docs/benchmarks/search.*."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.command import command_line
from benchmarks.search.measured_space import bench_parameters, spaces_of, tokens_of, train_all
from benchmarks.search.overhead import overhead_seconds
from benchmarks.search.page import SEARCH_SECONDS, overhead_part, write
from benchmarks.search.recorded_table import compare_on_table
from benchmarks.search.replays import play_all
from benchmarks.search.samplers import ask_all
from benchmarks.search.samplers_page import samplers_part
from benchmarks.texts import embedded_text
from bort_kedro.params import Parameters

# Strategies and the bound were shaped on trainings of seeds 0 to 2; they are judged on others.
FIRST_SEED = 100
# Trainings after which samplers are compared, and the number that leads are judged at.
SAMPLED_BUDGETS, JUDGED_BUDGET = (6, 9, 12, 18), 12
# Searches of each space. Ours but `random` draw nothing; a Gaussian process takes seconds a search.
DRAWS = {"surrogate": 1, "fptas": 1, "random": 20, "TPE": 20, "GP": 10, "NSGA-II": 20}


def timed_training(parameters: Parameters, states: Path) -> tuple[pd.DataFrame, float | None]:
    """Errors of the whole space, and the seconds that corpus and trainings took if they ran in one go."""
    clock = states / "seconds.txt"
    is_fresh = not states.exists()
    began = time.perf_counter()
    tokens = tokens_of(embedded_text(), parameters)
    errors = train_all(tokens, parameters, states, first_seed=FIRST_SEED)
    if is_fresh:
        clock.write_text(f"{time.perf_counter() - began:.1f}\n")
    return errors, float(clock.read_text()) if clock.exists() else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not trained yet, replay the strategies, write the page; or the page of a table."""
    parser = command_line(__doc__)
    parser.add_argument("--table", default="", help="a table of candidates, to compare samplers on instead")
    given = parser.parse_args(arguments)
    parameters = bench_parameters()
    if given.table:
        compare_on_table(given.table, parameters.search, folder=given.folder)
        return
    began = time.perf_counter()
    # The first search of a process imports what it needs; that is no part of any search.
    overhead_seconds(min(SEARCH_SECONDS))
    overhead = {count: overhead_seconds(count) for count in SEARCH_SECONDS}
    before = time.perf_counter() - began
    errors, trained = timed_training(parameters, given.states / "search")
    began = time.perf_counter()
    spaces = spaces_of(errors, parameters, measure=parameters.search.error_measure)
    findings = play_all(spaces)
    sampled = ask_all(
        [(space.problem, space.recorded) for space in spaces], parameters.search, budgets=SAMPLED_BUDGETS, draws=DRAWS
    )
    whole = "The whole space, with the errors of each training seed."
    samplers = samplers_part(sampled, judged=JUDGED_BUDGET, spaces=whole)
    minutes = None if trained is None else (before + trained + time.perf_counter() - began) / 60
    write(
        errors, findings, parameters, samplers, overhead_part(overhead, minutes), trained=trained, folder=given.folder
    )


if __name__ == "__main__":
    main()

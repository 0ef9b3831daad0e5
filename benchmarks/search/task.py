"""Ask which measure of a training ranks shapes as a task does; writes docs/benchmarks/search-task.{md,json,csv}."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.command import command_line
from benchmarks.configured import raw_parameters
from benchmarks.search.task_page import write
from benchmarks.search.task_trainings import NUM_SEEDS, train_and_fine_tune
from benchmarks.texts import embedded_text
from bort_kedro.configuration import check_parameters
from bort_kedro.params import Parameters


def task_parameters() -> Parameters:
    """Those of ``conf/base``, whose space has 24 shapes, with several seeds."""
    return check_parameters(raw_parameters(search={"num_seeds": NUM_SEEDS}))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not trained yet, and write the page."""
    given = command_line(__doc__).parse_args(arguments)
    parameters = task_parameters()
    rows = train_and_fine_tune(embedded_text(), parameters, given.states / "search-task")
    write(rows, parameters, folder=given.folder)


if __name__ == "__main__":
    main()

"""Ask which short training ranks shapes as long ones do; writes docs/benchmarks/search-start.{md,json,csv}."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.command import command_line
from benchmarks.search.measured_space import bench_parameters
from benchmarks.search.start_page import write
from benchmarks.search.start_trainings import courses_of, train_courses
from benchmarks.texts import embedded_text


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not trained yet, and write the page."""
    given = command_line(__doc__).parse_args(arguments)
    parameters = bench_parameters()
    rows = train_courses(embedded_text(), parameters, given.states / "search-start")
    write(rows, courses_of(parameters.search), parameters, folder=given.folder)


if __name__ == "__main__":
    main()

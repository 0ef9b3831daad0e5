"""What a run found, on the terminal when it ends."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kedro.framework.hooks import hook_impl

from bort_kedro.configuration import ConfigurationLoader
from bort_kedro.evaluation.floors import floors_among
from bort_kedro.frozen import JsonObject
from bort_kedro.reporting.markdown import signed_points
from bort_kedro.reporting.task_rows import FloorRow, TaskRow
from bort_kedro.search.measures import BASELINES, MEASURES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol
    from rich.console import Console
    from rich.table import Table

    from bort_kedro.search.report import SearchReport

CANDIDATE_COLUMNS = {
    "parameters": "{:,.0f}",
    "operations": "{:,.0f}",
    "latency_ms": "{:.2f}",
    **dict.fromkeys(MEASURES, "{:.3f}"),
    "w": "{:.4f}",
}


# What a narrow terminal may leave out, the most important first.
CANDIDATE_COLUMNS_BY_RANK = (*MEASURES, "latency_ms", "parameters", "operations")
# Rows of the table; the rest is in the catalog.
CANDIDATES_SHOWN = 20
CANDIDATES = "search.candidate_table"
SEARCH = "search.search_report"
SCORES = "evaluate.task_scores"
REPORT = "evaluate.report"
REPORTS = {REPORT: "The report", "evaluate.report_page": "The same as one file, for a browser"}
# The exported models of a task in the catalog.
EXPORT = re.compile(r"evaluate\.[^.]+\.export")


class SummaryHook:
    """Prints the candidates, the choice, the scores and where the rest is, as far as this run made them.

    Args:
        candidates_page: Gives the address of MLflow's page of the candidates, or None where there is none.
    """

    def __init__(self, candidates_page: Callable[[], str | None] = lambda: None) -> None:
        self._candidates_page = candidates_page
        self._made: JsonObject = {}

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._loader = cast(ConfigurationLoader, context.config_loader)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        if dataset_name in {CANDIDATES, SEARCH, SCORES}:
            self._made[dataset_name] = data
        if dataset_name in REPORTS or EXPORT.fullmatch(dataset_name):
            self._made[dataset_name] = True

    @hook_impl(trylast=True)
    def after_pipeline_run(self, catalog: CatalogProtocol) -> None:
        from rich.console import Console

        # A log file has no width of its own; the tables need this much. A path may hold what is markup to rich.
        console = Console(width=None if Console().is_terminal else 120, markup=False)
        if CANDIDATES in self._made:
            _print_candidates(console, self._made[CANDIDATES], self._made[SEARCH])
        if SCORES in self._made:
            _print_scores(console, self._made[SCORES])
        places = _places(self._made, catalog)
        for number, (what, path) in enumerate(places.items()):
            console.print(f"{'' if number else chr(10)}{what}: {_relative(path)}", soft_wrap=True)
        if page := self._candidates_page():
            console.print(f"The candidates in MLflow (`make mlflow`): {page}", soft_wrap=True)
        if REPORT in self._made:
            if said := self._loader.said():
                console.print(said, highlight=False)
            console.print("Look further: `make viz` (graph, tables, plots) and `make mlflow` (tracked runs).\n")
        self._made.clear()


def _places(made: Mapping[str, object], catalog: CatalogProtocol) -> dict[str, Path]:
    """Where to find what a person opens next, by what it is."""
    places = {title: Path(catalog[name]._get_load_path()) for name, title in REPORTS.items() if name in made}
    exports = [Path(catalog[name]._get_load_path()) for name in made if EXPORT.fullmatch(name)]
    if exports:
        # Of a task: <folder>/<task>/<version>/<task>.
        places["Models for other runtimes"] = exports[0].parents[2]
    return places


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _print_candidates(console: Console, table: pd.DataFrame, report: SearchReport) -> None:
    import numpy as np
    from rich.table import Table

    from bort_kedro.encoders.shapes import shape_text

    trained = table[table["is_trained"]].sort_values("w", ascending=False)
    is_shown = (np.arange(len(trained)) < CANDIDATES_SHOWN) | trained["is_selected"]
    best = trained[is_shown]
    shown = Table(title=_title(num_shown=len(best), trained=trained, table=table, report=report), title_justify="left")
    shown.add_column("shape (D, A, H, I)")
    columns = {name: text for name, text in CANDIDATE_COLUMNS.items() if name in table}
    if report.own_cost:
        best = best.assign(**{report.own_cost: best["cost"]})
        columns = {report.own_cost: "{:.4g}", **columns}
    for name in columns:
        shown.add_column(name, justify="right")
    for row in best.to_dict("records"):
        mark = " *" if row["is_pareto"] else ""
        cells = ["-" if row[name] != row[name] else text.format(row[name]) for name, text in columns.items()]
        shown.add_row(f"{shape_text(row)}{mark}", *cells, style="bold" if row["is_selected"] else None)
    _print_fitting(console, shown, [*([report.own_cost] if report.own_cost else []), *CANDIDATE_COLUMNS_BY_RANK])
    for line in _search_lines(report):
        console.print(line, highlight=False)


def _title(*, num_shown: int, trained: pd.DataFrame, table: pd.DataFrame, report: SearchReport) -> str:
    from bort_kedro.reporting.report_certainty import done_words

    tried = f"rows {done_words(report)}" if report.is_recorded else "trained candidates"
    which = tried.capitalize()
    if num_shown < len(trained):
        # The choice need not be among the best by W.
        which = f"The best {CANDIDATES_SHOWN} {tried}"
        which += " and the chosen one" if num_shown > CANDIDATES_SHOWN else ""
    return f"{which}, {len(trained)} of {len(table)}, by W (* on the Pareto front)"


def _search_lines(report: SearchReport) -> list[str]:
    """What the table does not show: baselines, the choice, who comes next, and how far it may be from the best."""
    from bort_kedro.reporting.report_certainty import effort_words, guarantee_sentence, runner_up_sentence

    lines = []
    if baselines := report.baseline_errors:
        errors = [f", of {BASELINES[name]} {error:.3f}" for name, error in baselines.items()]
        lines.append(f"Error of the maximum point {report.maximum_point.error:.3f}{''.join(errors)}.")
    chosen = report.selected
    lines.append(
        f"Selected ({report.answer}): {chosen.num_hidden_layers} layers, {chosen.num_attention_heads} heads, "
        f"hidden size {chosen.hidden_size}, intermediate size {chosen.intermediate_size} (W over "
        f"{report.error_measure})."
    )
    lines.append(runner_up_sentence(report).replace("**", ""))
    lines.append(f"Strategy {report.strategy}, {effort_words(report)}. {guarantee_sentence(report)}")
    return lines


def _print_scores(console: Console, scores: pd.DataFrame) -> None:
    from rich.table import Table

    shown = Table(title="Tasks, on test examples that fine-tuning never saw", title_justify="left")
    rows = [TaskRow.from_row(row) for row in scores.to_dict("records")]
    lead = ["points over\nplain"] if any("plain" in row.rivals for row in rows) else []
    # In two lines, so that all fits into 100 columns.
    among = floors_among(row.floors for row in rows)
    floors = [f"{floor.title.split()[0]}\nbeaten" for floor in among.values()]
    for name in ["task", "method", "metric", "score", "interval", *floors, *lead]:
        shown.add_column(name, justify="left" if name in {"task", "method", "metric"} else "right")
    for row in rows:
        shown.add_row(
            row.task,
            row.method,
            row.metric.replace("_", " "),
            f"{row.score:.3f}",
            _interval(row),
            *(_floor(row.floors.get(name)) for name in among),
            *(_lead(row) for _ in lead),
        )
    _print_fitting(console, shown, ["interval", *lead, *floors, "method", "metric"])


def _print_fitting(console: Console, table: Table, by_rank: Sequence[str]) -> None:
    """A table with those of its columns that fit whole, and a line that names the others.

    Args:
        console: To print on.
        table: Whose columns outside the ranking are shown in any case.
        by_rank: Headers of the others, the most important first.
    """
    wide = console.options.update(max_width=sys.maxsize)
    columns, left_out = table.columns, []
    table.columns = [column for column in columns if column.header not in by_rank]
    for name in by_rank:
        before, kept = table.columns, {name, *(column.header for column in table.columns)}
        table.columns = [column for column in columns if column.header in kept]
        if console.measure(table, options=wide).maximum > console.width and len(table.columns) > len(before):
            table.columns = before
            left_out.append(name.replace("\n", " "))
    console.print(table)
    if left_out:
        console.print(f"A wider terminal shows more columns: {'; '.join(left_out)}.", highlight=False)


def _interval(row: TaskRow) -> str:
    """Of a score; its standard error where there is none, as of a single example."""
    if row.interval_low is None or row.interval_high is None:
        return f"± {row.standard_error:.3f}"
    return f"{row.interval_low:.3f} to {row.interval_high:.3f}"


def _floor(floor: FloorRow | None) -> str:
    """Whether a floor is beaten, and its score."""
    return "-" if floor is None else f"{'yes' if floor.is_beaten else 'no'} {floor.score:.3f}"


def _lead(row: TaskRow) -> str:
    """Points that Agora is ahead of plain fine-tuning; empty of a task without Agora."""
    plain = row.rivals.get("plain")
    return "" if plain is None else signed_points(plain.lead, plain.lead_standard_error)

"""What a run found, on one screen of the terminal when it ends, and what to type next."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.hooks import hook_impl

from bort_kedro.datasets.local_disk import seen
from bort_kedro.pipelines.namespaces import stage_of, without_stage
from bort_kedro.session.next_commands import EXPORTS, TRAINED_SEARCH, next_lines
from bort_kedro.session.screen import screen
from bort_kedro.session.unfinished import TRAINING_STATES, trainings_since

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline

    from bort_kedro.frozen import JsonObject
    from bort_kedro.session.screen import Section

HEIGHT, WIDTH = 24, 100
SEARCH, CANDIDATES, SHAPE = "search_report", "candidate_table", "selected_shape"
PRETRAINING, SCORES, CORPUS = "pretraining_metrics", "task_scores", "corpus_manifest"
TOLD = {SEARCH, CANDIDATES, SHAPE, PRETRAINING, SCORES, CORPUS}
# Of each task.
EXAMPLES, FINETUNING, EXPORTED = ".examples_report", ".finetuning_report", ".export_report"
REPORT_PAGE, EXPORT = "evaluate.report_page", re.compile(r"evaluate\.[^.]+\.export")


class SummaryHook:
    """Prints what the run has found and where it is, from what its nodes have made or read."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        self._pipeline, self._began = pipeline, time.time()
        # By the name without the stage.
        self._found: JsonObject = {}
        self._saved: set[str] = set()

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        name = without_stage(dataset_name)
        # A pipeline that a user has added may call something else so.
        is_ours = name != dataset_name or name == SHAPE
        if is_ours and (name in TOLD or name.endswith((EXAMPLES, FINETUNING, EXPORTED))):
            self._found[name] = data

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        self._saved.add(dataset_name)
        self.after_dataset_loaded(dataset_name, data)

    @hook_impl(trylast=True)
    def after_pipeline_run(self, catalog: CatalogProtocol) -> None:
        found, stages = self._found, {stage_of(node) for node in self._pipeline.nodes}
        sections, places = sections_of(found), _places(self._saved, catalog)
        if not sections and not places:
            return
        made = {EXPORTS} if "Exports" in places else set()
        made |= {TRAINED_SEARCH} if SEARCH in found and not found[SEARCH].is_recorded else set()
        lines = [f"{name.ljust(max(map(len, places)))}  {place}" for name, place in places.items()]
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
        ends = ["", *lines, *next_lines(stages, made)]
        shown = screen(sections, ends, height=HEIGHT - 2, width=min(WIDTH, columns))
        click.echo(f"\n{click.style(self._heading(catalog), bold=True)}")
        click.echo("\n".join(shown))

    def _heading(self, catalog: CatalogProtocol) -> str:
        if TRAINING_STATES not in self._pipeline.inputs():
            return "What this run found"
        num_new = sum(each.has_ended for each in trainings_since(self._began, catalog))
        return f"What this run found (new trainings: {num_new or 'none, all were found finished'})"


def sections_of(found: Mapping[str, Any]) -> list[Section]:
    """The sections of what a run has seen, by the names of the datasets without their stages."""
    import bort_kedro.session.result_sections as of
    from bort_kedro.encoders.shapes import shape_text
    from bort_kedro.exports.report import ExportReport
    from bort_kedro.finetuning.report import FinetuningReport
    from bort_kedro.pretraining.report import PretrainingMetrics
    from bort_kedro.reporting.task_rows import TaskRow
    from bort_kedro.search.report import Candidate
    from bort_kedro.tasks.splits import ExamplesReport

    def of_tasks(ending: str) -> dict[str, Any]:
        return {name.removesuffix(ending): data for name, data in found.items() if name.endswith(ending)}

    sections = []
    if SEARCH in found:
        candidates = Candidate.rows_of(found[CANDIDATES]) if CANDIDATES in found else ()
        sections.append(of.search_section(found[SEARCH], candidates))
    if PRETRAINING in found:
        shape = shape_text(found[SHAPE]) if SHAPE in found else ""
        sections.append(of.pretraining_section(PretrainingMetrics.from_json(found[PRETRAINING]), shape))
    if SCORES in found:
        rows = [TaskRow.from_row(row) for row in found[SCORES].to_dict("records")]
        exports = {name: ExportReport.from_json(report) for name, report in of_tasks(EXPORTED).items()}
        sections += [of.tasks_section(rows, exports)] if rows else []
    elif reports := of_tasks(FINETUNING):
        trials = {name: FinetuningReport.from_json(report) for name, report in reports.items()}
        sections.append(of.finetuning_section(trials))
    if not sections and CORPUS in found:
        sections.append(of.corpus_section(found[CORPUS]))
    if not sections and (reports := of_tasks(EXAMPLES)):
        counts = {name: ExamplesReport.from_json(report) for name, report in reports.items()}
        sections.append(of.examples_section(counts))
    return sections


def _places(saved: set[str], catalog: CatalogProtocol) -> dict[str, str]:
    """Where to find what a person opens next, by what it is."""
    places = {"Report": _address(catalog[REPORT_PAGE])} if REPORT_PAGE in saved else {}
    exports = [Path(catalog[name]._get_load_path()) for name in saved if EXPORT.fullmatch(name)]
    if exports:
        # Of a task: <folder>/<task>/<version>/<task>; always on a local disk.
        places["Exports"] = seen(exports[0].parents[2])
    return places


def _address(dataset: Any) -> str:
    """Of what a dataset holds: a path, or on a store what opens there, its protocol with it."""
    path = dataset._get_load_path()
    return seen(Path(path)) if dataset._protocol == "file" else dataset._fs.unstrip_protocol(str(path))

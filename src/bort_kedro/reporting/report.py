"""The report of a whole run, as Markdown: every sentence and number follows from its inputs.

Rows of an encoder are mappings of the columns of `speed_table`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.evaluation.leaderboards import Leaderboard
from bort_kedro.exports.report import ExportReport
from bort_kedro.frozen import JsonObject, TableRow
from bort_kedro.pretraining.report import PretrainingMetrics
from bort_kedro.reporting.markdown import image, number
from bort_kedro.reporting.report_certainty import done_words
from bort_kedro.reporting.report_choice import ANSWERS, choice_section
from bort_kedro.reporting.report_delivery import costs_section, exports_section, leaderboard_text
from bort_kedro.reporting.report_sections import (
    chosen_row,
    floor_verdicts,
    paper_section,
    pretraining_section,
    speed_section,
    tasks_section,
    verdicts,
)
from bort_kedro.reporting.stage_costs import StageCost
from bort_kedro.reporting.task_rows import TaskRow
from bort_kedro.reporting.templates import render
from bort_kedro.search.report import Candidate, SearchReport
from bort_kedro.tasks.builtin import BUILTIN_TASKS

# Which plot stands at the end of which section.
PLOTS = {
    "The shape, and why": "pareto_plot",
    "Pretraining": "pretraining_plot",
    "Speed": "speed_plot",
}


def build_report(
    *,
    corpus: JsonObject,
    search: SearchReport,
    candidates: Sequence[Candidate],
    pretraining: PretrainingMetrics,
    tasks: Sequence[TaskRow],
    speed: Sequence[TableRow],
    costs: Sequence[StageCost] = (),
    device: str = "a machine that was not recorded",
    leaderboard: Mapping[str, Leaderboard] | None = None,
    exports: Mapping[str, ExportReport] | None = None,
    plots: Mapping[str, str] | None = None,
) -> str:
    """The whole report.

    Args:
        corpus: `corpus_manifest`.
        search: `search_report`.
        candidates: Those of `candidate_table`.
        pretraining: `pretraining_metrics`.
        tasks: Rows of `task_scores`.
        speed: Rows of `speed_table`, those of one condition.
        costs: Rows of `stage_costs`.
        device: In words, of the machine that evaluates.
        leaderboard: `leaderboard`.
        exports: `export_report` by task.
        plots: What each of `PLOTS` that was drawn shows, by its name; ``<name>.svg`` lies beside the report.
    """
    shape = search.selected.to_shape()
    sections = {
        "In short": _summary(shape, search, pretraining, tasks, speed),
        "What was asked": _question(corpus, search, tasks),
        "The shape, and why": choice_section(search, candidates),
        "What each stage cost": costs_section(costs, device),
        "Pretraining": pretraining_section(pretraining),
        "Tasks": "\n\n".join(part for part in (tasks_section(tasks), leaderboard_text(leaderboard or {})) if part),
        "Speed": speed_section(speed),
        "Exports": exports_section(exports or {}),
        "Beside the paper": paper_section(shape, speed),
        "Known limits": _limits(pretraining, tasks, speed),
        "Look further": render("further"),
    }
    for title, name in PLOTS.items():
        if plots and name in plots:
            sections[title] += "\n\n" + image(f"{name}.svg", plots[name])
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items() if text)
    return f"# A small BERT for this corpus: {shape}\n\n{body}\n"


def _summary(
    shape: BertShape,
    search: SearchReport,
    pretraining: PretrainingMetrics,
    tasks: Sequence[TaskRow],
    speed: Sequence[TableRow],
) -> str:
    return render(
        "summary",
        shape=shape,
        search=search,
        done=done_words(search),
        verdicts=verdicts(pretraining),
        floors=floor_verdicts(tasks),
        chosen=chosen_row(speed),
    )


def _question(corpus: JsonObject, search: SearchReport, tasks: Sequence[TaskRow]) -> str:
    return render(
        "question",
        corpus=corpus,
        answer=ANSWERS[search.answer],
        versions=", ".join(f"{name} {version}" for name, version in corpus["versions"].items()),
        splits=", ".join(f"{name} {number(count, 0)}" for name, count in corpus["documents_by_split"].items()),
        tasks="; ".join(_task_named(row.task) for row in tasks) or "none",
    )


def _task_named(name: str) -> str:
    """A task by its name, a built-in one with what is asked."""
    asked = BUILTIN_TASKS[name].description if name in BUILTIN_TASKS else ""
    return f"`{name}`, {asked}" if asked else f"`{name}`"


def _limits(pretraining: PretrainingMetrics, tasks: Sequence[TaskRow], speed: Sequence[TableRow]) -> str:
    return render(
        "limits",
        num_steps=pretraining.num_steps,
        largest=max((row.num_examples for row in tasks), default=0),
        sequence_length=speed[0]["sequence_length"],
    )

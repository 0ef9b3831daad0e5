"""The report of a whole run, as Markdown: every sentence and number follows from its inputs.

Rows are mappings: a candidate has the columns of `candidate_table`, a task those of `task_scores`, an
encoder those of `speed_table`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.evaluation.leaderboards import Leaderboard
from bort_kedro.exports.report import ExportReport
from bort_kedro.pretraining.report import PretrainingMetrics
from bort_kedro.reporting.markdown import bullets, image, large, number, times
from bort_kedro.reporting.report_certainty import done_words
from bort_kedro.reporting.report_choice import ANSWERS, choice_section
from bort_kedro.reporting.report_delivery import costs_section, exports_section, leaderboard_text
from bort_kedro.reporting.report_sections import (
    chosen_row,
    paper_section,
    pretraining_section,
    speed_section,
    tasks_section,
    verdicts,
)
from bort_kedro.reporting.stage_costs import StageCost
from bort_kedro.reporting.task_rows import TaskRow
from bort_kedro.reporting.templates import render
from bort_kedro.statistics import is_missing
from bort_kedro.tasks.builtin import BUILTIN_TASKS

Row = Mapping[str, Any]
# Which plot stands at the end of which section.
PLOTS = {
    "The shape, and why": "pareto_plot",
    "Pretraining": "pretraining_plot",
    "Speed": "speed_plot",
}


def build_report(
    *,
    corpus: Row,
    search: Row,
    candidates: Sequence[Row],
    pretraining: PretrainingMetrics,
    tasks: Sequence[TaskRow],
    speed: Sequence[Row],
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
        candidates: Rows of `candidate_table`.
        pretraining: `pretraining_metrics`.
        tasks: Rows of `task_scores`.
        speed: Rows of `speed_table`, those of one condition.
        costs: Rows of `stage_costs`.
        device: In words, of the machine that evaluates.
        leaderboard: `leaderboard`.
        exports: `export_report` by task.
        plots: What each of `PLOTS` that was drawn shows, by its name; ``<name>.svg`` lies beside the report.
    """
    shape = BertShape.from_row(search["selected"])
    sections = {
        "In short": bullets(_summary(shape, search, pretraining, tasks, speed)),
        "What was asked": _question(corpus, search, tasks),
        "The shape, and why": choice_section(search, candidates),
        "What each stage cost": costs_section(costs, device),
        "Pretraining": pretraining_section(pretraining),
        "Tasks": "\n\n".join(part for part in (tasks_section(tasks), leaderboard_text(leaderboard or {})) if part),
        "Speed": speed_section(speed),
        "Exports": exports_section(exports or {}),
        "Beside the paper": paper_section(shape, speed),
        "Known limits": bullets(_limits(pretraining, tasks, speed)),
        "Look further": render("further"),
    }
    for title, name in PLOTS.items():
        if plots and name in plots:
            sections[title] += "\n\n" + image(f"{name}.svg", plots[name])
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items() if text)
    return f"# A small BERT for this corpus: {shape}\n\n{body}\n"


def _summary(
    shape: BertShape, search: Row, pretraining: PretrainingMetrics, tasks: Sequence[TaskRow], speed: Sequence[Row]
) -> list[str]:
    chosen = chosen_row(speed)
    won = [row.task for row in tasks if row.beats_majority]
    return [
        f"Chosen out of {search['num_candidates']} shapes, {search['num_trained']} of them "
        f"{done_words(search)}: **{shape}** (layers, heads, hidden size, "
        f"intermediate size), {large(search['selected']['parameters'])} parameters.",
        *verdicts(pretraining),
        f"{len(won)} of {len(tasks)} tasks beat the best constant answer by more than twice the standard error.",
        f"One pass takes {number(chosen['median_ms'], 2)} ms. BERT-base takes "
        f"{_slowdown(chosen, 'bert_base')}; BERT-large {_slowdown(chosen, 'bert_large')}.",
    ]


def _slowdown(chosen: Row, reference: str) -> str:
    """How many times the chosen shape a reference takes, measured where it was timed."""
    counted = f"{times(chosen[f'operations_vs_{reference}'])} the operations"
    measured = chosen[f"measured_vs_{reference}"]
    return counted if is_missing(measured) else f"{times(measured)} the time and {counted}"


def _question(corpus: Row, search: Row, tasks: Sequence[TaskRow]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in corpus["versions"].items())
    splits = ", ".join(f"{name} {number(count, 0)}" for name, count in corpus["documents_by_split"].items())
    named = "; ".join(_task_named(row.task) for row in tasks) or "none"
    return (
        "Of all BERT encoders with a given choice of depth D, heads A, hidden size H and intermediate "
        "size I, which one is small, fast and good at once? The search ranks by W, the W-coefficient of de Wynter "
        f"and Perry (2020), and was asked for {ANSWERS[search['answer']]}. The chosen shape is then pretrained under "
        f"a larger teacher, fine-tuned on tasks and measured.\n\nText: {number(corpus['documents'], 0)} documents, "
        f"{number(corpus['words'], 0)} words, from {versions}. Documents by split: {splits}. Nothing is "
        f"trained on the test split. Built-in tasks are made of the documents of the split `tasks`.\n\nTasks: {named}."
    )


def _task_named(name: str) -> str:
    """A task by its name, a built-in one with what is asked."""
    asked = BUILTIN_TASKS[name].description if name in BUILTIN_TASKS else ""
    return f"`{name}`, {asked}" if asked else f"`{name}`"


def _limits(pretraining: PretrainingMetrics, tasks: Sequence[TaskRow], speed: Sequence[Row]) -> list[str]:
    conditions = speed[0]
    largest = max((row.num_examples for row in tasks), default=0)
    return [
        f"The student saw {pretraining.num_steps:,} steps; published encoders see hundreds of thousands. "
        "Scores compare models of this run with each other, not with published ones.",
        "Standard errors of pretraining and tasks cover the examples drawn, not the seed: each score is that of one "
        "training. They take the examples of a task as independent, though several may come from one document.",
        f"A test split has at most {number(largest, 0)} examples, which bounds how small a difference can be seen.",
        f"Speed is that of this machine at length {conditions['sequence_length']}.",
        "W weighs the error by the size of the maximum point: a larger one lets the error decide more.",
    ]

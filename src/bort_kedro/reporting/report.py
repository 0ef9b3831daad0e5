"""The report of a whole run, as Markdown: every sentence and number follows from its inputs.

Rows of an encoder are mappings of the columns of `speed_table`.
"""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict, Unpack

from bort_kedro.encoders.opened import OpenedEncoder
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
PLOTS = {"The shape, and why": "pareto_plot", "Pretraining": "pretraining_plot", "Speed": "speed_plot"}


# In the order of the report; one of which there is nothing to tell is left out.
SECTIONS = (
    *("In short", "What was asked", "The shape, and why", "What each stage cost", "Pretraining", "Tasks", "Speed"),
    *("Exports", "Beside the paper", "Known limits", "Look further"),
)


class Measured(TypedDict):
    """What is told of every student, by the datasets of the catalog.

    Attributes:
        speed: Rows of one condition.
        device: In words, of the machine that evaluates.
        exports: By task.
        plots: What each of `PLOTS` that was drawn shows, by its name; ``<name>.svg`` lies beside the report.
    """

    tasks: Sequence[TaskRow]
    speed: Sequence[TableRow]
    costs: NotRequired[Sequence[StageCost]]
    device: NotRequired[str]
    leaderboard: NotRequired[Mapping[str, Leaderboard]]
    exports: NotRequired[Mapping[str, ExportReport]]
    plots: NotRequired[Mapping[str, str]]


def build_report(
    *,
    corpus: JsonObject,
    search: SearchReport,
    candidates: Sequence[Candidate],
    pretraining: PretrainingMetrics,
    **measured: Unpack[Measured],
) -> str:
    """The whole report of a student that was searched and pretrained here."""
    shape, tasks = search.selected.to_shape(), measured["tasks"]
    told = {
        "In short": _summary(
            measured,
            origin=render("summary_searched", shape=shape, search=search, done=done_words(search)),
            verdicts=verdicts(pretraining),
        ),
        "What was asked": _question(corpus, search, tasks),
        "The shape, and why": choice_section(search, candidates),
        "Pretraining": pretraining_section(pretraining),
        "Known limits": _limits(measured, pretraining.num_steps),
    }
    return _report(f"A small BERT for this corpus: {shape}", shape, told, measured)


def build_opened_report(student: OpenedEncoder, **measured: Unpack[Measured]) -> str:
    """The report of a student that was opened, of which nothing was searched or pretrained."""
    told = {
        "In short": _summary(measured, origin=render("summary_opened", student=student), verdicts=[]),
        "What was asked": render("question_opened", student=student, tasks=_named(measured["tasks"])),
        "Known limits": _limits(measured, None),
    }
    return _report(f"An encoder as it was opened: {student.shape}", student.shape, told, measured)


def _report(title: str, shape: BertShape, told: Mapping[str, str], measured: Measured) -> str:
    speed, boards, plots = measured["speed"], measured.get("leaderboard", {}), measured.get("plots", {})
    parts = (tasks_section(measured["tasks"]), leaderboard_text(boards))
    sections = {
        **told,
        "What each stage cost": costs_section(
            measured.get("costs", ()), measured.get("device", "a machine that was not recorded")
        ),
        "Tasks": "\n\n".join(part for part in parts if part),
        "Speed": speed_section(speed),
        "Exports": exports_section(measured.get("exports", {})),
        "Beside the paper": paper_section(shape, speed),
        "Look further": render("further"),
    }
    for section, name in PLOTS.items():
        if name in plots:
            sections[section] += "\n\n" + image(f"{name}.svg", plots[name])
    body = "\n\n".join(f"## {section}\n\n{sections[section]}" for section in SECTIONS if sections.get(section))
    return f"# {title}\n\n{body}\n"


def _summary(measured: Measured, *, origin: str, verdicts: Sequence[str]) -> str:
    return render(
        "summary",
        origin=origin,
        verdicts=verdicts,
        floors=floor_verdicts(measured["tasks"]),
        chosen=chosen_row(measured["speed"]),
    )


def _question(corpus: JsonObject, search: SearchReport, tasks: Sequence[TaskRow]) -> str:
    return render(
        "question",
        corpus=corpus,
        answer=ANSWERS[search.answer],
        splits=", ".join(f"{name} {number(count, 0)}" for name, count in corpus["documents_by_split"].items()),
        tasks=_named(tasks),
    )


def _named(tasks: Sequence[TaskRow]) -> str:
    """Tasks by their names, built-in ones with what is asked."""
    asked = {row.task: BUILTIN_TASKS[row.task].description for row in tasks if row.task in BUILTIN_TASKS}
    return "; ".join(f"`{row.task}`" + (f", {asked[row.task]}" if row.task in asked else "") for row in tasks) or "none"


def _limits(measured: Measured, num_steps: int | None) -> str:
    return render(
        "limits",
        num_steps=num_steps,
        largest=max((row.num_examples for row in measured["tasks"]), default=0),
        sequence_length=measured["speed"][0]["sequence_length"],
    )

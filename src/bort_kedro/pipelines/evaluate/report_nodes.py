"""Nodes that write the report: what all stages cost, the text, and the same as one HTML file."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from plotly.graph_objects import Figure

from bort_kedro.device import describe_device
from bort_kedro.encoders.opened import OpenedEncoder
from bort_kedro.evaluation.leaderboards import Leaderboard
from bort_kedro.exports.report import ExportReport
from bort_kedro.frozen import JsonObject
from bort_kedro.pretraining.report import PretrainingMetrics
from bort_kedro.reporting.markdown import IllustratedText
from bort_kedro.reporting.report import PLOTS, Measured, build_opened_report, build_report
from bort_kedro.reporting.stage_costs import StageCost
from bort_kedro.reporting.task_rows import TaskRow
from bort_kedro.search.report import Candidate, SearchReport

EXPORT_REPORT = ".export_report"


def cost_stages(
    task_scores: pd.DataFrame,
    search_report: SearchReport | None = None,
    pretraining_metrics: JsonObject | None = None,
    student_history: pd.DataFrame | None = None,
    undistilled_history: pd.DataFrame | None = None,
    teacher_history: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Time, device hours and tokens of every training; an encoder that was opened rather than trained cost none."""
    from bort_kedro.reporting.stage_costs import stage_costs

    histories = {"teacher": teacher_history, "student": student_history, "undistilled": undistilled_history}
    rows = stage_costs(
        search_report,
        PretrainingMetrics.from_json(pretraining_metrics) if pretraining_metrics else None,
        {name: history.to_dict("records") for name, history in histories.items() if history is not None},
        [TaskRow.from_row(row) for row in task_scores.to_dict("records")],
    )
    return pd.DataFrame([row.to_json() for row in rows], columns=list(StageCost.model_fields))


def write_report(
    corpus_manifest: JsonObject,
    search_report: SearchReport,
    candidate_table: pd.DataFrame,
    pretraining_metrics: JsonObject,
    **measured: Any,
) -> IllustratedText:
    """All that was found, for a reader who was not there."""
    text = build_report(
        corpus=corpus_manifest,
        search=search_report,
        candidates=Candidate.rows_of(candidate_table),
        pretraining=PretrainingMetrics.from_json(pretraining_metrics),
        **_measured(**measured),
    )
    return _illustrated(text, measured)


def write_opened_report(opened_student: JsonObject, **measured: Any) -> IllustratedText:
    """The same of a student that was opened, without search and pretraining."""
    text = build_opened_report(OpenedEncoder.from_json(opened_student), **_measured(**measured))
    return _illustrated(text, measured)


def _measured(
    task_scores: pd.DataFrame,
    speed_table: pd.DataFrame,
    stage_costs: pd.DataFrame,
    leaderboard: JsonObject,
    **plots_and_exports: Any,
) -> Measured:
    from bort_kedro.reporting.drawings import plain

    device = describe_device()
    names = [*device["cuda_devices"], f"{device['processor']}, {device['cpu_count']} cores"]
    exports = {
        name.removesuffix(EXPORT_REPORT): ExportReport.from_json(report)
        for name, report in plots_and_exports.items()
        if name.endswith(EXPORT_REPORT)
    }
    return Measured(
        tasks=[TaskRow.from_row(row) for row in task_scores.to_dict("records")],
        speed=speed_table[speed_table["is_reference"]].to_dict("records"),
        costs=[StageCost.from_row(row) for row in stage_costs.to_dict("records")],
        device=" and ".join(names),
        leaderboard={name: Leaderboard.from_json(board) for name, board in leaderboard.items()},
        exports=exports,
        plots={name: plain(figure.layout.title.text) for name, figure in _plots(plots_and_exports).items()},
    )


def _plots(data: Mapping[str, Any]) -> dict[str, Figure]:
    return {name: data[name] for name in PLOTS.values() if name in data}


def _illustrated(text: str, data: Mapping[str, Any]) -> IllustratedText:
    from bort_kedro.reporting.drawings import draw_svg

    return IllustratedText(text, {f"{name}.svg": draw_svg(figure) for name, figure in _plots(data).items()})


def write_report_page(report: IllustratedText, **plots: Figure) -> str:
    """The report as one HTML file, with plots that answer the pointer."""
    from plotly.offline import get_plotlyjs

    from bort_kedro import __version__
    from bort_kedro.reporting.html_page import html_page

    drawn = {
        f"{name}.svg": figure.to_html(full_html=False, include_plotlyjs=False, div_id=name)
        for name, figure in plots.items()
    }
    return html_page(report.text, drawn, script=get_plotlyjs(), footer=f"Written by bort_kedro {__version__}.")

"""Nodes that write the report: what all stages cost, the text, and the same as one HTML file."""

from __future__ import annotations

from typing import Any

import pandas as pd

EXPORT_REPORT = ".export_report"
# Where in the report each plot stands.
PLOT_SECTIONS = {
    "pareto_plot": "The shape, and why",
    "pretraining_plot": "Pretraining",
    "speed_plot": "Speed",
}


def cost_stages(
    search_report: dict[str, Any],
    pretraining_metrics: dict[str, Any],
    student_history: pd.DataFrame,
    undistilled_history: pd.DataFrame,
    task_scores: pd.DataFrame,
    teacher_history: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Time, device hours and tokens of every training; a teacher that was opened rather than trained cost none."""
    from bort_kedro.core.stage_costs import stage_costs

    histories = {"teacher": teacher_history, "student": student_history, "undistilled": undistilled_history}
    rows = stage_costs(
        search_report,
        pretraining_metrics,
        {name: history.to_dict("records") for name, history in histories.items() if history is not None},
        task_scores.to_dict("records"),
    )
    return pd.DataFrame(rows)


def write_report(
    corpus_manifest: dict[str, Any],
    search_report: dict[str, Any],
    candidate_table: pd.DataFrame,
    pretraining_metrics: dict[str, Any],
    task_scores: pd.DataFrame,
    speed_table: pd.DataFrame,
    stage_costs: pd.DataFrame,
    leaderboard: dict[str, Any],
    **export_reports: dict[str, Any],
) -> str:
    """All that was found, for a reader who was not there."""
    from bort_kedro.core.report import build_report
    from bort_kedro.device import describe_device

    device = describe_device()
    names = [*device["cuda_devices"], f"{device['processor']}, {device['cpu_count']} cores"]
    return build_report(
        corpus=corpus_manifest,
        search=search_report,
        candidates=candidate_table.to_dict("records"),
        pretraining=pretraining_metrics,
        tasks=task_scores.to_dict("records"),
        speed=speed_table[speed_table["is_reference"]].to_dict("records"),
        costs=stage_costs.to_dict("records"),
        device=" and ".join(names),
        leaderboard=leaderboard,
        exports={name.removesuffix(EXPORT_REPORT): report for name, report in export_reports.items()},
    )


def write_report_page(report: str, **plots: Any) -> str:
    """The report and its plots as one HTML file."""
    from plotly.offline import get_plotlyjs

    from bort_kedro import __version__
    from bort_kedro.core.html_page import html_page

    drawn: dict[str, list[str]] = {}
    for name, section in PLOT_SECTIONS.items():
        if name in plots:
            html = plots[name].to_html(full_html=False, include_plotlyjs=False, div_id=name)
            drawn.setdefault(section, []).append(html)
    return html_page(report, drawn, script=get_plotlyjs(), footer=f"Written by bort_kedro {__version__}.")

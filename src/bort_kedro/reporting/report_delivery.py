"""Sections of the report on what is handed over: leaderboard averages, exports, and what it all cost."""

from collections.abc import Mapping, Sequence

from bort_kedro.evaluation.leaderboards import Leaderboard
from bort_kedro.exports.formats import PYTORCH
from bort_kedro.exports.report import ExportReport
from bort_kedro.reporting.markdown import bullets, percent
from bort_kedro.reporting.stage_costs import StageCost, total
from bort_kedro.reporting.templates import render


def leaderboard_text(leaderboard: Mapping[str, Leaderboard]) -> str:
    """What GLUE and SuperGLUE rank by, one line each; empty where no task of theirs was run."""
    lines = []
    for name, board in leaderboard.items():
        average = "" if board.average is None else f" {percent(board.average)},"
        lines.append(f"**{name}**:{average} {board.note}.")
    return bullets(lines)


def costs_section(costs: Sequence[StageCost], device: str) -> str:
    """Time, device hours and tokens of every training; empty where none was recorded."""
    if not costs:
        return ""
    return render(
        "costs",
        costs=costs,
        whole=total(costs),
        compared=total([row for row in costs if row.purpose == "compare"]),
        are_all_counted=not any(row.tokens is None for row in costs),
        device=device,
    )


def exports_section(reports: Mapping[str, ExportReport]) -> str:
    """Every export of every task: size, fidelity, score and speed."""
    rows = [(task, name, row) for task, report in reports.items() for name, row in report.formats.items()]
    if not rows:
        return ""
    conditions = reports[rows[-1][0]]
    return render(
        "exports",
        rows=rows,
        reference=PYTORCH,
        conditions=conditions,
        allowed_drop=next(iter(conditions.formats.values())).allowed_drop,
    )

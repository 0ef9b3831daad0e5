"""Sections of the report on what is handed over: leaderboard averages, exports, and what it all cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bort_kedro.evaluation.leaderboards import Leaderboard
from bort_kedro.exports.report import ExportReport, FormatReport
from bort_kedro.reporting.markdown import MISSING, bullets, duration, large, number, percent, table, times
from bort_kedro.reporting.stage_costs import StageCost, total

# What every other format is held against.
REFERENCE_FORMAT = "pytorch"


def leaderboard_text(leaderboard: Mapping[str, Leaderboard]) -> str:
    """What GLUE and SuperGLUE rank by, one line each; empty where no task of theirs was run."""
    lines = []
    for name, board in leaderboard.items():
        average = "" if board.average is None else f" {percent(board.average)},"
        lines.append(f"**{name}**:{average} {board.note}.")
    return bullets(lines)


def costs_section(costs: Sequence[StageCost], device: str) -> str:
    """Time, device hours and tokens of every training; empty where none was recorded.

    Args:
        costs: Rows of `reporting.stage_costs.stage_costs`.
        device: In words, of the machine that evaluates.
    """
    if not costs:
        return ""
    rows = [
        [
            row.stage,
            row.what,
            duration(row.seconds),
            number(row.device_hours, 3),
            "not counted" if row.tokens is None else large(row.tokens),
        ]
        for row in costs
    ]
    whole = total(costs)
    compared = total([row for row in costs if row.purpose == "compare"])
    time, hours = f"**{duration(whole.seconds)}**", f"**{number(whole.device_hours, 3)}**"
    counted = " counted" if any(row.tokens is None for row in costs) else ""
    tokens = f"**{large(whole.tokens)}**{counted}" if whole.tokens else MISSING
    rows.append(["**sum**", MISSING, time, hours, tokens])
    return (
        f"{table(['Stage', 'Training', 'Time', 'Device hours', 'Tokens'], rows)}\n\n"
        f"Of it {duration(compared.seconds)} went into what the result is only held against. Time spent training: "
        "trainings that run side by side each count in full, in device hours too, and one that was found finished on "
        "the disk counts the time it took then. Making the corpus, scoring, timing and exporting are not in it. A "
        f"device is one GPU, or all cores of a machine together; this report was written on {device}. Tokens are "
        "counted without padding."
    )


def exports_section(reports: Mapping[str, ExportReport]) -> str:
    """Every export of every task: size, fidelity, score and speed.

    Args:
        reports: `export_report` by task.
    """
    rows: list[list[str]] = []
    conditions: ExportReport | None = None
    for task, report in reports.items():
        for name, row in report.formats.items():
            conditions = report
            rows.append(
                [
                    f"`{task}`",
                    row.title,
                    f"{row.bytes / 1e6:.2f}",
                    MISSING if name == REFERENCE_FORMAT else f"{row.max_difference:.2g}",
                    percent(row.score_after),
                    number(row.median_ms, 2),
                    times(row.speedup),
                    _verdict(row),
                ]
            )
    if conditions is None:
        return ""
    drop = f"{100 * next(iter(conditions.formats.values())).allowed_drop:g} points"
    drops = (
        f"it is refused, too, where its score falls by more than {drop}"
        if conditions.refuses_drops
        else f"one whose score falls by more than {drop} is kept (`evaluate.export.refuse`)"
    )
    header = ["Task", "Format", "MB", "Largest difference of a logit", "Score", "Median, ms", "Faster", "Verdict"]
    return (
        f"{table(header, rows)}\n\nScores are of the whole unseen test split, in the task's first metric, logits of "
        f"{number(conditions.num_checked, 0)} of its examples. A format is "
        f"refused where fp32 differs from PyTorch by more than rounding; {drops}. Times are of "
        f"{conditions.batch_size} x {conditions.sequence_length} tokens with {conditions.num_threads} "
        "thread(s), all formats of a task in turns, so compare within a task. `data/06_models/exports/<task>` has what "
        "was kept, each format with its tokenizer."
    )


def _verdict(row: FormatReport) -> str:
    if row.is_refused:
        return "**refused**"
    return "kept" if row.is_good else "kept, **drops too far**"

"""What changed between runs: settings that differ, and every result side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bort_kedro.evaluation.floors import FLOORS
from bort_kedro.pretraining.report import EncoderScore, PretrainingMetrics
from bort_kedro.reporting.markdown import MISSING, duration, large, percent, signed_points, table, times, with_noise
from bort_kedro.reporting.report_certainty import error_text
from bort_kedro.reporting.report_sections import lead_over_floor, median_with_interval, score_with_interval
from bort_kedro.reporting.stage_costs import StageCost
from bort_kedro.reporting.task_rows import TaskRow
from bort_kedro.search.report import SearchReport

Row = Mapping[str, Any]
Part = TypeVar("Part")


@dataclass(frozen=True)
class RunRecord:
    """What one run left; a part that it did not make is empty.

    Args:
        manifest: `run_manifest`.
        search: `search_report`.
        pretraining: `pretraining_metrics`.
        tasks: Rows of `task_scores`.
        speed: Rows of `speed_table`.
        costs: Rows of `stage_costs`.
    """

    manifest: Row
    search: SearchReport | None = None
    pretraining: PretrainingMetrics | None = None
    tasks: Sequence[TaskRow] = ()
    speed: Sequence[Row] = ()
    costs: Sequence[StageCost] = ()


def compare_runs(runs: Mapping[str, RunRecord]) -> str:
    """A Markdown page about two runs or more.

    With two runs each score has the change from the first to the second; its standard error takes both as independent,
    which is too large where both answer the same examples.

    Args:
        runs: By version, in the order of the columns.

    Raises:
        ValueError: If there are fewer than two.
    """
    if len(runs) < 2:
        raise ValueError(f"{len(runs)} run(s) given: a comparison needs at least two")
    sections = {
        "What was set otherwise": _settings(runs),
        "The shape": _shapes(runs),
        "Pretraining": _pretraining(runs),
        "Tasks": _tasks(runs),
        "Speed": _speed(runs),
        "Cost": _costs(runs),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items() if text)
    return f"# What changed between {' and '.join(runs)}\n\n{body}\n"


def flattened(value: Any, path: str = "") -> dict[str, str]:
    """Nested parameters as text by dotted name; a list is one value."""
    if isinstance(value, Mapping):
        flat: dict[str, str] = {}
        for name, child in value.items():
            flat |= flattened(child, f"{path}.{name}" if path else str(name))
        return flat
    return {path: "null" if value is None else str(value)}


def _settings(runs: Mapping[str, RunRecord]) -> str:
    """Parameters, code, versions and device, as far as they differ."""
    # A run from before parameters were written down has only its seeds and a fingerprint of the others.
    name_of_set = "parameters" if all("parameters" in run.manifest for run in runs.values()) else "seeds"
    described = {}
    for version, run in runs.items():
        manifest = run.manifest
        described[version] = flattened(
            {
                **manifest.get(name_of_set, {}),
                "configuration": manifest.get("configuration_hash"),
                "commit": manifest.get("git", {}).get("commit"),
                "changes not committed": manifest.get("git", {}).get("has_changes"),
                "environment": manifest.get("environment"),
                "python": manifest.get("python"),
                "package": manifest.get("packages", {}),
                "device": manifest.get("device", {}),
            }
        )
    names = list(dict.fromkeys(name for flat in described.values() for name in flat))
    rows = [
        [f"`{name}`", *(flat.get(name, MISSING) for flat in described.values())]
        for name in names
        if len({flat.get(name) for flat in described.values()}) > 1
    ]
    return table(["", *runs], rows) if rows else "Nothing: parameters, code, versions and device are the same."


def _shapes(runs: Mapping[str, RunRecord]) -> str:
    rows: list[tuple[str, Callable[[SearchReport], str]]] = [
        ("chosen shape", lambda search: str(search.selected)),
        ("parameters", lambda search: large(search.selected.parameters)),
        ("operations", lambda search: large(search.selected.operations)),
        ("error", lambda search: error_text(search.selected, search)),
        ("loss, nats", lambda search: with_noise(search.selected.loss, search.selected.loss_standard_error)),
        ("W", lambda search: with_noise(search.selected.w, search.selected.w_standard_error)),
        ("candidates trained", lambda search: f"{search.num_trained} of {search.num_candidates}"),
    ]
    return _rows_of(runs, lambda run: run.search, rows)


def _pretraining(runs: Mapping[str, RunRecord]) -> str:
    def accuracy(score: EncoderScore) -> str:
        return percent(score.accuracy, score.accuracy_standard_error)

    return _rows_of(
        runs,
        lambda run: run.pretraining,
        [
            ("masked accuracy, student", lambda metrics: accuracy(metrics.student)),
            ("masked accuracy, no teacher", lambda metrics: accuracy(metrics.undistilled)),
            ("masked accuracy, teacher", lambda metrics: accuracy(metrics.teacher)),
        ],
    )


def _rows_of(
    runs: Mapping[str, RunRecord],
    part: Callable[[RunRecord], Part | None],
    rows: Sequence[tuple[str, Callable[[Part], str]]],
) -> str:
    """A table of one part of the runs; "" where no run has it."""
    parts = [part(run) for run in runs.values()]
    if not any(parts):
        return ""
    return table(["", *runs], [[name, *(said(each) if each else MISSING for each in parts)] for name, said in rows])


def _tasks(runs: Mapping[str, RunRecord]) -> str:
    """Score of each task, and the change where two runs have it."""
    by_run = [{row.task: row for row in run.tasks} for run in runs.values()]
    names = list(dict.fromkeys(name for tasks in by_run for name in tasks))
    if not names:
        return ""
    has_change = len(runs) == 2
    rows = []
    for name in names:
        found = [tasks.get(name) for tasks in by_run]
        cells = [f"{score_with_interval(row)}, {row.method}" if row else MISSING for row in found]
        rows.append([f"`{name}`", *cells, *([_change(*found)] if has_change else [])])
        rows += [
            [f"`{name}`: {said}", *leads, *([MISSING] if has_change else [])] for said, leads in _leads(found).items()
        ]
    note = " The error of a change takes the runs as independent of each other." if has_change else ""
    return (
        f"{table(['Task', *runs, *(['Change, points'] if has_change else [])], rows)}\n\n± is one standard error, "
        f"brackets hold a bootstrap interval.{note}"
    )


def _leads(found: Sequence[TaskRow | None]) -> dict[str, list[str]]:
    """How far a task is ahead of each floor, and of each rival that any of the runs trained."""
    leads = []
    for row in found:
        floors, rivals = (row.floors, row.rivals) if row else ({}, {})
        ahead = {f"beats {FLOORS[name].words}, points ahead": lead_over_floor(floor) for name, floor in floors.items()}
        leads.append(
            ahead
            | {
                f"points ahead of {name.replace('_', ' ')}": signed_points(rival.lead, rival.lead_standard_error)
                for name, rival in rivals.items()
            }
        )
    names = dict.fromkeys(name for each in leads for name in each)
    return {name: [each.get(name, MISSING) for each in leads] for name in names}


def _change(first: TaskRow | None, second: TaskRow | None) -> str:
    if first is None or second is None or first.metric != second.metric:
        return MISSING
    error = math.hypot(first.standard_error, second.standard_error)
    return signed_points(second.score - first.score, error)


def _speed(runs: Mapping[str, RunRecord]) -> str:
    """Latency of each encoder; the rows that the report tells of."""
    by_run = [
        {row["name"]: row for row in run.speed if row.get("is_reference", True) and not row.get("has_head", False)}
        for run in runs.values()
    ]
    names = list(dict.fromkeys(name for rows in by_run for name in rows))
    if not names:
        return ""
    rows = [
        [f"{name}, ms", *(median_with_interval(each[name]) if name in each else MISSING for each in by_run)]
        for name in names
    ]
    chosen = [next((row for row in each.values() if row["is_chosen"]), None) for each in by_run]
    for reference, title in (("bert_base", "BERT-base"), ("bert_large", "BERT-large")):
        ratios = [times(row[f"measured_vs_{reference}"]) if row else MISSING for row in chosen]
        rows.append([f"{title} takes, against the chosen shape", *ratios])
    return table(["Encoder", *runs], rows)


def _costs(runs: Mapping[str, RunRecord]) -> str:
    """Training time of each stage."""
    stages = list(dict.fromkeys(cost.stage for run in runs.values() for cost in run.costs))
    if not stages:
        return ""

    def spent(run: RunRecord, stage: str) -> str:
        seconds = [cost.seconds for cost in run.costs if cost.stage == stage]
        return duration(sum(seconds)) if seconds else MISSING

    return table(["Stage", *runs], [[stage, *(spent(run, stage) for run in runs.values())] for stage in stages])

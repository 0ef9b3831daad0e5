"""The averages that the leaderboards of GLUE and SuperGLUE rank by.

The scores are of our unseen split, half of the official dev set where the labels of the official test are hidden, so
they say what the leaderboard would find but are not its own. Ours are from 0 to 1 (-1 to 1 of correlations); the
leaderboards show them times 100.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import TYPE_CHECKING

from bort_kedro.evaluation.submissions import BENCHMARKS
from bort_kedro.frozen import FrozenModel
from bort_kedro.tasks.table import TASKS

if TYPE_CHECKING:
    from bort_kedro.evaluation.task_metrics import TaskMetrics

SPLIT_NOTE = "of the unseen split, not of the leaderboard's hidden test"


class Leaderboard(FrozenModel):
    """What a leaderboard ranks by.

    Args:
        average: Of the tasks; None if only diagnostics were scored.
        note: How far the average compares with the leaderboard's.
    """

    average: float | None
    tasks: dict[str, float]
    missing: tuple[str, ...]
    diagnostics: dict[str, dict[str, float]]
    note: str


def averaged_tasks(benchmark: str) -> list[str]:
    """The tasks that a leaderboard averages: nine of GLUE, eight of SuperGLUE; diagnostics are shown beside them."""
    return [name for name, task in TASKS.items() if task.benchmark == benchmark and not task.is_diagnostic]


def leaderboards(metrics_of: Mapping[str, TaskMetrics]) -> dict[str, Leaderboard]:
    """Each leaderboard's average of averages over the tasks that were run, where one of its was.

    Of a task with several metrics their mean counts, of MNLI the mean of its matched and mismatched parts. Tasks of
    other benchmarks, and those without labels to score by, are passed over.

    References:
        Wang et al. 2018, arXiv 1804.07461, section 4; Wang et al. 2019, arXiv 1905.00537, section 4.
    """
    scored = {name: metrics for name, metrics in metrics_of.items() if name in TASKS and metrics.test}
    present = {TASKS[name].benchmark for name in scored}
    return {benchmark: _leaderboard(benchmark, scored) for benchmark in BENCHMARKS if benchmark in present}


def task_score(name: str, metrics: TaskMetrics) -> float:
    """One task's number on its leaderboard; see `leaderboards`."""
    # A user's own test file for MNLI may have no parts.
    parts = list(metrics.parts.values()) or [metrics.splits["test"]]
    return fmean(part.metrics[metric] for metric in TASKS[name].metrics for part in parts)


def _leaderboard(benchmark: str, scored: Mapping[str, TaskMetrics]) -> Leaderboard:
    counted = averaged_tasks(benchmark)
    tasks = {name: task_score(name, scored[name]) for name in counted if name in scored}
    diagnostics = {
        name: {metric: each.splits["test"].metrics[metric] for metric in TASKS[name].metrics}
        for name, each in scored.items()
        if TASKS[name].benchmark == benchmark and TASKS[name].is_diagnostic
    }
    return Leaderboard(
        average=fmean(tasks.values()) if tasks else None,
        tasks=tasks,
        missing=tuple(name for name in counted if name not in scored),
        diagnostics=diagnostics,
        note=_note(len(tasks), len(counted)),
    )


def _note(num_tasks: int, num_counted: int) -> str:
    if num_tasks == num_counted:
        return f"average of all {num_counted} tasks, {SPLIT_NOTE}"
    if not num_tasks:
        return f"no average: none of the {num_counted} tasks was run, only diagnostics"
    return f"average of {num_tasks} of {num_counted} tasks; not comparable to the leaderboard; {SPLIT_NOTE}"

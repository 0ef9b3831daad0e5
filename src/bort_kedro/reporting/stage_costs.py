"""What each training of a run cost: time, device hours and tokens, from what the stages recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bort_kedro.statistics import is_missing

SECONDS_PER_HOUR = 3600.0

Row = Mapping[str, Any]


def stage_costs(
    search: Row, pretraining: Row, histories: Mapping[str, Sequence[Row]], tasks: Sequence[Row]
) -> list[dict[str, Any]]:
    """One row for each kind of training, in the order of the stages.

    Args:
        search: `search_report`.
        pretraining: `pretraining_metrics`.
        histories: Rows of the histories of ``teacher``, ``student`` and ``undistilled``.
        tasks: Rows of `task_scores`.

    Returns:
        ``stage``, ``what``, ``purpose`` (``model`` for what the result needs, ``compare`` for what it is held
        against), ``seconds`` of training, ``device_hours`` (a device is one GPU, or all cores of a machine together)
        and ``tokens`` trained on, padding left out, None where none were counted.
    """
    rows = [_row("search", f"{search['num_trained']} candidates and the maximum point", search)]
    names = {
        "teacher": ("the teacher", "model"),
        "student": ("the student under the teacher", "model"),
        "undistilled": ("the same shape without a teacher", "compare"),
    }
    for key, (what, purpose) in names.items():
        spent = {"seconds": pretraining[key]["seconds"]}
        if history := histories.get(key):
            spent |= {name: history[-1][name] for name in ("num_tokens", "device_hours") if name in history[-1]}
        rows.append(_row("pretrain_distill", what, spent, purpose=purpose))
    for row in tasks:
        task = f"task `{row['task']}`"
        rows += [
            _row("finetune", f"{task}: its teacher", _of("teacher_", row)),
            _row("finetune", f"{task}: {row['num_trials']} trials", _of("", row)),
            _row("finetune", f"{task}: other methods", _of("rival_", row), purpose="compare"),
        ]
    return [row for row in rows if row["seconds"]]


def _row(stage: str, what: str, spent: Row, *, purpose: str = "model") -> dict[str, Any]:
    """A row of ``seconds``, and of ``num_tokens`` and ``device_hours`` where they were recorded."""
    seconds = float(spent["seconds"])
    return {
        "stage": stage,
        "what": what,
        "purpose": purpose,
        "seconds": seconds,
        "device_hours": float(spent.get("device_hours", seconds / SECONDS_PER_HOUR)),
        "tokens": spent.get("num_tokens") or None,
    }


def _of(whose: str, row: Row) -> dict[str, Any]:
    return {"seconds": row[f"{whose}seconds"], "num_tokens": row.get(f"{whose}num_tokens")}


def sums(rows: Sequence[Row]) -> dict[str, float]:
    """``seconds``, ``device_hours`` and ``tokens`` of all rows together; what was not recorded counts as nothing."""
    keys = ("seconds", "device_hours", "tokens")
    return {key: float(sum(row[key] for row in rows if not is_missing(row[key]))) for key in keys}

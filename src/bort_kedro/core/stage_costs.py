"""What each training of a run cost: time, device hours and tokens, from what the stages recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bort_kedro.core.markdown import is_missing

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
        and ``tokens`` trained on. What was not recorded is None: a search and a fine-tuning do not count their tokens.
    """
    rows = [_row("search", f"{search['num_trained']} candidates and the maximum point", search["seconds"])]
    names = {
        "teacher": ("the teacher", "model"),
        "student": ("the student under the teacher", "model"),
        "undistilled": ("the same shape without a teacher", "compare"),
    }
    for key, (what, purpose) in names.items():
        rows.append(_pretraining_row(what, purpose, pretraining[key]["seconds"], histories.get(key, ())))
    for row in tasks:
        task = f"task `{row['task']}`"
        rows += [
            _row("finetune", f"{task}: its teacher", row["teacher_seconds"]),
            _row("finetune", f"{task}: {row['num_trials']} trials", row["seconds"]),
            _row("finetune", f"{task}: other methods", row["rival_seconds"], purpose="compare"),
        ]
    return [row for row in rows if row["seconds"]]


def _row(stage: str, what: str, seconds: float, *, purpose: str = "model") -> dict[str, Any]:
    return {
        "stage": stage,
        "what": what,
        "purpose": purpose,
        "seconds": float(seconds),
        "device_hours": float(seconds) / SECONDS_PER_HOUR,
        "tokens": None,
    }


def _pretraining_row(what: str, purpose: str, seconds: float, history: Sequence[Row]) -> dict[str, Any]:
    row = _row("pretrain_distill", what, seconds, purpose=purpose)
    if history and "device_hours" in history[-1]:
        row["device_hours"] = float(history[-1]["device_hours"])
    if history and "tokens_per_second" in history[-1]:
        row["tokens"] = tokens_of(history)
    return row


def tokens_of(history: Sequence[Row]) -> float:
    """Tokens of a training, from the rate of each piece of it and the device hours between the pieces.

    A row's rate is that of the steps since the row before, on all devices together; its device hours count every
    device. So the tokens of a piece are its rate times its hours, by the number of devices.

    Args:
        history: Rows with ``tokens_per_second``, ``device_hours`` and ``seconds``, the training's whole time.
    """
    hours = float(history[-1]["device_hours"])
    seconds = float(history[-1].get("seconds", hours * SECONDS_PER_HOUR))
    num_devices = hours * SECONDS_PER_HOUR / seconds if seconds else 1.0
    total, before = 0.0, 0.0
    for row in history:
        piece = (float(row["device_hours"]) - before) * SECONDS_PER_HOUR / num_devices
        total, before = total + piece * float(row["tokens_per_second"]), float(row["device_hours"])
    return total


def sums(rows: Sequence[Row]) -> dict[str, float]:
    """``seconds``, ``device_hours`` and ``tokens`` of all rows together; what was not recorded counts as nothing."""
    keys = ("seconds", "device_hours", "tokens")
    return {key: float(sum(row[key] for row in rows if not is_missing(row[key]))) for key in keys}

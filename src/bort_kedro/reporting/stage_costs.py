"""What each training of a run cost: time, device hours and tokens, from what the stages recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from bort_kedro.frozen import FrozenModel

if TYPE_CHECKING:
    from bort_kedro.pretraining.report import EncoderScore, PretrainingMetrics
    from bort_kedro.reporting.task_rows import TaskRow
    from bort_kedro.search.report import SearchReport

SECONDS_PER_HOUR = 3600.0

Row = Mapping[Any, Any]
Purpose = Literal["model", "compare"]


class StageCost(FrozenModel):
    """What one kind of training took, a row of the table `stage_costs`.

    Args:
        purpose: ``model`` for what the result needs, ``compare`` for what it is held against.
        device_hours: A device is one GPU, or all cores of a machine together.
        tokens: Trained on, padding left out; None where none were counted.
    """

    stage: str
    what: str
    purpose: Purpose
    seconds: float
    device_hours: float
    tokens: int | None

    @classmethod
    def from_row(cls, row: Row) -> StageCost:
        """From a row of the table, of a saved one with NaN where nothing was counted."""
        tokens = row["tokens"]
        return cls.model_validate({**row, "tokens": None if tokens is None or math.isnan(tokens) else int(tokens)})


def stage_costs(
    search: SearchReport | None,
    pretraining: PretrainingMetrics | None,
    histories: Mapping[str, Sequence[Row]],
    tasks: Sequence[TaskRow],
) -> list[StageCost]:
    """What each kind of training took, in the order of the stages; what took no time is left out.

    Histories are those of ``teacher``, ``student`` and ``undistilled``.
    """
    costs = []
    if search is not None:
        trained = f"{search.num_trained} candidates and the maximum point"
        costs.append(_cost("search", trained, search.seconds, search.num_tokens))
    if pretraining is not None:
        costs += _pretraining_costs(pretraining, histories)
    for row in tasks:
        task = f"task `{row.task}`"
        costs += [
            _cost("finetune", f"{task}: its teacher", row.teacher_seconds, row.teacher_num_tokens),
            _cost("finetune", f"{task}: {row.num_trials} trials", row.seconds, row.num_tokens),
            _cost("finetune", f"{task}: other methods", row.rival_seconds, row.rival_num_tokens, purpose="compare"),
        ]
    return [cost for cost in costs if cost.seconds]


def _pretraining_costs(pretraining: PretrainingMetrics, histories: Mapping[str, Sequence[Row]]) -> list[StageCost]:
    costs = []
    encoders: dict[str, tuple[EncoderScore | None, str, Purpose]] = {
        "teacher": (pretraining.teacher, "the teacher", "model"),
        "student": (pretraining.student, "the student", "model"),
        "undistilled": (pretraining.undistilled, pretraining.twin, "compare"),
    }
    for key, (encoder, what, purpose) in encoders.items():
        if encoder is None:
            continue
        last = history[-1] if (history := histories.get(key)) else {}
        costs.append(
            _cost(
                "pretrain_distill",
                what,
                encoder.seconds,
                last.get("num_tokens"),
                purpose=purpose,
                device_hours=last.get("device_hours"),
            )
        )
    return costs


def _cost(
    stage: str,
    what: str,
    seconds: float,
    num_tokens: int | None,
    *,
    purpose: Purpose = "model",
    device_hours: float | None = None,
) -> StageCost:
    return StageCost(
        stage=stage,
        what=what,
        purpose=purpose,
        seconds=seconds,
        # On one device where it was not recorded.
        device_hours=seconds / SECONDS_PER_HOUR if device_hours is None else device_hours,
        tokens=num_tokens or None,
    )


def total(costs: Sequence[StageCost]) -> StageCost:
    """All of them together; tokens that were not counted are left out."""
    return StageCost(
        stage="",
        what="",
        purpose="model",
        seconds=sum(cost.seconds for cost in costs),
        device_hours=sum(cost.device_hours for cost in costs),
        tokens=sum(cost.tokens or 0 for cost in costs),
    )

"""The table of scores: a row for each task that was scored, made of what its stages reported."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bort_kedro.evaluation.floors import FLOORS
from bort_kedro.evaluation.scores import RivalScore
from bort_kedro.frozen import FrozenModel, JsonObject

if TYPE_CHECKING:
    from bort_kedro.agora.teacher_bar import TeacherReport
    from bort_kedro.evaluation.floors import FloorReport
    from bort_kedro.evaluation.task_metrics import TaskMetrics
    from bort_kedro.finetuning.report import FinetuningReport, MethodReport
    from bort_kedro.tasks.splits import ExamplesReport


class FloorRow(RivalScore):
    """A floor of a task, and what it took.

    Args:
        train_share: Share of the train rows that it was fitted to; None of one that is fitted to nothing.
    """

    seconds: float
    train_share: float | None = None


class TaskRow(FrozenModel):
    """A task in the table `task_scores`, where a floor or a rival has the columns ``<name>_score`` and so on.

    Args:
        num_examples: Units scored.
        interval_low: Of the score; None of a single example, as the two that follow.
        dev_score: None of a diagnostic.
        temperature: That logits were divided by; None where there are no probabilities, or of another task's model.
        calibration_error_before: Expected calibration error on the test split without it.
        other_scores: Further metrics, and the parts of the test split, for readers.
        truncated_share: Share of the inputs that were cut.
        test_split: Where the test examples come from.
        num_made: Points that Agora made, of which `num_copies` were thrown away as near-duplicates of dev or test.
        teacher_score: On dev; None where there was no teacher, as the three that follow.
        teacher_bar: That it had to be over by a standard error, its own bar or the best constant answer.
        floors: By name, as many of `evaluation.floors.FLOORS` as there are.
    """

    task: str
    method: str
    metric: str
    num_labels: int
    score: float
    standard_error: float
    num_examples: int
    interval_low: float | None = None
    interval_high: float | None = None
    interval_level: float | None = None
    dev_score: float | None = None
    dev_standard_error: float | None = None
    temperature: float | None = None
    calibration_error_before: float | None = None
    calibration_error: float | None = None
    other_scores: str = ""
    num_trials: int
    seconds: float
    num_tokens: int = 0
    truncated_share: float
    test_split: str
    num_rows_skipped: int = 0
    num_made: int = 0
    num_copies: int = 0
    num_kept: int = 0
    teacher_score: float | None = None
    teacher_standard_error: float | None = None
    teacher_bar: float | None = None
    is_teacher_over: bool | None = None
    teacher_seconds: float = 0.0
    teacher_num_tokens: int = 0
    rival_seconds: float = 0.0
    rival_num_tokens: int = 0
    floors: dict[str, FloorRow] = Field(default_factory=dict)
    rivals: dict[str, RivalScore] = Field(default_factory=dict)

    def to_row(self) -> JsonObject:
        """As a row of the table."""
        return self.model_dump(exclude={"floors", "rivals"}) | {
            f"{other}_{name}": value
            for other, found in (self.floors | self.rivals).items()
            for name, value in (*found, ("is_beaten", found.is_beaten))
        }

    @classmethod
    def from_row(cls, row: Mapping[Any, Any]) -> TaskRow:
        """From a row of the table, of a saved one with NaN where nothing was."""

        def is_there(name: str) -> bool:
            return name in row and not (isinstance(row[name], float) and math.isnan(row[name]))

        def read(kind: type[FrozenModel], of: str = "") -> JsonObject:
            fields = kind.model_fields.items()
            return {name: row[of + name] for name, info in fields if info.is_required() or is_there(of + name)}

        others = [str(name).removesuffix("_lead") for name in row if str(name).endswith("_lead") and is_there(name)]
        floors = {name: FloorRow(**read(FloorRow, f"{name}_")) for name in others if name in FLOORS}
        rivals = {name: RivalScore(**read(RivalScore, f"{name}_")) for name in others if name not in FLOORS}
        return cls(**read(cls), floors=floors, rivals=rivals)


def task_row(
    task: str,
    metrics: TaskMetrics,
    finetuning: FinetuningReport,
    examples: ExamplesReport,
    floors: Mapping[str, FloorReport],
    *,
    teacher: TeacherReport | None = None,
    rivals: Mapping[str, MethodReport] | None = None,
) -> TaskRow | None:
    """A task's row; None of one whose test split has no labels."""
    if (test := metrics.test) is None:
        return None
    assert examples.test is not None  # noqa: S101 - what was scored was divided
    calibration = metrics.calibration.get("test")
    interval, dev, check = test.interval, metrics.dev, teacher.check if teacher else None
    draws = [each.points for each in finetuning.rounds if each.points]
    others = (rivals or {}).values()
    return TaskRow(
        task=task,
        method=metrics.method,
        metric=metrics.metric,
        num_labels=len(finetuning.labels),
        score=test.score.value,
        standard_error=test.score.standard_error,
        num_examples=test.num_examples,
        interval_low=interval.low if interval else None,
        interval_high=interval.high if interval else None,
        interval_level=interval.level if interval else None,
        dev_score=dev.score.value if dev else None,
        dev_standard_error=dev.score.standard_error if dev else None,
        temperature=calibration.temperature if calibration else None,
        calibration_error_before=calibration.error_before if calibration else None,
        calibration_error=calibration.error if calibration else None,
        other_scores=_other_scores(metrics),
        num_trials=finetuning.num_trials,
        seconds=finetuning.seconds,
        num_tokens=finetuning.num_tokens,
        truncated_share=finetuning.truncated_share,
        test_split=examples.test.source,
        num_rows_skipped=sum(examples.num_rows_skipped.values()),
        num_made=sum(each.num_made for each in draws),
        num_copies=sum(each.num_copies for each in draws),
        num_kept=sum(each.num_kept for each in draws),
        teacher_score=check.score if check else None,
        teacher_standard_error=check.error if check else None,
        # It must be over the share of the most frequent label, too.
        teacher_bar=max(check.bar, check.majority) if check else None,
        is_teacher_over=check.is_over if check else None,
        teacher_seconds=teacher.seconds if teacher else 0.0,
        teacher_num_tokens=teacher.num_tokens if teacher else 0,
        rival_seconds=sum(each.seconds for each in others),
        rival_num_tokens=sum(each.num_tokens for each in others),
        floors={
            name: FloorRow(**dict(floor), seconds=floors[name].seconds, train_share=floors[name].train_share)
            for name, floor in test.floors.items()
        },
        rivals=metrics.rivals,
    )


def _other_scores(metrics: TaskMetrics) -> str:
    assert metrics.test is not None  # noqa: S101 - asked before
    others: Iterable[tuple[str, float]] = (
        (name.replace("_", " "), value) for name, value in metrics.test.metrics.items() if name != metrics.metric
    )
    parts = ((part, each.score.value) for part, each in metrics.parts.items())
    return ", ".join(f"{name} {value:.3f}" for name, value in (*others, *parts))

"""What is measured of one task: scores of its splits with intervals, parts of the test split, floors and rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bort_kedro.errors import TaskError
from bort_kedro.evaluation.calibration import Calibration
from bort_kedro.evaluation.floors import ROW_COLUMNS, SCORED_SPLITS
from bort_kedro.evaluation.intervals import score_interval
from bort_kedro.evaluation.scores import RivalScore, TaskScore, rival_score, score_answers
from bort_kedro.evaluation.settings import BootstrapSettings
from bort_kedro.frozen import JsonObject
from bort_kedro.tasks.table import Form, Task
from bort_kedro.tasks.tags import single_labels

if TYPE_CHECKING:
    import pandas as pd

PREDICTION_COLUMNS = (*ROW_COLUMNS, "prediction")
PROBABILITY = "probability_"


@dataclass(frozen=True)
class TaskMetrics:
    """Scores of a fine-tuned task.

    Args:
        splits: ``test``, which fine-tuning never saw, and ``dev``, as far as they have labels.
        calibration: Of probabilities, by split; empty where none were calibrated.
    """

    metric: str
    method: str
    splits: dict[str, TaskScore] = field(default_factory=dict)
    parts: dict[str, TaskScore] = field(default_factory=dict)
    rivals: dict[str, RivalScore] = field(default_factory=dict)
    calibration: dict[str, Calibration] = field(default_factory=dict)

    @property
    def test(self) -> TaskScore | None:
        """Of the test split; None where it has no labels."""
        return self.splits.get("test")

    @property
    def dev(self) -> TaskScore | None:
        """Likewise of the dev split."""
        return self.splits.get("dev")

    def to_json(self) -> JsonObject:
        """As JSON has it, each split under its name; `from_json` gives an equal value back."""
        return {
            "metric": self.metric,
            "method": self.method,
            **{split: score.to_json() for split, score in self.splits.items()},
            "parts": {part: score.to_json() for part, score in self.parts.items()},
            "rivals": {method: rival.to_json() for method, rival in self.rivals.items()},
            "calibration": {split: each.to_json() for split, each in self.calibration.items()},
        }

    @classmethod
    def from_json(cls, value: JsonObject) -> TaskMetrics:
        """The value that `to_json` wrote."""
        return cls(
            value["metric"],
            value["method"],
            {split: TaskScore.from_json(value[split]) for split in SCORED_SPLITS if split in value},
            {part: TaskScore.from_json(score) for part, score in value["parts"].items()},
            {method: RivalScore.from_json(rival) for method, rival in value["rivals"].items()},
            {split: Calibration.from_json(each) for split, each in value.get("calibration", {}).items()},
        )


def measure_task(
    task: Task,
    predictions: pd.DataFrame,
    bootstrap: BootstrapSettings,
    *,
    labels: Sequence[str],
    method: str,
    floors: pd.DataFrame,
    rivals: pd.DataFrame | None = None,
    calibration: Mapping[str, Calibration] | None = None,
) -> TaskMetrics:
    """Score the test split and the dev split beside it, and hold floors and rivals against them.

    Predictions have columns `PREDICTION_COLUMNS`, of a classification ``probability_<label>`` too, and those of floors
    and rivals also ``method``.

    Raises:
        TaskError: If columns or splits are missing, or the answers are those of another model.
    """
    splits = [split for split in SCORED_SPLITS if split == "test" or not task.is_diagnostic]
    tables = {split: _split_of(predictions, split) for split in splits if _has(predictions, split, task)}
    _require_labels(predictions, task, task.labels or tuple(labels))
    of_floors = {split: _others(task, table, floors, "floor_predictions") for split, table in tables.items()}
    scores = {}
    for split, table in tables.items():
        answers = table["prediction"].tolist()
        interval = score_interval(task, table, answers, bootstrap)
        scores[split] = score_answers(task, table, answers, interval=interval, floors=of_floors[split])
    parts = {
        str(part): score_answers(
            task,
            rows,
            rows["prediction"].tolist(),
            floors={name: [answers[row] for row in rows.index] for name, answers in of_floors["test"].items()},
        )
        for part, rows in (tables["test"].groupby("part") if "test" in tables else ())
        if part
    }
    against = {}
    if rivals is not None and len(rivals):
        test = tables["test"]
        for rival, answers in _others(task, test, rivals, "rival_predictions").items():
            against[rival] = rival_score(task, test, test["prediction"].tolist(), answers)
    return TaskMetrics(task.metrics[0], method, scores, parts, against, dict(calibration or {}))


def _others(task: Task, own: pd.DataFrame, others: pd.DataFrame, dataset: str) -> dict[str, list[str]]:
    """What others answer to the rows of one split, by method."""
    split, columns = str(own["split"].iloc[0]), [name for name in ROW_COLUMNS if name != "split"]
    answers = {}
    for method, rows in others.groupby("method", sort=False):
        theirs = _split_of(rows, split)
        if not own[columns].fillna("").equals(theirs[columns].fillna("")):
            raise TaskError(
                f"Task `{task.name}`: `{task.name}.predictions` and `{task.name}.{dataset}` answer different {split} "
                "examples, so they are of different runs. Run `kedro run --pipelines finetune` to its end, then this "
                "stage."
            )
        answers[str(method)] = theirs["prediction"].tolist()
    return answers


def _require_labels(predictions: pd.DataFrame, task: Task, labels: tuple[str, ...]) -> None:
    """Refuse the answers of a model that was made for other labels."""
    if task.form == Form.REGRESSION:
        return
    said = sorted(set(single_labels(task.form, predictions["prediction"].astype(str).unique())))
    columns = [str(name).removeprefix(PROBABILITY) for name in predictions if str(name).startswith(PROBABILITY)]
    has_other_outputs = set(columns or labels) != set(labels)
    found = columns if has_other_outputs else said
    if has_other_outputs or not set(said) <= set(labels):
        raise TaskError(
            f"Task `{task.name}` has the {len(labels)} labels {', '.join(labels)}, but `{task.name}.predictions` are "
            f"of a model with {', '.join(found)}. Run `kedro run --pipelines finetune` to its end, then this stage."
        )


def _has(predictions: pd.DataFrame, split: str, task: Task) -> bool:
    """Whether a split is there; a diagnostic may have none with labels."""
    missing = [column for column in PREDICTION_COLUMNS if column not in predictions.columns]
    if missing:
        raise TaskError(
            f"The predictions have columns {list(predictions.columns)} and lack {', '.join(missing)}. "
            f"Expected {', '.join(PREDICTION_COLUMNS)}; `kedro run --pipelines finetune` writes them."
        )
    is_there = bool((predictions["split"] == split).any())
    if not is_there and not task.is_diagnostic:
        raise TaskError(
            f"The predictions hold no example of split `{split}`, only of "
            f"{sorted(predictions['split'].unique())}. Give the task's examples a `{split}` split."
        )
    return is_there


def _split_of(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    return predictions[predictions["split"] == split].reset_index(drop=True)

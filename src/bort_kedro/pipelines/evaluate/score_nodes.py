"""Nodes that score the tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import pandas as pd

from bort_kedro.errors import TaskError
from bort_kedro.evaluation.settings import BootstrapSettings
from bort_kedro.params import FinetuneParams
from bort_kedro.params.finetune import task_of
from bort_kedro.tasks.table import Form, Task

PREDICTION_COLUMNS = ("split", "part", "group", "option", "label", "prediction")
SCORED_SPLITS = ("test", "dev")
PROBABILITY = "probability_"


def scorer_of(name: str) -> Callable[..., dict[str, Any]]:
    """The node function that scores one task."""

    def score_task(
        predictions: pd.DataFrame,
        finetuning_report: dict[str, Any],
        finetune: FinetuneParams,
        bootstrap: BootstrapSettings,
        rival_predictions: pd.DataFrame | None = None,
    ) -> dict[str, Any]:
        """Score the test split, which fine-tuning never saw, and the dev split beside it; hold rivals against it."""
        from bort_kedro.evaluation.intervals import score_interval
        from bort_kedro.evaluation.scores import lead, score_answers

        task = task_of(name, finetune)
        splits = [split for split in SCORED_SPLITS if split == "test" or not task.is_diagnostic]
        tables = {split: _split_of(predictions, split) for split in splits if _has(predictions, split, task)}
        _require_labels(predictions, task, task.labels or tuple(finetuning_report["labels"]))
        metrics: dict[str, Any] = {"metric": task.metrics[0], "method": finetuning_report["method"]}
        for split, table in tables.items():
            answers = table["prediction"].tolist()
            metrics[split] = _flat(score_answers(task, table, answers))
            interval = score_interval(task, table, answers, bootstrap)
            if interval is not None:
                metrics[split]["interval"] = asdict(interval)
        metrics["parts"] = {
            part: _flat(score_answers(task, rows, rows["prediction"].tolist()))
            for part, rows in (tables["test"].groupby("part") if "test" in tables else ())
            if part
        }
        metrics["rivals"] = {}
        for method, rows in () if rival_predictions is None else rival_predictions.groupby("method", sort=False):
            rival, own = rows[rows["split"] == "test"].reset_index(drop=True), tables["test"]
            _require_same_examples(own, rival, name)
            ahead = lead(task, own, own["prediction"].tolist(), rival["prediction"].tolist())
            metrics["rivals"][method] = {
                "score": score_answers(task, rival, rival["prediction"].tolist()).score.value,
                "lead": ahead.value,
                "lead_standard_error": ahead.standard_error,
            }
        return metrics

    return score_task


def _require_same_examples(own: pd.DataFrame, rival: pd.DataFrame, task: str) -> None:
    columns = ["part", "group", "option", "label"]
    if not own[columns].fillna("").equals(rival[columns].fillna("")):
        raise TaskError(
            f"Task `{task}`: `{task}.predictions` and `{task}.rival_predictions` answer different test examples, so "
            "they are of different runs. Run `kedro run --pipelines finetune` to its end, then this stage."
        )


def _require_labels(predictions: pd.DataFrame, task: Task, labels: tuple[str, ...]) -> None:
    """Refuse the answers of a model that was made for other labels."""
    if task.form == Form.REGRESSION:
        return
    said = sorted(predictions["prediction"].astype(str).unique())
    columns = [str(name).removeprefix(PROBABILITY) for name in predictions if str(name).startswith(PROBABILITY)]
    has_other_outputs = set(columns or labels) != set(labels)
    found = columns if has_other_outputs else said
    if has_other_outputs or not set(said) <= set(labels):
        raise TaskError(
            f"Task `{task.name}` has the {len(labels)} labels {', '.join(labels)}, but `{task.name}.predictions` are "
            f"of a model with {', '.join(found)}. Run `kedro run --pipelines finetune` to its end, then this stage."
        )


def _has(predictions: pd.DataFrame, split: str, task: Task) -> bool:
    """Whether a split is there; a diagnostic may have none with labels.

    Raises:
        TaskError: If columns are missing, or a split that every other task has.
    """
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


def _flat(score: Any) -> dict[str, Any]:
    """A `evaluation.scores.TaskScore` as one level of JSON."""
    return {
        "score": score.score.value,
        "standard_error": score.score.standard_error,
        "majority_score": score.majority_score,
        "advantage": score.advantage.value,
        "advantage_standard_error": score.advantage.standard_error,
        "beats_majority": score.advantage.is_above_noise,
        "num_examples": score.num_examples,
        **{f"metric_{name}": value for name, value in score.metrics.items()},
    }


def summarise_tasks(**of_tasks: dict[str, Any]) -> pd.DataFrame:
    """One row a task with labels on its test split, from its ``metrics``, ``finetuning_report`` and
    ``examples_report``."""
    tasks = [name.removesuffix(".metrics") for name in of_tasks if name.endswith(".metrics")]
    rows = []
    for task in tasks:
        metrics, cost, examples = (
            of_tasks[f"{task}.{name}"] for name in ("metrics", "finetuning_report", "examples_report")
        )
        if "test" not in metrics:
            continue
        dev = metrics.get("dev", {})
        rows.append(
            {
                "task": task,
                "method": metrics["method"],
                "metric": metrics["metric"],
                "num_labels": len(cost["labels"]),
                **{
                    name: value
                    for name, value in metrics["test"].items()
                    if name != "interval" and not name.startswith("metric_")
                },
                **{f"interval_{end}": metrics["test"].get("interval", {}).get(end) for end in ("low", "high", "level")},
                "dev_score": dev.get("score"),
                "dev_standard_error": dev.get("standard_error"),
                "other_scores": _other_scores(metrics),
                "num_trials": cost["num_trials"],
                **_spent("", [cost]),
                "truncated_share": cost["truncated_share"],
                "test_split": examples["test"]["source"],
                "num_rows_skipped": sum(examples.get("num_rows_skipped", {}).values()),
                **_points_of(cost),
                **_teacher_of(of_tasks.get(f"{task}.teacher_report")),
                **_spent("rival_", of_tasks.get(f"{task}.rivals_report", {}).values()),
                **{
                    f"{method}_{name}": rival[name]
                    for method, rival in metrics["rivals"].items()
                    for name in ("score", "lead", "lead_standard_error")
                },
            }
        )
    return pd.DataFrame(rows)


def _points_of(report: dict[str, Any]) -> dict[str, int]:
    """Points that Agora made, over all rounds, and those thrown away as copies."""
    draws = [each["points"] for each in report.get("rounds", ()) if each["points"]]
    return {name: sum(draw[name] for draw in draws) for name in ("num_made", "num_copies", "num_kept")}


def _other_scores(metrics: dict[str, Any]) -> str:
    """The further metrics of a task, and the parts of its test split, for readers."""
    said = [
        f"{name.removeprefix('metric_').replace('_', ' ')} {value:.3f}"
        for name, value in metrics["test"].items()
        if name.startswith("metric_") and name != f"metric_{metrics['metric']}"
    ]
    return ", ".join([*said, *(f"{part} {each['score']:.3f}" for part, each in metrics["parts"].items())])


def _teacher_of(report: dict[str, Any] | None) -> dict[str, Any]:
    """How the teacher did on dev, what it had to be over, and what its training took; nothing where there was none."""
    check = report["check"] if report else {}
    return {
        "teacher_score": check.get("score"),
        # It must be over the share of the most frequent label, too.
        "teacher_bar": max(check["bar"], check["majority"]) if check else None,
        "is_teacher_over": check.get("is_over"),
        **_spent("teacher_", [report] if report else []),
    }


def _spent(whose: str, reports: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Seconds and tokens of fine-tunings, under names that begin with ``whose``."""
    reports = list(reports)
    return {f"{whose}{name}": sum(report.get(name, 0) for report in reports) for name in ("seconds", "num_tokens")}

"""Nodes that score the tasks."""

import time
from collections.abc import Callable

import pandas as pd

from bort_kedro.agora.teacher_bar import TeacherReport
from bort_kedro.evaluation.floors import FloorReport, answer_by_floors
from bort_kedro.evaluation.settings import BootstrapSettings
from bort_kedro.evaluation.task_metrics import TaskMetrics, measure_task
from bort_kedro.finetuning.report import FinetuningReport
from bort_kedro.frozen import JsonObject
from bort_kedro.params import FinetuneParams
from bort_kedro.params.finetune import task_of
from bort_kedro.reporting.task_rows import task_row
from bort_kedro.tasks.splits import ExamplesReport


def floors_of(name: str, model_of: str) -> Callable[..., tuple[pd.DataFrame, JsonObject]]:
    """The node function that answers one task by all floors, learning from the task whose examples its model saw."""

    def answer_task_by_floors(
        examples: pd.DataFrame, finetune: FinetuneParams, taught_examples: pd.DataFrame | None = None
    ) -> tuple[pd.DataFrame, JsonObject]:
        """What counting words gives of the same rows, in seconds."""
        from bort_kedro.finetuning.data import check_examples

        data = check_examples(examples, task_of(name, finetune))
        taught = data if taught_examples is None else check_examples(taught_examples, task_of(model_of, finetune))
        predictions, reports = answer_by_floors(data.task, taught.tables, data.tables, time.perf_counter)
        return predictions, {floor: report.to_json() for floor, report in reports.items()}

    return answer_task_by_floors


def scorer_of(name: str) -> Callable[..., JsonObject]:
    """The node function that scores one task."""

    def score_task(
        predictions: pd.DataFrame,
        finetuning_report: JsonObject,
        floor_predictions: pd.DataFrame,
        finetune: FinetuneParams,
        bootstrap: BootstrapSettings,
        rival_predictions: pd.DataFrame | None = None,
    ) -> JsonObject:
        """Score the test split, which fine-tuning never saw, and the dev split beside it; hold others against them."""
        report = FinetuningReport.from_json(finetuning_report)
        return measure_task(
            task_of(name, finetune),
            predictions,
            bootstrap,
            labels=report.labels,
            method=report.method,
            floors=floor_predictions,
            rivals=rival_predictions,
            calibration=report.calibration,
        ).to_json()

    return score_task


def summarise_tasks(**of_tasks: JsonObject) -> pd.DataFrame:
    """One row a task with labels on its test split, from its ``metrics``, ``floors_report``, ``finetuning_report``,
    ``examples_report`` and, where there are such, ``teacher_report`` and ``rivals_report``."""
    tasks = [name.removesuffix(".metrics") for name in of_tasks if name.endswith(".metrics")]
    rows = []
    for task in tasks:
        taught = of_tasks.get(f"{task}.teacher_report")
        row = task_row(
            task,
            TaskMetrics.from_json(of_tasks[f"{task}.metrics"]),
            FinetuningReport.from_json(of_tasks[f"{task}.finetuning_report"]),
            ExamplesReport.from_json(of_tasks[f"{task}.examples_report"]),
            {name: FloorReport.from_json(report) for name, report in of_tasks[f"{task}.floors_report"].items()},
            teacher=TeacherReport.from_json(taught) if taught else None,
            rivals={
                method: FinetuningReport.from_json(report)
                for method, report in of_tasks.get(f"{task}.rivals_report", {}).items()
            },
        )
        if row is not None:
            rows.append(row.to_row())
    return pd.DataFrame(rows)

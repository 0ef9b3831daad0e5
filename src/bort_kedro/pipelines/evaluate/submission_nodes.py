"""Nodes that average the scores as leaderboards do and make the archives to send to them."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from bort_kedro.errors import TaskError
from bort_kedro.evaluation.leaderboards import leaderboards
from bort_kedro.evaluation.submission_checks import validate_submission
from bort_kedro.evaluation.submissions import (
    BENCHMARKS,
    SubmissionFile,
    SubmissionReport,
    answers_in,
    constant_answers,
    file_text,
    official_test_rows,
    submission_files,
)
from bort_kedro.evaluation.task_metrics import TaskMetrics
from bort_kedro.frozen import JsonObject
from bort_kedro.params import FinetuneParams
from bort_kedro.tasks.reading.choose import read_task
from bort_kedro.tasks.reading.folder import TaskFolder
from bort_kedro.tasks.splits import ExamplesReport
from bort_kedro.tasks.table import TASKS

LOGGER = logging.getLogger(__name__)
COLUMNS = ("split", "part", "index", "option", "prediction")
NO_ROWS = "no task of it was run on the official test files, so there is nothing to submit"


def average_tasks(**of_tasks: JsonObject) -> dict[str, JsonObject]:
    """What GLUE and SuperGLUE rank by, from each task's ``metrics``; nothing where none of their tasks was run."""
    boards = leaderboards(
        {name.removesuffix(".metrics"): TaskMetrics.from_json(metrics) for name, metrics in of_tasks.items()}
    )
    return {benchmark: board.to_json() for benchmark, board in boards.items()}


def write_submissions(
    task_files: TaskFolder, finetune: FinetuneParams, **of_tasks: Any
) -> tuple[dict[str, dict[str, str]], JsonObject]:
    """Archives for the leaderboards of which a task was run, from each task's ``predictions`` and
    ``examples_report``; and of each leaderboard what its archive holds, or why there is none."""
    tasks = [name.removesuffix(".predictions") for name in of_tasks if name.endswith(".predictions")]
    archives, report = {}, {}
    for benchmark in BENCHMARKS:
        if not any(TASKS[task].benchmark == benchmark for task in tasks):
            continue
        files, told = _submission(benchmark, of_tasks, task_files, finetune)
        report[benchmark] = told.to_json()
        if not told.is_written:
            LOGGER.warning("No %s archive was written: %s", benchmark, " ".join(told.faults) or told.why)
            continue
        archives[benchmark] = files
        if told.filled:
            LOGGER.warning(
                "The %s archive holds the same answer to every example for tasks that were not run: %s.",
                benchmark,
                ", ".join(told.filled),
            )
    return archives, report


def _submission(
    benchmark: str, of_tasks: Mapping[str, Any], task_files: TaskFolder, finetune: FinetuneParams
) -> tuple[dict[str, str], SubmissionReport]:
    """The text of each file, and what is to be said of all."""
    wanted = submission_files(benchmark)
    answered = {name: rows for name, file in wanted.items() if len(rows := _own_rows(file, of_tasks))}
    if not answered:
        return {}, SubmissionReport(why=NO_ROWS)
    files, left_out = {}, {}
    for name, file in wanted.items():
        if name in answered:
            files[name] = file_text(file, answers_in(file.task, answered[name]))
            continue
        try:
            official_rows = _official_rows(file, task_files, finetune) if file.needs_official_test else None
        except TaskError as fault:
            left_out[name] = f"its task was not run, and a constant answer needs the official test file: {fault}"
            continue
        files[name] = file_text(file, constant_answers(file, official_rows))
    faults = validate_submission(benchmark, files)
    return files, SubmissionReport(
        is_written=not faults,
        why="it is not what the leaderboard asks for, see faults" if faults else "",
        files={name: wanted[name].task.name for name in files},
        filled=tuple(name for name in files if name not in answered),
        left_out=left_out,
        faults=tuple(faults),
    )


def _own_rows(file: SubmissionFile, of_tasks: Mapping[str, Any]) -> pd.DataFrame:
    """The predictions of this run that belong into a file."""
    name = file.task.name
    predictions = of_tasks.get(f"{name}.predictions")
    if predictions is None:
        return pd.DataFrame()
    missing = [column for column in COLUMNS if column not in predictions.columns]
    if missing:
        raise TaskError(
            f"`{name}.predictions` has columns {', '.join(map(str, predictions.columns))} and lacks "
            f"{', '.join(missing)}. `kedro run --pipelines finetune` writes them."
        )
    test = ExamplesReport.from_json(of_tasks[f"{name}.examples_report"]).test
    return official_test_rows(predictions, test.source if test else None, file.part)


def _official_rows(file: SubmissionFile, task_files: TaskFolder, finetune: FinetuneParams) -> pd.DataFrame:
    """The official test examples of a task that was not run."""
    sources = tuple(source for source in file.task.sources if source.split == "test")
    rows = read_task(replace(file.task, sources=sources, required=("test",)), task_files, finetune).examples
    return pd.DataFrame(rows[["index", "option"]])

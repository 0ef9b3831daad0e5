"""MLflow runs below a Kedro run: one for each pretraining and each task, and for each trial under its task's."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bort_kedro.environment import environment_variables
from bort_kedro.frozen import JsonObject
from bort_kedro.redaction import redacted
from bort_kedro.training.observer import CANDIDATE

if TYPE_CHECKING:
    from mlflow.entities import RunInfo

    from bort_kedro.training.observer import Row, Training, TrialEnded

# MLflow takes this many metrics in one call, and no more than that with the parameters beside them.
METRICS_PER_CALL = 1000
# Rows of a training that come sooner one after the other wait for each other, since each call takes hundredths of one.
SECONDS_BETWEEN_ROWS = 1.0
# What a trial's row says of its result; the rest is how it was trained.
RESULTS = ("dev_score", "num_steps_done", "seconds")
HAS_DIVERGED = "has_diverged"
PARENT_TAG = "mlflow.parentRunId"
# What a training below a Kedro run is one of.
KIND_TAG = "kind"
NO_LINKS = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"
MetricRow = tuple[str, float, int]


def log_metrics(run_id: str, rows: Sequence[MetricRow], params: JsonObject | None = None) -> None:
    """Log ``(metric, value, step)`` and parameters on a run in as few calls as MLflow allows; NaN is left out."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    now = _milliseconds()
    entries = [Param(key, redacted(str(value))) for key, value in (params or {}).items()]
    metrics = [Metric(key, value, now, step) for key, value, step in rows if not math.isnan(value)]
    first = METRICS_PER_CALL - len(entries)
    MlflowClient().log_batch(run_id, metrics=metrics[:first], params=entries)
    for start in range(first, len(metrics), METRICS_PER_CALL):
        MlflowClient().log_batch(run_id, metrics=metrics[start : start + METRICS_PER_CALL])


@dataclass
class _TrainingRun:
    """What the run of a pretraining has been told.

    Args:
        waiting: Parameters that it has not been told yet, so that they go with the first metrics.
        rows: Likewise, of its curve.
        due: When these are told, by the clock that `time.monotonic` reads.
    """

    run_id: str
    waiting: JsonObject
    rows: list[Row] = field(default_factory=list)
    due: float = 0.0
    steps: set[int] = field(default_factory=set)
    results: Row = field(default_factory=dict)
    is_open: bool = True


@dataclass
class _TaskRun:
    """What is known of a task's run until it ends, by method."""

    run_id: str
    best_score: dict[str, float] = field(default_factory=dict)
    num_trials: Counter[str] = field(default_factory=Counter)
    num_diverged: int = 0


class NestedRuns:
    """The runs below one Kedro run; none of them is ever the active run.

    A training that was found finished on disk is tracked like one that was trained now: the runs below a Kedro run are
    the trainings its results come from.
    """

    def __init__(self, kedro_run: RunInfo) -> None:
        self._kedro_run = kedro_run
        self._trainings: dict[Training, _TrainingRun] = {}
        self._tasks: dict[str, _TaskRun] = {}

    def row_logged(self, training: Training, row: Row) -> None:
        """Show a row of a training that still runs; those of one second wait for each other."""
        run = self._run_of(training, seconds=0.0)
        run.rows.append(row)
        if time.monotonic() >= run.due:
            self._tell(run, {}, run.rows)
            run.due = time.monotonic() + SECONDS_BETWEEN_ROWS

    def training_ended(self, training: Training, results: Row, history: list[Row], failure: str | None) -> None:
        """Log what of results and curve is not there yet, and end the run: FAILED where there is a failure."""
        run = self._run_of(training, seconds=results.get("seconds", 0.0))
        # What failed has no history, and may have shown some.
        self._tell(run, results, history or run.rows)
        if failure is not None:
            from mlflow import MlflowClient

            MlflowClient().set_tag(run.run_id, "failure", redacted(failure))
        if failure is not None or run.is_open:
            _end_run(run.run_id, "FINISHED" if failure is None else "FAILED")
            run.is_open = False

    @property
    def experiment_id(self) -> str:
        """Of MLflow."""
        return str(self._kedro_run.experiment_id)

    @property
    def have_candidates(self) -> bool:
        """Whether some are those of a search."""
        return any(training.kind == CANDIDATE for training in self._trainings)

    def _run_of(self, training: Training, *, seconds: float) -> _TrainingRun:
        if training not in self._trainings:
            start = self._start_of(seconds)
            run_id = self._create(training.name, self._kedro_run.run_id, start, {KIND_TAG: training.kind})
            self._trainings[training] = _TrainingRun(run_id, training.parameters)
        return self._trainings[training]

    def _tell(self, run: _TrainingRun, results: Row, history: Iterable[Row]) -> None:
        new = [row for row in history if int(row["step"]) not in run.steps]
        changed = {key: value for key, value in results.items() if run.results.get(key) != value}
        log_metrics(run.run_id, [*((key, value, 0) for key, value in changed.items()), *_curve(new)], run.waiting)
        run.steps |= {int(row["step"]) for row in new}
        run.results |= changed
        run.waiting, run.rows = {}, []

    def trial_ended(self, trial: TrialEnded) -> None:
        """Make the trial's run, log all of it and end it: FAILED if the trial diverged, else FINISHED."""
        start = self._start_of(trial.row["seconds"])
        if trial.task not in self._tasks:
            run_id = self._create(trial.task, self._kedro_run.run_id, start, {"task": trial.task})
            self._tasks[trial.task] = _TaskRun(run_id)
        task = self._tasks[trial.task]
        # People count from 1.
        place = {"round": str(trial.round + 1), "setting": str(trial.setting + 1)}
        name = f"{trial.method}, round {place['round']}, setting {place['setting']}"
        run_id = self._create(name, task.run_id, start, {"task": trial.task, "method": trial.method, **place})
        params = {key: value for key, value in trial.row.items() if key not in {*RESULTS, HAS_DIVERGED}}
        log_metrics(run_id, _metrics_of(trial), params)
        _end_run(run_id, "FAILED" if trial.row[HAS_DIVERGED] else "FINISHED")
        self._count(task, trial)

    def end(self, status: str) -> None:
        """End the open runs with the status of the Kedro run, such as ``FINISHED``, and tasks with counts of trials."""
        for run in self._trainings.values():
            if run.is_open:
                self._tell(run, {}, run.rows)
                _end_run(run.run_id, status)
        self._trainings.clear()
        for task in self._tasks.values():
            counts = {f"{method}.num_trials": count for method, count in task.num_trials.items()}
            counts |= {"num_trials": task.num_trials.total(), "num_diverged_trials": task.num_diverged}
            log_metrics(task.run_id, [(key, float(count), 0) for key, count in counts.items()])
            _end_run(task.run_id, status)
        self._tasks.clear()

    def _count(self, task: _TaskRun, trial: TrialEnded) -> None:
        """Keep the counts, and log the score where it is the method's best until now, by the method's trials."""
        method, score = trial.method, float(trial.row["dev_score"])
        task.num_trials[method] += 1
        task.num_diverged += bool(trial.row[HAS_DIVERGED])
        if score > task.best_score.get(method, -math.inf):
            task.best_score[method] = score
            log_metrics(task.run_id, [(f"{method}.dev_score", score, task.num_trials[method])])

    def _start_of(self, seconds: float) -> int:
        """As long ago as a training took, but no earlier than the Kedro run that found it on disk."""
        return max(int(self._kedro_run.start_time), _milliseconds() - round(1000 * seconds))

    def _create(self, name: str, parent_id: str, start: int, tags: dict[str, str]) -> str:
        from mlflow import MlflowClient

        run = MlflowClient().create_run(self.experiment_id, start, tags={PARENT_TAG: parent_id, **tags}, run_name=name)
        return str(run.info.run_id)


def _metrics_of(trial: TrialEnded) -> list[MetricRow]:
    """Results, curve of the training and looks at dev; MLflow shows a metric's largest value of its last step."""
    last = int(trial.row["num_steps_done"])
    looks = [("dev_score", float(look["score"]), int(look["step"])) for look in trial.looks]
    # The score at the last step is that of the kept weights, which an earlier look may have found.
    results = [(key, float(trial.row[key]), last) for key in RESULTS]
    return [*(result for result in results if result not in looks), *looks, *_curve(trial.history)]


def _curve(history: Iterable[Row]) -> list[MetricRow]:
    return [
        (f"training.{key}", float(value), int(row["step"]))
        for row in history
        for key, value in row.items()
        if key != "step"
    ]


def _end_run(run_id: str, status: str) -> None:
    from mlflow import MlflowClient

    # With a tracking server MLflow asks for each run that ends and prints a link to it, hundreds here.
    with environment_variables({NO_LINKS: "true"}):
        MlflowClient().set_terminated(run_id, status)


def _milliseconds() -> int:
    return int(time.time() * 1000)

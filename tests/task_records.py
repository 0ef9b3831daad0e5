"""Records of a made task, for tests of what is said of tasks."""

from bort_kedro.agora.teacher_bar import TeacherCheck, TeacherReport
from bort_kedro.evaluation.scores import Estimate, TaskScore
from bort_kedro.evaluation.task_metrics import RivalScore
from bort_kedro.finetuning.report import FinetuningReport
from bort_kedro.reporting.task_rows import TaskRow
from bort_kedro.tasks.splits import ExamplesReport, SplitReport

FINETUNING = FinetuningReport(
    task="library",
    form="classification",
    metrics=("accuracy",),
    labels=("a", "b"),
    num_examples={},
    num_units={},
    truncated_share=0.25,
    method="agora",
    num_trials=2,
    seconds=12.5,
)
TEACHER = TeacherReport(
    **dict(FINETUNING) | {"method": "teacher", "seconds": 4.5},
    check=TeacherCheck(score=0.8, bar=0.7, chance=0.5, majority=0.75, is_over=True),
)


def split(source, num_units=4):
    """A split of so many examples."""
    return SplitReport(source=source, num_rows=num_units, num_units=num_units, labels={})


def examples(**sources):
    """A report of splits that come from ``sources``, such as ``test="official test"``."""
    return ExamplesReport(**{name: split(source) for name, source in sources.items()})


def score(value=0.5, *, majority=0.5, interval=None, num_examples=4, **metrics):
    """A score; its metrics are the accuracy where none are named."""
    ahead = Estimate(value - majority, 0.01)
    return TaskScore(metrics or {"accuracy": value}, Estimate(value, 0.01), majority, ahead, num_examples, interval)


def rival(lead, standard_error, value=0.6):
    """Another method that ours is ahead of."""
    return RivalScore(score=value, lead=lead, lead_standard_error=standard_error)


def task(name, **changes):
    """A row of the table of scores."""
    row = {
        "task": name,
        "method": "plain",
        "metric": "accuracy",
        "num_labels": 2,
        "num_examples": 400,
        "score": 0.7,
        "standard_error": 0.023,
        "majority_score": 0.5,
        "advantage": 0.2,
        "advantage_standard_error": 0.045,
        "beats_majority": True,
        "dev_score": 0.72,
        "dev_standard_error": 0.022,
        "num_trials": 3,
        "seconds": 20.0,
        "truncated_share": 0.05,
        "test_split": "official test",
    }
    return TaskRow(**row | changes)

"""Records of a made task, for tests of what is said of tasks."""

from bort_kedro.agora.teacher_bar import TeacherCheck, TeacherReport
from bort_kedro.evaluation.floors import FloorReport
from bort_kedro.evaluation.scores import Estimate, RivalScore, TaskScore
from bort_kedro.exports.report import ExportReport, FormatReport
from bort_kedro.finetuning.report import FinetuningReport
from bort_kedro.reporting.task_rows import FloorRow, TaskRow
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
    check=TeacherCheck(score=0.8, error=0.02, bar=0.7, chance=0.5, majority=0.75, lead_error=0.03, is_over=True),
)


FLOOR_REPORTS = {
    "constant": FloorReport(seconds=0.0, strength=None, train_share=None),
    "tfidf": FloorReport(seconds=1.25, strength=10.0, train_share=0.5),
}


def split(source, num_units=4):
    """A split of so many examples."""
    return SplitReport(source=source, num_rows=num_units, num_units=num_units, labels={})


def examples(**sources):
    """A report of splits that come from ``sources``, such as ``test="official test"``."""
    return ExamplesReport(**{name: split(source) for name, source in sources.items()})


def score(value=0.5, *, constant=0.5, tfidf=0.5, interval=None, num_examples=4, **metrics):
    """A score; its metrics are the accuracy where none are named."""
    floors = {name: rival(value - floor, 0.01, floor) for name, floor in (("constant", constant), ("tfidf", tfidf))}
    return TaskScore(metrics or {"accuracy": value}, Estimate(value, 0.01), num_examples, interval, floors)


def export_format(title="PyTorch", **changes):
    """A format that says what PyTorch says, in as much time."""
    values = {
        "max_difference": 0.0,
        "tolerance": None,
        "score_before": 0.7,
        "score_after": 0.7,
        "allowed_drop": 0.005,
        "bytes": 1_000_000,
        "median_ms": 2.0,
        "lower_quartile_ms": 1.9,
        "upper_quartile_ms": 2.1,
        "speedup": 1.0,
        "is_refused": False,
    } | changes
    return FormatReport(title=title, **{"drop": values["score_before"] - values["score_after"]} | values)


def export_report(**formats):
    """Of some formats, timed on one input of 128 tokens."""
    return ExportReport(
        metric="accuracy",
        num_examples=24,
        num_checked=64,
        num_calibration=6,
        refuses_drops=True,
        has_pairs=False,
        batch_size=1,
        sequence_length=128,
        num_threads=1,
        timed_rounds=3,
        formats=formats,
    )


def rival(lead, standard_error, value=0.6):
    """Another method that ours is ahead of."""
    return RivalScore(score=value, lead=lead, lead_standard_error=standard_error)


def floor(score, lead, standard_error=0.045, **changes):
    """A floor in a row of the table of scores."""
    return FloorRow(score=score, lead=lead, lead_standard_error=standard_error, **{"seconds": 0.0} | changes)


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
        "floors": {"constant": floor(0.5, 0.2), "tfidf": floor(0.6, 0.1, seconds=1.3, train_share=1.0)},
        "dev_score": 0.72,
        "dev_standard_error": 0.022,
        "num_trials": 3,
        "seconds": 20.0,
        "truncated_share": 0.05,
        "test_split": "official test",
    }
    return TaskRow(**row | changes)

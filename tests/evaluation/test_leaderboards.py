"""Averages as the leaderboards take them, by hand."""

import pytest

from bort_kedro.evaluation.leaderboards import averaged_tasks, leaderboards, task_score
from bort_kedro.evaluation.task_metrics import TaskMetrics
from bort_kedro.tasks.table import TASKS
from task_records import score


def metrics(*values, task, parts=None):
    """What the scoring of a task says, of values in the order of its metrics."""
    names = TASKS[task].metrics if task in TASKS else ("accuracy",)
    test = score(values[0], **dict(zip(names, values, strict=True)))
    return TaskMetrics(names[0], "plain", {"test": test}, {part: score(value) for part, value in (parts or {}).items()})


def test_a_task_counts_as_the_mean_of_its_metrics():
    assert task_score("mrpc", metrics(0.9, 0.8, task="mrpc")) == pytest.approx(0.85)
    assert task_score("stsb", metrics(0.5, 0.3, task="stsb")) == pytest.approx(0.4)
    assert task_score("cb", metrics(0.6, 0.9, task="cb")) == pytest.approx(0.75)
    assert task_score("multirc", metrics(0.7, 0.2, task="multirc")) == pytest.approx(0.45)
    assert task_score("record", metrics(0.7, 0.6, task="record")) == pytest.approx(0.65)


def test_mnli_is_the_mean_of_its_parts_however_many_examples_they_have():
    parts = {"matched": 0.6, "mismatched": 0.8}
    assert task_score("mnli", metrics(0.77, task="mnli", parts=parts)) == pytest.approx(0.7)
    assert task_score("mnli", metrics(0.77, task="mnli")) == 0.77


def test_nine_tasks_of_glue_and_eight_of_superglue_are_averaged():
    assert averaged_tasks("GLUE") == ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]
    assert averaged_tasks("SuperGLUE") == [
        "boolq",
        "cb",
        "copa",
        "multirc",
        "record",
        "superglue_rte",
        "wic",
        "wsc",
    ]


def test_all_tasks_of_glue_give_its_average_of_averages():
    run = {name: metrics(*[0.5] * len(TASKS[name].metrics), task=name) for name in averaged_tasks("GLUE")}
    run["mrpc"], run["ax"] = metrics(1.0, 0.8, task="mrpc"), metrics(0.1, task="ax")
    board = leaderboards(run)
    assert set(board) == {"GLUE"}
    # Eight tasks at 0.5 and one at 0.9; the diagnostic does not count.
    assert board["GLUE"].average == pytest.approx((8 * 0.5 + 0.9) / 9)
    assert board["GLUE"].diagnostics == {"ax": {"matthews": 0.1}}
    assert board["GLUE"].missing == ()
    assert board["GLUE"].note == "average of all 9 tasks, of the unseen split, not of the leaderboard's hidden test"


def test_missing_tasks_are_named_and_the_average_is_over_those_there_are():
    board = leaderboards(
        {
            "cola": metrics(0.2, task="cola"),
            "rte": metrics(0.6, task="rte"),
            "cb": metrics(0.5, 0.7, task="cb"),
            "library": metrics(1.0, task="library"),
        }
    )
    assert board["GLUE"].tasks == {"cola": 0.2, "rte": 0.6}
    assert board["GLUE"].average == pytest.approx(0.4)
    assert board["GLUE"].missing == ("sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "wnli")
    assert board["GLUE"].note == (
        "average of 2 of 9 tasks; not comparable to the leaderboard; of the unseen split, not of the leaderboard's "
        "hidden test"
    )
    assert board["SuperGLUE"].average == pytest.approx(0.6)
    assert len(board["SuperGLUE"].missing) == 7


def test_diagnostics_alone_have_no_average():
    board = leaderboards({"axg": metrics(0.5, 0.9, task="axg"), "ax": TaskMetrics("matthews", "plain")})
    assert set(board) == {"SuperGLUE"}
    assert board["SuperGLUE"].average is None
    assert board["SuperGLUE"].diagnostics == {"axg": {"accuracy": 0.5, "parity": 0.9}}
    assert board["SuperGLUE"].note == "no average: none of the 8 tasks was run, only diagnostics"


def test_no_task_of_a_benchmark_gives_no_leaderboard():
    assert leaderboards({"library": metrics(1.0, task="library")}) == {}

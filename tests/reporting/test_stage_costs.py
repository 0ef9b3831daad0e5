"""What the trainings cost, from what was recorded, and nothing else."""

import math

import pandas as pd
import pytest

from bort_kedro.reporting.report_delivery import costs_section
from bort_kedro.reporting.stage_costs import StageCost, stage_costs, total
from model_card_data import ORIGIN
from search_results import trained_search
from task_records import task

SECONDS = {"teacher": 72.0, "student": 36.0, "undistilled": 18.0}
PRETRAINING = ORIGIN.pretraining.model_copy(
    update={name: ORIGIN.pretraining.student.model_copy(update={"seconds": took}) for name, took in SECONDS.items()}
)
TASK = {
    **{"teacher_seconds": 30.0, "seconds": 20.0, "rival_seconds": 10.0},
    **{"teacher_num_tokens": 500, "num_tokens": 400, "rival_num_tokens": 200},
}
HISTORY = [{"device_hours": 0.0025, "num_tokens": 3600}, {"device_hours": 0.005, "num_tokens": 3600}]


def costs(**changes):
    tasks = [task("library", **TASK | changes)]
    return stage_costs(trained_search(seconds=125.0, num_tokens=7000), PRETRAINING, {"student": HISTORY}, tasks)


def test_each_training_has_a_row_in_the_order_of_the_stages():
    assert [(row.stage, row.what, row.purpose, row.seconds) for row in costs()] == [
        ("search", "2 candidates and the maximum point", "model", 125.0),
        ("pretrain_distill", "the teacher", "model", 72.0),
        ("pretrain_distill", "the student", "model", 36.0),
        ("pretrain_distill", "the same shape trained without a teacher", "compare", 18.0),
        ("finetune", "task `library`: its teacher", "model", 30.0),
        ("finetune", "task `library`: 3 trials", "model", 20.0),
        ("finetune", "task `library`: other methods", "compare", 10.0),
    ]


def test_without_search_and_pretraining_there_are_the_costs_of_tasks():
    assert [row.stage for row in stage_costs(None, None, {}, [task("library", **TASK)])] == ["finetune"] * 3


def test_device_hours_are_those_recorded_and_else_the_time_on_one_device():
    student, other = costs()[2:4]
    assert (student.device_hours, other.device_hours) == (0.005, 18 / 3600)


def test_tokens_are_those_recorded_and_missing_where_none_were():
    assert [row.tokens for row in costs(rival_num_tokens=0)] == [7000, None, 3600, None, 500, 400, None]


def test_what_took_no_time_has_no_row():
    assert [row.what for row in costs(teacher_seconds=0.0, rival_seconds=0.0)[4:]] == ["task `library`: 3 trials"]


def test_a_total_leaves_out_what_was_not_counted_also_in_a_saved_table():
    rows = costs()
    saved = pd.DataFrame([row.to_json() for row in rows]).to_dict("records")
    assert any(math.isnan(row["tokens"]) for row in saved)
    assert [StageCost.from_row(row) for row in saved] == rows
    whole = total(rows)
    assert whole.seconds == pytest.approx(311.0)
    assert whole.device_hours == pytest.approx((311 - 36) / 3600 + 0.005)
    assert whole.tokens == 7000 + 3600 + 500 + 400 + 200


def test_the_section_adds_up_and_says_what_was_spent_on_comparison():
    text = costs_section(costs(), "an abacus")
    assert "| search | 2 candidates and the maximum point | 2 min 5 s | 0.035 | 7.00 k |\n" in text
    assert "| pretrain_distill | the student | 36 s | 0.005 | 3.60 k |\n" in text
    assert "| pretrain_distill | the teacher | 1 min 12 s | 0.020 | not counted |\n" in text
    assert "| **sum** | – | **5 min 11 s** | **0.081** | **11.7 k** counted |\n\nOf it 28 s went into" in text
    assert "this report was written on an abacus." in text


def test_without_a_recorded_cost_there_is_no_section():
    assert costs_section([], "an abacus") == ""

"""What the trainings cost, from what was recorded, and nothing else."""

import math

import pandas as pd
import pytest

from bort_kedro.core.report_delivery import costs_section
from bort_kedro.core.stage_costs import stage_costs, sums, tokens_of
from search_results import trained_search

PRETRAINING = {
    name: {"seconds": seconds} for name, seconds in {"teacher": 72.0, "student": 36.0, "undistilled": 18.0}.items()
}
TASK = {"task": "library", "teacher_seconds": 30.0, "seconds": 20.0, "num_trials": 3, "rival_seconds": 10.0}
# Two pieces of 9 s each on one device: 9 * 100 + 9 * 300 tokens.
HISTORY = [
    {"tokens_per_second": 100.0, "device_hours": 0.0025, "seconds": 18.0},
    {"tokens_per_second": 300.0, "device_hours": 0.005, "seconds": 18.0},
]


def costs(**changes):
    tasks = [TASK | changes]
    return stage_costs(trained_search(seconds=125.0), PRETRAINING, {"student": HISTORY}, tasks)


def test_tokens_are_the_rate_of_each_piece_times_its_seconds():
    assert tokens_of(HISTORY) == pytest.approx(3600)


def test_two_devices_that_share_every_step_count_each_token_once():
    # The rate is that of both together, the device hours count each: 9 s are 18 device seconds.
    both = [row | {"device_hours": 2 * row["device_hours"]} for row in HISTORY]
    assert tokens_of(both) == pytest.approx(3600)


def test_each_training_has_a_row_in_the_order_of_the_stages():
    assert [(row["stage"], row["what"], row["purpose"], row["seconds"]) for row in costs()] == [
        ("search", "2 candidates and the maximum point", "model", 125.0),
        ("pretrain_distill", "the teacher", "model", 72.0),
        ("pretrain_distill", "the student under the teacher", "model", 36.0),
        ("pretrain_distill", "the same shape without a teacher", "compare", 18.0),
        ("finetune", "task `library`: its teacher", "model", 30.0),
        ("finetune", "task `library`: 3 trials", "model", 20.0),
        ("finetune", "task `library`: other methods", "compare", 10.0),
    ]


def test_device_hours_are_those_recorded_and_else_the_time_on_one_device():
    student, other = costs()[2:4]
    assert (student["device_hours"], other["device_hours"]) == (0.005, 18 / 3600)


def test_tokens_that_no_stage_counted_are_missing():
    assert [row["tokens"] is None for row in costs()] == [True, True, False, True, True, True, True]


def test_what_took_no_time_has_no_row():
    assert [row["what"] for row in costs(teacher_seconds=0.0, rival_seconds=0.0)[4:]] == ["task `library`: 3 trials"]


def test_sums_leave_out_what_was_not_recorded_also_in_a_saved_table():
    rows = costs()
    read = pd.DataFrame(rows).to_dict("records")
    assert any(math.isnan(row["tokens"]) for row in read)
    for table in (rows, read):
        assert sums(table) == {
            "seconds": pytest.approx(311.0),
            "device_hours": pytest.approx((311 - 36) / 3600 + 0.005),
            "tokens": pytest.approx(3600),
        }


def test_the_section_adds_up_and_says_what_was_spent_on_comparison():
    text = costs_section(costs(), "an abacus")
    assert "| search | 2 candidates and the maximum point | 2 min 5 s | 0.035 | not counted |\n" in text
    assert "| pretrain_distill | the student under the teacher | 36 s | 0.005 | 3.60 k |\n" in text
    assert "| **sum** | – | **5 min 11 s** | **0.081** | 3.60 k counted |\n\nOf it 28 s went into" in text
    assert "this report was written on an abacus." in text


def test_without_a_recorded_cost_there_is_no_section():
    assert costs_section([], "an abacus") == ""

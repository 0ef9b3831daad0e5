"""What changed between runs, from two small made ones."""

import pytest

from bort_kedro.reporting.comparison import RunRecord, compare_runs, flattened
from bort_kedro.reporting.stage_costs import StageCost
from model_card_data import DISTANCES, ORIGIN
from search_results import recorded_search, trained_search
from task_records import floor, rival, task

MANIFEST = {
    "run_id": "one",
    "environment": None,
    "git": {"commit": "abc", "has_changes": False},
    "configuration_hash": "1234",
    "parameters": {"search": {"budget": 8, "strategy": "fptas"}, "finetune": {"tasks": ["library"], "files": {}}},
    "seeds": {"search.seed": 0},
    "python": "3.11.7",
    "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
    "device": {"processor": "abacus", "cpu_count": 2, "cuda_devices": []},
}
CHANGED = MANIFEST | {
    "configuration_hash": "5678",
    "parameters": {"search": {"budget": 12, "strategy": "fptas"}, "finetune": {"tasks": ["library"], "files": {}}},
    "seeds": {"search.seed": 3},
    "packages": {"torch": "2.14.0", "numpy": "2.4.6"},
}
TASK = task(
    "library",
    method="agora",
    score=0.572,
    standard_error=0.009,
    interval_low=0.553,
    interval_high=0.591,
    floors={"constant": floor(0.386, 0.186, 0.012), "tfidf": floor(0.63, -0.058, 0.01)},
    rivals={"plain": rival(0.011, 0.010)},
)
SPEED = {
    "name": "chosen shape",
    "is_chosen": True,
    "is_reference": True,
    "has_head": False,
    "median_ms": 2.5,
    "interval_low_ms": 2.4,
    "interval_high_ms": 2.6,
    "measured_vs_bert_base": 75.0,
    "measured_vs_bert_large": float("nan"),
}


def test_only_settings_that_differ_are_shown():
    text = compare_runs({"one": RunRecord(MANIFEST), "two": RunRecord(CHANGED)})
    assert text == (
        "# What changed between one and two\n\n## What was set otherwise\n\n"
        "|  | one | two |\n| :--- | ---: | ---: |\n"
        "| `search.budget` | 8 | 12 |\n"
        "| `configuration` | 1234 | 5678 |\n"
        "| `package.torch` | 2.13.0 | 2.14.0 |\n"
    )


def test_runs_set_alike_are_said_to_be():
    text = compare_runs({"one": RunRecord(MANIFEST), "two": RunRecord(MANIFEST)})
    assert text.endswith("\n\nNothing: parameters, code, versions and device are the same.\n")


def test_a_run_without_its_parameters_is_compared_by_seeds_and_fingerprint():
    old = {name: value for name, value in CHANGED.items() if name != "parameters"}
    text = compare_runs({"one": RunRecord(MANIFEST), "two": RunRecord(old)})
    assert "| `search.seed` | 0 | 3 |\n| `configuration` | 1234 | 5678 |\n" in text
    assert "search.budget" not in text


def test_scores_have_intervals_and_the_change_from_the_first_to_the_second():
    changes = {"score": 0.612, "standard_error": 0.012, "interval_low": None, "rivals": {}}
    better = TASK.model_copy(update=changes)
    text = compare_runs({"one": RunRecord(MANIFEST, tasks=[TASK]), "two": RunRecord(CHANGED, tasks=[better])})
    # 0.612 - 0.572, and the root of 0.9^2 + 1.2^2 points.
    assert (
        "| Task | one | two | Change, points |\n| :--- | ---: | ---: | ---: |\n"
        "| `library` | 57.2 ± 0.9 % (55.3 to 59.1), agora | 61.2 ± 1.2 %, agora | +4.0 ± 1.5 |\n"
        "| `library`: beats the best constant answer, points ahead | yes, +18.6 ± 1.2 | yes, +18.6 ± 1.2 | – |\n"
        "| `library`: beats TF-IDF with a linear model, points ahead | no, -5.8 ± 1.0 | no, -5.8 ± 1.0 | – |\n"
        "| `library`: points ahead of plain | +1.1 ± 1.0 | – | – |\n"
    ) in text


def test_three_runs_have_no_change_and_a_task_of_one_alone_has_dashes():
    runs = {"a": RunRecord(MANIFEST, tasks=[TASK]), "b": RunRecord(MANIFEST), "c": RunRecord(MANIFEST)}
    text = compare_runs(runs)
    assert "| `library` | 57.2 ± 0.9 % (55.3 to 59.1), agora | – | – |\n" in text
    assert "Change" not in text


def test_a_recorded_shape_that_is_no_network_is_named():
    search = recorded_search()
    search = search.changed(selected=search.selected.changed(num_attention_heads=3))
    text = compare_runs({"one": RunRecord(MANIFEST, search=search), "two": RunRecord(CHANGED, search=search)})
    assert "| chosen shape | (1, 3, 64, 128) | (1, 3, 64, 128) |\n" in text


def test_scores_in_different_metrics_have_no_change():
    runs = {
        "a": RunRecord(MANIFEST, tasks=[TASK]),
        "b": RunRecord(MANIFEST, tasks=[TASK.model_copy(update={"metric": "f1"})]),
    }
    assert ", agora | – |\n" in compare_runs(runs)


def test_shapes_stand_side_by_side_with_their_noise():
    runs = {"one": RunRecord(MANIFEST, search=trained_search()), "two": RunRecord(CHANGED, search=recorded_search())}
    text = compare_runs(runs)
    assert "| chosen shape | (1, 2, 64, 128) | (1, 2, 64, 128) |\n" in text
    assert "| error | 61.2 ± 0.4 % | 0.612 |\n| loss, nats | 3.100 ± 0.020 | – |\n" in text


def test_a_student_that_predicts_no_tokens_stands_with_its_distance():
    runs = {
        "one": RunRecord(MANIFEST, pretraining=ORIGIN.pretraining),
        "two": RunRecord(MANIFEST, pretraining=DISTANCES),
        "three": RunRecord(MANIFEST, search=recorded_search()),
    }
    text = compare_runs(runs)
    assert "| masked accuracy, student | 26.7 ± 0.4 % | – | – |\n" in text
    assert "| distance from the teacher, nats, student | – | 0.0123 | – |\n" in text


def test_pretraining_speed_and_cost_stand_side_by_side():
    metrics = ORIGIN.pretraining
    cost = [
        StageCost(stage="search", what="", purpose="model", seconds=seconds, device_hours=0.0, tokens=None)
        for seconds in (100.0, 25.0)
    ]
    headed = SPEED | {"is_reference": False, "median_ms": 99.0}
    text = compare_runs(
        {
            "one": RunRecord(MANIFEST, pretraining=metrics, speed=[SPEED, headed], costs=cost),
            "two": RunRecord(MANIFEST, speed=[SPEED | {"median_ms": 2.0, "interval_low_ms": None}]),
        }
    )
    assert "| masked accuracy, student | 26.7 ± 0.4 % | – |\n" in text
    assert "| masked accuracy, teacher | 33.2 ± 0.4 % | – |\n" in text
    assert "distance" not in text
    assert "| chosen shape, ms | 2.50 (2.40 to 2.60) | 2.00 |\n" in text
    assert "| BERT-base takes, against the chosen shape | 75.0x | 75.0x |\n" in text
    assert "| BERT-large takes, against the chosen shape | – | – |\n" in text
    assert "| search | 2 min 5 s | – |\n" in text
    assert "99.00" not in text


def test_one_run_is_no_comparison():
    with pytest.raises(ValueError, match="at least two") as caught:
        compare_runs({"one": RunRecord(MANIFEST)})
    assert str(caught.value) == "1 run(s) given: a comparison needs at least two"


def test_nested_parameters_have_dotted_names():
    assert flattened({"a": {"b": 1, "c": [1, 2]}, "d": None}) == {"a.b": "1", "a.c": "[1, 2]", "d": "null"}

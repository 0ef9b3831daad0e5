"""The whole of ``make bench-distillation`` on small texts and tiny encoders, and what its figures are made of."""

import numpy as np
import pytest

from benchmarks.configured import raw_parameters
from benchmarks.distillation import __main__ as benchmark
from benchmarks.distillation import corpora, trainings
from benchmarks.distillation.arms import ARMS, CANDIDATE_ARM, DEFAULT, FROM_TEACHER, LIVE, RANDOM, RANDOM_FOR_ALL
from benchmarks.distillation.findings import estimate
from benchmarks.distillation.floors import CONSTANT, COUNTED
from benchmarks.distillation.trainings import Probe
from bort_kedro.encoders.shapes import BertShape
from tiny_benchmarks import text_files, tiny_text, written


def tiny_parameters(**changes):
    """Those of the smoke environment with trainings of two steps, not yet checked."""
    raw = raw_parameters("smoke", **changes)
    raw["search"]["maximum_point_steps"] = 2
    for training in (raw["search"]["training"], raw["pretrain_distill"]["teacher"]):
        training["optimization"]["num_steps"] = 2
    return raw


@pytest.mark.session
def test_students_of_all_arms_are_trained_and_written(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "embedded_text", tiny_text)
    monkeypatch.setattr(corpora, "raw_parameters", tiny_parameters)
    monkeypatch.setattr(trainings, "PROBE_ROUNDS", 1)
    for name, value in {"DEFAULT_CHOICE": BertShape(1, 2, 16, 32), "SEEDS": (0, 1), "TASKS": ("order",)}.items():
        monkeypatch.setattr(benchmark, name, value)
    words = [text_files(tmp_path), "--name", "rich", "--steps", "2", "--characters", "40000", "--workers", "1"]
    benchmark.main([*words, "--folder", str(tmp_path / "docs"), "--states", str(tmp_path / "states")])
    page, figures = written(tmp_path / "docs", "distillation")
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# Does a teacher help?",
        "## Same time",
        "## Which arm wins",
        "## Who is better than whom",
        "## What a step takes",
        "## What came before the students",
        "## Limits",
    ]
    assert "Written by `make bench-distillation CORPUS=... NAME='rich'` on " in page
    for corpus in ("embedded", "rich"):
        assert figures[f"{corpus}, {LIVE.name}: steps"]["value"] == 2
        assert figures[f"{corpus}, {RANDOM.name}: seconds before the student"]["value"] == 0
        assert 0 < figures[f"{corpus}, {CONSTANT}: masked accuracy"]["value"] < 0.5
        # As many rows as were shuffled as were left alone.
        assert figures[f"{corpus}, {CONSTANT}: order"]["value"] == pytest.approx(0.5, abs=0.05)
        assert 0 < figures[f"{corpus}, {COUNTED}: order"]["value"] < 1
        for arm in ARMS:
            assert f"| {arm.name} | " in page
            for measure in ("masked accuracy", "order"):
                assert 0 <= figures[f"{corpus}, {arm.name}: {measure}"]["value"] <= 1


def test_equal_time_is_steps_times_the_time_of_a_step():
    probe = Probe(seconds={}, ratio={"the true tokens": 0.25, "the published loss": 1.0, "teacher": 2.0})
    arms = (LIVE, FROM_TEACHER, CANDIDATE_ARM, DEFAULT, RANDOM_FOR_ALL)
    steps = [probe.steps_of(arm, 1000, {"T": 600, "teacher": 700}) for arm in arms]
    # 700 steps of the teacher last as long as 1400 under the published loss, or 5600 of the true tokens; T's 600, 4800.
    assert steps == [1000, 4000, 4000, 9600, 14_400]


def test_an_estimate_holds_the_spread_of_the_seeds_and_that_of_the_units():
    right = [np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0])]
    found = estimate(right, np.array([0, 0, 1, 1]))
    assert found.value == pytest.approx(0.375)
    # Of the means 0.5 and 0.25.
    assert found.seeds_error == pytest.approx(0.125)
    # Blocks of the sums 1.5 and 0, each 0.75 from its share: sqrt(2 / 1 * 2 * 0.75**2) / 4.
    assert found.units_error == pytest.approx(0.375)
    assert found.error == pytest.approx(np.hypot(0.125, 0.375))
    assert found.sign == 0


@pytest.mark.parametrize(
    "words", [["texts/*.txt", "--steps", "2"], [], ["texts/*.txt", "--arms", "candidate start"]], ids=" ".join
)
def test_a_part_does_not_take_the_place_of_the_results(capsys, words):
    with pytest.raises(SystemExit) as error:
        benchmark.main(words)
    assert error.value.code == 2
    assert capsys.readouterr().err == (
        "The page is of two corpora, all arms and all steps: make bench-distillation CORPUS='a/**/wiki_* b/*.txt' "
        "NAME=texts. For a part of that, name another folder with --folder.\n"
    )

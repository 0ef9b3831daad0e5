"""The whole of ``make bench-distillation`` on small texts and tiny encoders."""

import pytest

from benchmarks.distillation import __main__ as benchmark
from benchmarks.distillation import trainings
from bort_kedro.encoders.shapes import BertShape
from tiny_benchmarks import text_files, tiny_text, written


@pytest.mark.session
def test_students_of_all_arms_are_trained_and_written(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "embedded_text", tiny_text)
    values = {
        "VOCABULARY_SIZE": 300,
        "SHAPE": BertShape(1, 2, 16, 16),
        "TEACHER_SHAPE": BertShape(1, 2, 32, 32),
        "SEEDS": (0, 1),
        "PROBE_ROUNDS": 1,
    }
    for name, value in values.items():
        monkeypatch.setattr(trainings, name, value)
    words = [text_files(tmp_path), "--name", "rich", "--steps", "2", "--characters", "20000"]
    benchmark.main([*words, "--folder", str(tmp_path / "docs"), "--states", str(tmp_path / "states")])
    page, figures = written(tmp_path / "docs", "distillation")
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# Does a teacher help?",
        "## Same steps",
        "## Same time",
        "## Who is better than whom",
        "## What failed or did not help",
        "## What a cache keeps and takes",
        "## What trimming saves and costs",
        "## The scale of the losses",
        "## Limits",
    ]
    assert "Written by `make bench-distillation CORPUS=... NAME='rich'` on " in page
    ratios = [line.split(" | ")[3] for line in page.splitlines() if line.startswith("| live teacher | ")]
    assert ratios == ["1.00x"] * 4
    for corpus in ("embedded", "rich"):
        assert figures[f"{corpus}, same steps, live teacher: steps"]["value"] == 2
        assert 0 <= figures[f"{corpus}, same steps, no teacher: masked accuracy"]["value"] <= 1


def test_a_quick_try_does_not_take_the_place_of_the_results(capsys):
    with pytest.raises(SystemExit) as error:
        benchmark.main(["texts/*.txt", "--steps", "2"])
    assert error.value.code == 2
    assert capsys.readouterr().err == "A quick try is no result: name another folder for its page with --folder.\n"

"""The benchmark of CUDA devices, as far as it can be told without one: its order, its budget, its page."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import faulty_findings
from benchmarks.page import Figure
from benchmarks.pretrain.cuda import __main__ as program
from benchmarks.pretrain.cuda import speed
from benchmarks.pretrain.cuda.__main__ import main
from benchmarks.pretrain.cuda.bench import LIVE, Bench, Case, Sizes, Speed
from benchmarks.pretrain.cuda.findings import Finding, Found, run_in_order
from benchmarks.pretrain.cuda.order import findings_of, measure_and_write
from benchmarks.pretrain.cuda.page import sentence, write
from benchmarks.pretrain.cuda.worker import Worker, found_of
from faulty_findings import FINDS, hangs
from tiny_benchmarks import written
from tiny_cuda import ABSENT, stand_in

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def bench():
    return Bench(stand_in(), Sizes())


def test_the_most_important_comes_first_and_all_may_be_reached():
    findings = findings_of(Sizes())
    assert [finding.name for finding in findings[:6]] == [
        "fp16 with forced overflows",
        "resumed against uninterrupted",
        "head in chunks against the whole",
        "padded against unpadded",
        "Bort, 128 tokens, no teacher",
        "Bort, 512 tokens, no teacher",
    ]
    assert list(dict.fromkeys(finding.part for finding in findings)) == [
        "Correctness",
        "Speed without a teacher",
        "Speed with a teacher",
        "Best micro-batch",
        "torch.compile",
        "Latency",
        "Hours and the aim",
    ]
    assert len({finding.name for finding in findings}) == len(findings)
    assert sum(finding.seconds for finding in findings) < 8 * 60


def in_this_process(findings, bench):
    return lambda number, seconds: found_of(findings[number], bench)


def test_what_does_not_fit_the_budget_is_left_and_said_and_a_fault_stops_nothing(bench, tmp_path, capsys):
    now = [0.0]

    def taking(seconds):
        def find(bench):
            now[0] += seconds
            return Found(f"took {seconds}", [Figure(f"of {seconds}", seconds, "s", 40.0, seconds <= 40)])

        return find

    def broken(bench):
        raise RuntimeError("no kernel\nfor this")

    findings = [
        Finding("First", "a", taking(50.0), 10),
        Finding("First", "b", broken, 5),
        Finding("Second", "c", taking(1.0), 20),
        Finding("Second", "d", taking(2.0), 10),
    ]
    told = []

    def write_and_note(outcomes):
        write(outcomes, bench.device, bench.sizes, minutes=1, folder=tmp_path)
        told.append((tmp_path / "pretrain-cuda.md").read_text("utf-8"))

    outcomes = run_in_order(
        findings, in_this_process(findings, bench), minutes=1, on_outcomes=write_and_note, clock=lambda: now[0]
    )
    assert [outcome.seconds for outcome in outcomes] == [50.0, 0.0, 0.0, 2.0]
    assert "RuntimeError: no kernel" in capsys.readouterr().err
    # What was found is on the page before the next is begun.
    assert "took 50.0" in told[0]
    assert "failed" not in told[0]
    page, figures = written(tmp_path, "pretrain-cuda")
    assert page.splitlines()[4:] == [
        *page.splitlines()[4:6],
        *("## Missed", "", "- of 50.0", "- b", ""),
        *("## First", "", "|  | found | s |", "| :--- | ---: | ---: |"),
        "| a | took 50.0 | 50.0 |",
        "| b | **failed**: RuntimeError: no kernel | 0.0 |",
        *("", "## Second", "", "|  | found | s |", "| :--- | ---: | ---: |", "| d | took 2.0 | 2.0 |", ""),
        *("## Not reached", "", "- Second: c (20 s)"),
    ]
    assert [(name, figure["met"]) for name, figure in figures.items()] == [
        ("of 50.0", False),
        ("b", False),
        ("of 2.0", True),
    ]


def test_what_is_made_of_the_others_is_told_even_where_they_took_too_long(bench):
    times = iter([0.0, 0.0, 100.0, 100.0, 100.0, 100.0])
    expected = {"a": 9, "b": 9, "c": 0}
    findings = [Finding("First", name, lambda bench: Found("found"), seconds) for name, seconds in expected.items()]
    limits = []

    def find(number, seconds):
        limits.append(seconds)
        return Found("found")

    outcomes = run_in_order(findings, find, minutes=1, on_outcomes=lambda outcomes: None, clock=lambda: next(times))
    assert [outcome.found is not None for outcome in outcomes] == [True, False, True]
    # Three times what the first is expected to take, and some for one that is made of others.
    assert limits == [27, 30]


def test_a_device_that_refuses_everything_after_a_fault_is_told_of_each_finding():
    def refuse():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    bench = Bench(replace(stand_in(), clear=refuse), Sizes())
    findings = [Finding("First", name, lambda bench: Found("found"), 1) for name in ("a", "b")]
    assert [found_of(finding, bench).text for finding in findings] == [
        "**failed**: RuntimeError: CUDA error: an illegal memory access was encountered"
    ] * 2


def test_a_finding_that_hangs_dies_or_fails_costs_its_process_and_no_other_finding():
    worker = Worker(faulty_findings.start)
    try:
        assert worker.begin().name == "stand-in for a device"
        texts = [worker.find(number, 0.5 if find is hangs else 60.0).text for number, find in enumerate(FINDS)]
    finally:
        worker.end()
    assert [text for text in texts if text.startswith("**")] == [
        "**failed**: ended after 0 s, three times what was expected or all that was left",
        "**failed**: its process ended with code 3",
        "**failed**: RuntimeError: no kernel",
    ]
    said = [text.split() for text in texts if not text.startswith("**")]
    processes = [process for process, _ in said]
    assert processes[0] == processes[1]
    assert len(set(processes)) == 4
    # What was found of speed is handed on to the next process.
    assert [known for _, known in said] == ["0", "1", "2", "3", "4"]


def test_a_device_that_cannot_be_begun_with_ends_the_benchmark(tmp_path, capfd):
    with pytest.raises(RuntimeError, match="its process ended with code 1"):
        measure_and_write(tmp_path, start=faulty_findings.start_without_a_device)
    assert "RuntimeError: no driver" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("of_batch", "tried", "best"),
    [
        ({256: 10.0, 512: 20.0, 1024: 20.1, 2048: 99.0}, [256, 512, 1024], 1024),
        ({256: 10.0, 512: 20.0}, [256, 512], 512),
        ({256: 20.0, 512: 10.0, 1024: 99.0}, [256, 512], 256),
        ({}, [], None),
    ],
)
def test_batches_double_until_memory_runs_out_or_speed_no_longer_grows(monkeypatch, bench, of_batch, tried, best):
    def measured(bench, setting, case):
        size = setting.batch_size
        return Speed(size, of_batch[size], 0.1, 1) if size in of_batch else None

    monkeypatch.setattr(speed, "measured", measured)
    case = Case("Bort", 128)
    found = speed.best_batch(case)(bench)
    assert [each.batch_size for each in bench.speeds[case]] == tried
    assert found.figures[-1].value == best


def test_a_first_batch_that_does_not_fit_is_halved(monkeypatch, bench):
    monkeypatch.setattr(
        speed, "measured", lambda bench, setting, case: Speed(64, 9e5, 0.4, 1) if setting.batch_size == 64 else None
    )
    case = Case("Bort", 128)
    found = speed.speed_of(case)(bench)
    assert [figure.value for figure in found.figures] == [9e5, 0.4]
    assert speed.hours(bench).figures[0].value == pytest.approx(1e9 / 9e5 / 3600)


def test_a_larger_batch_is_timed_over_fewer_steps():
    sizes = Sizes()
    setting = sizes.setting("Bort", 128)
    assert setting.batch_size == 256
    steps = [sizes.steps_of(replace(setting, batch_size=size)) for size in (128, 256, 512, 1024, 4096)]
    assert steps == [20, 10, 5, 2, 2]


@pytest.mark.parametrize(
    ("name", "bort", "text"),
    [
        ("NVIDIA H100 80GB HBM3", (0.5, True), "Bort: largest share of the peak 55.0 % (met)"),
        ("NVIDIA H200", (0.5, True), "Bort: largest share of the peak 55.0 % (met)"),
        ("NVIDIA H100 PCIe", (None, None), "Bort: largest share of the peak 55.0 %"),
    ],
)
def test_the_aim_is_an_h100s_and_counts_the_best_without_a_teacher(bench, name, bort, text):
    bench.device = replace(bench.device, name=name)
    bench.speeds = {
        Case("Bort", 128): [Speed(256, 1e6, 0.4, 1), Speed(512, 1e6, 0.55, 1)],
        Case("Bort", 128, LIVE): [Speed(256, 1e6, 0.7, 1)],
        Case("BERT-base", 128, compiles=True): [Speed(256, 1e6, 0.3, 1)],
    }
    found = speed.aim(bench)
    assert [figure.value for figure in found.figures] == [0.55, 0.3]
    assert (found.figures[0].target, found.figures[0].met) == bort
    assert text in found.text


def test_what_the_machine_lacks_is_said_before_anything_is_imported(monkeypatch):
    monkeypatch.setattr(program, "find_spec", lambda name: None if name in {"pydantic", "scipy"} else name)
    with pytest.raises(SystemExit, match=r"lacks pydantic, scipy; nothing was measured\. `pip install --target FOLDER"):
        main([])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_without_a_device_it_says_so_and_knows_its_options(capsys, tmp_path):
    with pytest.raises(SystemExit, match="There is no CUDA device on this machine; nothing was measured"):
        main(["--folder", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    assert "--minutes MINUTES" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--minutes", "0"])
    assert "--minutes is 0; it must be above 0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert sentence(tmp_path).startswith("Never run on CUDA: no device was at hand; `make bench-cuda` measures one")


def test_a_tiny_one_runs_whole_where_neither_kedro_nor_mlflow_nor_pandas_is(tmp_path):
    assert {"kedro", "mlflow", "pandas", "datasets", "matplotlib"} <= ABSENT
    places = os.pathsep.join(str(PROJECT / folder) for folder in (".", "src", "tests"))
    run = subprocess.run(
        [sys.executable, PROJECT / "tests" / "tiny_cuda.py", tmp_path],
        env={**os.environ, "PYTHONPATH": places, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    page, figures = written(tmp_path, "pretrain-cuda")
    assert "failed" not in page, run.stderr
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# Pretraining on a CUDA device",
        "## Correctness",
        "## Speed without a teacher",
        "## Speed with a teacher",
        "## Best micro-batch",
        "## torch.compile",
        "## Latency",
        "## Hours and the aim",
    ]
    # One line for each, in their order.
    lines = run.stdout.splitlines()
    assert len(lines) == 4 + 2 + 4 + 2 + 2 + 1 + 2
    assert "an encoder skipped step 1, 6" in lines[0]
    assert "all weights equal" in lines[1]
    assert "the cache is filled with" in lines[8]
    correct = [each for each in figures.values() if each["target"] is not None]
    assert len(correct) == 5
    assert all(each["met"] for each in correct)
    assert figures["resumed: largest difference of a weight"]["value"] == 0.0
    # The stand-in is no H100.
    assert [each["met"] for name, each in figures.items() if "share of the peak" in name] == [None, None]

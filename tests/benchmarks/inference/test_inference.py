"""The arithmetic and the page of ``benchmarks/inference``, and the whole of it on tiny encoders."""

from __future__ import annotations

import json

import pytest

from bort_kedro.encoders.costs import count_operations
from bort_kedro.encoders.shapes import BERT_BASE, BERT_LARGE, BORT, BertShape
from bort_kedro.latency.conditions import Condition, Latency, speed_table_rows
from tiny_benchmarks import in_this_process, written


def timed(milliseconds):
    return Latency(milliseconds, milliseconds, milliseconds, 6, milliseconds - 1, milliseconds + 1)


@pytest.fixture
def found():
    """Bort 10 and 13 times as fast as the references in operations, 65 and 14 times in int8."""
    from benchmarks.inference.figures import Found
    from benchmarks.inference.runtimes import TimedRuntime
    from benchmarks.inference.setting import Setting

    conditions = [Condition(1, 128, 1), Condition(1, 128, 1, has_head=True)]
    shapes = {"bort": BORT, "bert_large": BERT_LARGE, "bert_base": BERT_BASE}
    rows = speed_table_rows(
        shapes,
        {condition: [timed(100.0), timed(1300.0), timed(280.0)] for condition in conditions},
        {condition: [1_000_000, 2_000_000, 3_000_000] for condition in conditions},
        vocabulary_size=50_265,
        max_positions=512,
    )
    medians = {
        ("bort", "pytorch"): 100.0,
        ("bert_base", "pytorch"): 280.0,
        ("bert_large", "pytorch"): 1300.0,
        ("bort", "onnx_int8"): 25.0,
        ("bort", "openvino_int8"): 20.0,
        ("bert_base", "openvino_int8"): 70.0,
        # Five times as fast in int8, so 64 times with the operations.
        ("products", "pytorch"): 60.0,
        ("products", "onnx_int8"): 15.0,
        ("products", "openvino_int8"): 12.0,
    }
    runtimes = {system: TimedRuntime(timed(median), 5_000_000) for system, median in medians.items()}
    return Found(Setting(), encoders=rows, runtimes=runtimes, failures={"cuda": "RuntimeError: lost"})


def test_targets_are_held_against_the_fastest_int8_runtime(found):
    from benchmarks.inference.figures import best_int8, runtime_figures

    assert best_int8(found) == ("bort", "openvino_int8")
    figures = {each.name: each for each in runtime_figures(found)}
    large = figures["Bort int8 (OpenVINO int8): times faster than BERT-large in PyTorch fp32"]
    base = figures["Bort int8 (OpenVINO int8): times faster than BERT-base in PyTorch fp32"]
    operations = [count_operations(shape, sequence_length=128).total for shape in (BERT_LARGE, BERT_BASE, BORT)]
    assert (large.value, large.target, large.met) == (65.0, 0.9 * (operations[0] / operations[2] * 5), True)
    assert (base.value, base.target, base.met) == (14.0, 0.9 * (operations[1] / operations[2] * 5), False)
    assert (round(large.target, 1), round(base.target, 1)) == (57.5, 16.3)
    assert figures["Bort: times faster than BERT-base, both in OpenVINO int8"].value == 3.5
    # Its conversion is missing.
    assert figures["Bort: times faster than BERT-large, both in OpenVINO int8"].value is None


def test_a_target_that_was_not_measured_is_not_met(found):
    from benchmarks.inference.figures import runtime_figures

    found.runtimes = {system: each for system, each in found.runtimes.items() if system[0] != "bert_large"}
    figure = next(each for each in runtime_figures(found) if each.target is not None)
    assert (figure.value, round(figure.target, 1), figure.met) == (None, 57.5, False)


def test_without_the_products_there_is_no_limit_and_nothing_is_met(found):
    from benchmarks.inference.figures import runtime_figures
    from benchmarks.inference.page import overhead_part

    found.runtimes = {system: each for system, each in found.runtimes.items() if system[0] != "products"}
    figures = {each.name: each for each in runtime_figures(found)}
    large = figures["Bort int8 (OpenVINO int8): times faster than BERT-large in PyTorch fp32"]
    assert (large.value, large.target, large.met) == (65.0, None, False)
    assert "| Bort as released | 13.0x of 12.8x, 101.7 % | – | – | – |" in overhead_part(found).text


def test_what_a_shape_lacks_to_its_limit_is_said_for_each_runtime(found):
    from benchmarks.inference.page import overhead_part

    part = overhead_part(found)
    assert "| matrix products of BERT-large alone | 1.0x | – | 4.0x | 5.0x |" in part.text
    # 13 in 12.8 in fp32; 1300 / 25 = 52 in 4 x 12.8 and 1300 / 20 = 65 in 5 x 12.8.
    row = "| Bort as released | 13.0x of 12.8x, 101.7 % | – | 52.0x of 51.1x, 101.7 % | 65.0x of 63.9x, 101.7 % |"
    assert row in part.text
    figures = {each.name: each.value for each in part.figures}
    assert figures["Bort as released in OpenVINO int8: share of its limit"] == pytest.approx(1.0172, abs=1e-4)
    assert figures["Bort as released in ONNX Runtime fp32: share of its limit"] is None


def test_the_products_are_those_of_the_feed_forward_layers_and_keep_their_size():
    import torch

    from benchmarks.inference.runtimes import NUM_PRODUCT_PAIRS, matrix_products

    model = matrix_products(BertShape(1, 2, 64, 256), vocabulary_size=50)
    ids = torch.arange(50)[None]
    hidden = model.rows(ids)
    for each in model.products:
        hidden = hidden @ each.weight.T
    found = model(ids, torch.ones_like(ids))[0]
    torch.testing.assert_close(found, hidden)
    assert 0.5 < float(found.detach().std()) < 2.0
    assert [each.weight.shape for each in model.products] == [(256, 64), (64, 256)] * NUM_PRODUCT_PAIRS


def test_a_ratio_near_that_of_the_operations_meets_it(found):
    from benchmarks.inference.figures import encoder_figures

    figures = {each.name: each for each in encoder_figures(found.encoders)}
    bort = figures["Bort as released: times faster than BERT-large"]
    assert (bort.value, round(bort.target, 1), bort.met) == (13.0, 12.8, True)
    name = "Bort as released, 1 x 128 tokens, 1 thread, head"
    assert figures[f"{name}: throughput"].value == 10.0
    assert figures[f"{name}: peak memory"].value == 1.0


def test_the_page_has_what_there_is_and_says_what_is_missing(found, tmp_path, capsys):
    from benchmarks.inference.page import write

    write(found, is_last=False, folder=tmp_path)
    assert capsys.readouterr().out == ""
    page = (tmp_path / "inference.md").read_text()
    assert "| Bort as released | OpenVINO int8 | 20.0 | 19.0 to 21.0 | 5 | 65.0x | 14.0x |" in page
    assert "| faster than BERT-large: 20.0x | Bort as released | 12.8x | 13.0x |" in page
    assert "- Not measured, cuda: RuntimeError: lost" in page
    record = json.loads((tmp_path / "inference.json").read_text())
    assert record["about"]["conditions"]["instruction_sets"].keys() >= {"AVX2", "AVX-512 VNNI"}
    assert {tuple(each) for each in record["figures"]} == {("name", "value", "unit", "target", "met")}


def test_a_page_without_any_part_still_names_the_failures(tmp_path, capsys):
    from benchmarks.inference.figures import Found
    from benchmarks.inference.page import write
    from benchmarks.inference.setting import Setting

    write(Found(Setting(), failures={"encoders": "MemoryError: none left"}), is_last=True, folder=tmp_path)
    assert "- Not measured, encoders: MemoryError: none left" in capsys.readouterr().out


def test_a_conversion_that_fails_takes_no_other_with_it(monkeypatch, tmp_path):
    from benchmarks.inference import runtimes

    def in_own_process(environment, function, *arguments):
        if function is runtimes.convert_system and arguments[0] == ("bert_large", "openvino_int8"):
            raise MemoryError("none left")
        return dict(arguments[1]) if function is runtimes.time_systems else None

    monkeypatch.setattr(runtimes, "in_own_process", in_own_process)
    folders, reasons = runtimes.measure(runtimes.Setting(100, 8, 1, 1, 6, 0.0), tmp_path, 2)
    assert reasons == {("bert_large", "openvino_int8"): "MemoryError: none left"}
    exported = {system for system in runtimes.SYSTEMS if system[1] != runtimes.PYTORCH}
    assert set(folders) == exported - set(reasons)


@pytest.mark.session
def test_tiny_encoders_are_timed_converted_and_written(monkeypatch, tmp_path, capsys):
    from benchmarks.inference import __main__ as benchmark
    from benchmarks.inference import encoders, runtimes
    from benchmarks.inference.setting import Setting

    for module in (encoders, runtimes):
        monkeypatch.setattr(module, "in_own_process", in_this_process)
    # Weighed in processes of their own, by a function with tests of its own.
    monkeypatch.setattr(
        encoders,
        "weigh_encoders",
        lambda setting, conditions: {each: [10**6 * size for size in (4, 1, 2, 3)] for each in conditions},
    )
    monkeypatch.setattr(benchmark.os, "cpu_count", lambda: 1)
    sizes = {"bort": 1, "bert_base": 2, "bert_large": 3}
    shapes = {key: BertShape(layers, 2, 16, 32) for key, layers in sizes.items()}
    conditions = [Condition(1, 8, 1), Condition(2, 8, 1, has_head=True)]
    monkeypatch.setattr(
        benchmark,
        "Setting",
        lambda timed_rounds: Setting(300, 8, timed_rounds=timed_rounds, turn_ms=0.0, shapes=shapes),
    )
    monkeypatch.setattr(benchmark, "ON_THE_CPU", conditions)
    systems = [
        *((key, runtimes.PYTORCH) for key in (*sizes, "products")),
        *((key, runtime) for key in ("bort", "products") for runtime in runtimes.INT8),
    ]
    monkeypatch.setattr(runtimes, "SYSTEMS", systems)
    benchmark.main(["--rounds", "6", "--parts", "encoders", "runtimes", "--folder", str(tmp_path)])
    page, figures = written(tmp_path, "inference")
    assert "Not measured" not in page
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == [
        "## 1 x 8 tokens, 1 thread, no head",
        "## What the paper claims",
        "## By batch, length, threads and head",
        "## Runtimes",
        "## Where small shapes lose",
        "## How it was measured",
    ]
    assert figures["Bort as released, 2 x 8 tokens, 1 thread, head: latency"]["value"] > 0
    assert figures["Bort as released, 1 x 8 tokens, 1 thread, no head: peak memory"]["value"] == 1.0
    latencies = [name for name in figures if name.endswith(" in OpenVINO int8: latency")]
    assert latencies == [
        "Bort as released in OpenVINO int8: latency",
        "matrix products of BERT-large in OpenVINO int8: latency",
    ]
    assert figures["Bort as released in OpenVINO int8: share of its limit"]["value"] > 0
    assert page in capsys.readouterr().out

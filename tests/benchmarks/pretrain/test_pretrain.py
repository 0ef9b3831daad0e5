"""The arithmetic of ``benchmarks/pretrain``, and the whole of it on tiny encoders."""

from __future__ import annotations

import itertools
import os
import sys
from dataclasses import replace

import pytest

from bort_kedro.encoders.shapes import BertShape
from tiny_benchmarks import in_this_process, tiny_text, written


@pytest.fixture
def setting():
    from benchmarks.pretrain.material import Setting

    # 2 rows of 12 tokens, of which 10 are ordinary and 5 predicted.
    return Setting(
        shape=BertShape(1, 1, 2, 3),
        teacher_shape=BertShape(1, 1, 4, 1),
        vocabulary_size=10,
        batch_size=2,
        sequence_length=12,
        masked_share=0.5,
        timed_steps=3,
        warmup_steps=2,
    )


def test_seconds_between_leave_out_the_steps_of_the_warm_up(setting):
    from benchmarks.pretrain.material import seconds_between

    assert seconds_between([10.0, 18.0, 19.0, 21.0, 24.0], setting) == [1.0, 2.0, 3.0]


def test_random_tokens_are_full_blocks_of_ordinary_ids_in_the_frame(setting):
    from benchmarks.pretrain.material import random_tokens

    blocks = random_tokens(setting).splits["train"]
    assert len(blocks) == 5 * 2
    rows = blocks.ids.reshape(10, 12)
    assert set(rows[:, 0]) == {0}
    assert set(rows[:, -1]) == {2}
    assert rows[:, 1:-1].min() >= 5
    assert rows.max() < 10


def test_flops_of_a_step_equal_the_count_by_hand(setting):
    from benchmarks.pretrain.goals import limit, step_flops

    # Student: 28 weights, 24 tokens, 288 pairs of tokens, a head of 2 (2 + 10) products for each position.
    layers = 2 * 28 * 24 + 4 * 2 * 288
    everywhere = layers + 2 * 24 * 24
    # The one layer is the last: 14 tokens pass neither queries (8 weights with the output) nor the 12 of the rest, and
    # 10 positions see 12 tokens each.
    predicted = layers - 2 * 14 * 20 - 4 * 2 * (288 - 10 * 12) + 2 * 10 * 24
    assert step_flops(setting, teacher=False, everywhere=True) == 3 * everywhere
    assert step_flops(setting, teacher=False, everywhere=False) == 3 * predicted
    # Teacher: 72 weights, 40 of them spared likewise, a head of 4 (4 + 10) products, forward only.
    of_teacher = 2 * (72 * 24 - 14 * 40) + 4 * 4 * 10 * 12 + 2 * 10 * 56
    assert step_flops(setting, teacher=True, everywhere=False) == 3 * predicted + of_teacher
    assert limit(setting, teacher=False) == everywhere / predicted
    assert limit(setting, teacher=True, cached=True) == (
        step_flops(setting, teacher=True, everywhere=True) / (3 * predicted)
    )


@pytest.mark.parametrize(
    ("values", "target", "changes", "met"),
    [
        ([1.0, 3.0, 2.0], 2.0, {}, True),
        ([1.0, 3.0, 1.9], 2.0, {}, False),
        ([0.8], 0.8, {"is_floor": False}, True),
        ([0.03], 0.03, {"is_floor": False, "is_strict": True}, False),
        ([], 3.8, {}, False),
        ([1.0], None, {}, None),
    ],
)
def test_a_goal_is_met_by_the_median_and_never_without_a_value(values, target, changes, met):
    from benchmarks.pretrain.goals import Goal

    assert Goal("name", values, "x", target, **changes).figure().met is met


def test_a_speedup_is_taken_inside_each_round_and_the_cache_is_paid_back_by_what_it_saves(setting):
    from benchmarks.pretrain.goals import CACHED, LIVE, OURS, OURS_BF16, TRAINER, Measured
    from benchmarks.pretrain.systems import Taken

    def taken(*steps, **others):
        return Taken(list(steps), 100, 40, others)

    # 24 tokens a step: filling 48 tokens in 6 s is 3 s a step; a step saves 2 s.
    cached = taken(2.0, cache={"seconds": 6.0, "tokens": 48, "positions": 1, "bytes": 1})
    trainings = {
        TRAINER: [taken(4.0, 4.0, 9.0), taken(6.0)],
        OURS: [taken(2.0), taken(2.0)],
        LIVE: [taken(4.0), taken(2.0)],
        CACHED: [cached, cached],
    }
    measured = Measured(setting, setting, {}, trainings, {}, {}, {})
    assert measured.speedup(OURS, TRAINER) == [2.0, 3.0]
    assert measured.speedup(OURS_BF16, TRAINER) == []
    assert measured.passes_to_pay_back == [1.5, float("inf")]


def test_parts_of_a_step_leave_the_rest_to_the_loop():
    from benchmarks.pretrain.overhead import BACKWARD, BATCHES, FORWARD, OPTIMIZER, StepParts

    parts = {FORWARD: [2.0, 2.0], BACKWARD: [3.0, 3.0], OPTIMIZER: [1.0, 1.0], BATCHES: [1.0, 0.0]}
    found = StepParts([8.0, 8.0], parts, 1.0, 1)
    assert found.outside_share == 0.25
    assert found.share(BATCHES) == 1 / 16


def test_shares_of_the_matrix_products_rate_equal_the_count_by_hand(setting):
    from benchmarks.pretrain.goals import Measured, step_flops
    from benchmarks.pretrain.loop_page import products_part
    from benchmarks.pretrain.overhead import BACKWARD, BATCHES, FORWARD, OPTIMIZER, StepParts

    # At the rate, forward would take 1 s and backward 2 s.
    rate = step_flops(setting, teacher=False, everywhere=False) / 3
    loop = StepParts([10.0], {FORWARD: [2.0], BACKWARD: [5.0], OPTIMIZER: [2.0], BATCHES: [0.5]}, 1.0, 1)
    part = products_part(Measured(setting, setting, {"no": rate}, {}, {"no": [loop]}, {}, {}))
    assert [figure.value for figure in part.figures] == pytest.approx([0.5, 0.4, 0.3])
    assert "| (1, 1, 2, 3), fp32 | 50.0 % | 40.0 % | 30.0 % |" in part.text
    assert "30.0 % is what its matrix products take at that rate, 40.0 % what forward and backward take" in part.text
    assert "20.0 % the optimiser, 10.0 % the loop" in part.text


def test_processors_stand_side_by_side_with_the_figures_that_have_a_target_first(tmp_path):
    from benchmarks.page import Figure, Part, write_page
    from benchmarks.pretrain.processors import write_side_by_side

    def write(processor, *figures):
        write_page(f"pretrain-on-{processor}", "Pretraining", [Part("", "", figures)], {}, folder=tmp_path)

    write("new", Figure("step", 2.5, "s"), Figure("ours over theirs", 2.5, "x", target=2.2, met=True))
    write("old", Figure("ours over theirs", 2.0, "x", target=2.2, met=False), Figure("memory", None, "GB"))
    write_side_by_side("Never run on CUDA.", tmp_path)
    lines = (tmp_path / "pretrain.md").read_text("utf-8").splitlines()
    assert lines[2] == "Never run on CUDA."
    assert lines[6].count("](pretrain-on-new.md)") == lines[6].count("](pretrain-on-old.md)") == 1
    assert lines[9:] == [
        "| ours over theirs (target 2.2) | 2.50x | **2.00x**, missed |",
        "| step | 2.50 s | – |",
        "| memory | – | – |",
    ]


def test_a_process_of_its_own_has_its_environment_and_leaves_ours_alone():
    from benchmarks.own_process import in_own_process, on_the_cpu

    before = dict(os.environ)
    assert in_own_process(on_the_cpu(3), os.getenv, "OMP_NUM_THREADS") == "3"
    assert in_own_process({}, os.getpid) != os.getpid()
    assert dict(os.environ) == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_grows_by_what_is_held():
    import numpy as np

    from bort_kedro.latency.memory import peak_resident_bytes

    before = peak_resident_bytes()
    held = np.ones(50_000_000)
    assert peak_resident_bytes() - before > 0.5 * held.nbytes


@pytest.mark.session
def test_tiny_trainings_take_turns_and_are_written(monkeypatch, tmp_path, setting):
    from benchmarks.pretrain import __main__ as benchmark
    from benchmarks.pretrain import preparation, systems, turns

    # Of one process, the largest memory would not grow from training to training.
    memory = itertools.count(100_000_000, 1_000_000)
    monkeypatch.setattr(systems, "peak_resident_bytes", lambda: next(memory))
    monkeypatch.setattr(turns, "in_own_process", in_this_process)
    monkeypatch.setattr(turns, "PREPARATION_ROUNDS", 1)
    monkeypatch.setattr(turns, "product_rates", lambda num_threads: {"no": 2e9, "bf16": 1e9})
    monkeypatch.setattr(preparation, "embedded_text", lambda packages: tiny_text())
    tiny = replace(
        setting,
        shape=BertShape(1, 2, 16, 16),
        teacher_shape=BertShape(1, 2, 16, 32),
        vocabulary_size=100,
        warmup_steps=1,
        num_threads=1,
    )
    monkeypatch.setattr(benchmark, "Setting", lambda timed_steps: replace(tiny, timed_steps=timed_steps))
    monkeypatch.setattr(benchmark, "SMALL", replace(tiny, shape=BertShape(1, 2, 8, 16)))
    benchmark.main(["--rounds", "1", "--steps", "2", "--folder", str(tmp_path)])
    from benchmarks.pretrain.processors import name_of_processor

    page, figures = written(tmp_path, f"pretrain-on-{name_of_processor()}")
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# Pretraining",
        "## What was missed, and why",
        "## Times and memory",
        "## Inside the loop",
        "## By the machine's own matrix products",
        "## The teacher cache",
        "## Token preparation",
    ]
    assert "A bf16 matrix product runs at 1.0 GFLOP/s on this processor and an fp32 one at 2" in page
    assert figures["tokens/s, ours fp32 over Trainer fp32"]["target"] == 2.2
    assert figures["Trainer, fp32: step"]["value"] > 0
    assert figures["matrix product, fp32"]["value"] == 2.0


def test_shares_of_padding_are_printed_for_every_packing_and_full_blocks_have_none(monkeypatch, capsys):
    from benchmarks.pretrain import padding

    monkeypatch.setattr(padding, "embedded_text", lambda: tiny_text().head(30))
    monkeypatch.setattr(padding, "VOCABULARY_SIZE", 300)
    monkeypatch.setattr(padding, "STREAMED_STEPS", 2)
    monkeypatch.setattr(padding, "SHUFFLE_BLOCKS", 16)
    padding.main([])
    first, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("30 documents, blocks of 512 tokens, ")
    assert [row.split(":")[0] for row in rows] == [
        f"{kind}, {packing}" for kind in ("held", "streamed") for packing in ("documents", "joined", "full")
    ]
    assert rows[-1] == ("streamed, full: batches with padding 0.0%, with a mask 0.0%, padding 0.0% of the positions")


def test_padding_is_counted_in_batches_and_in_positions():
    import torch

    from benchmarks.pretrain import padding

    padded = {"input_ids": torch.tensor([[5, 6, 7], [5, 1, 1]]), "attention_mask": torch.ones(2, 3)}
    full = {"input_ids": torch.tensor([[5, 6]])}
    assert padding.padding_of(iter([padded, full]), 1) == (0.5, 0.5, 2 / 8)

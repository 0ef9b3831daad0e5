"""Seconds of steps that are taken just now are those that trainings then take."""

import time
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
import torch

from bort_kedro.encoders.shapes import BORT, BertShape
from bort_kedro.forecast import taken_steps
from bort_kedro.forecast.calibration import ThisMachine, smaller
from bort_kedro.forecast.taken_steps import Taken
from bort_kedro.forecast.work import Encoder, Step, passed
from bort_kedro.pretraining.pretrain import new_encoder, pretrain
from bort_kedro.text.tokens import TokenBlocks, Tokens, Vocabulary
from project_parameters import parameters

SIZE, LENGTH = 1024, 64
WIDE, NARROW = BertShape(2, 4, 96, 192), BertShape(1, 2, 32, 64)
# Rounds of forecast and training.
ROUNDS, NUM_STEPS = 3, 15


@pytest.fixture(scope="module")
def tokens():
    generator = np.random.default_rng(0)
    blocks = [generator.integers(5, SIZE, LENGTH).tolist() for _ in range(64)]
    vocabulary = Vocabulary(SIZE, mask_id=4, pad_id=1, special_ids=(0, 1, 2, 3, 4), fingerprint="random")
    return Tokens(vocabulary, {"train": TokenBlocks.from_blocks(blocks, vocabulary_size=SIZE)})


def settings_of(num_steps):
    settings = parameters().search.training
    return settings.changed(optimization=settings.optimization.changed(num_steps=num_steps), num_threads=1)


@pytest.mark.parametrize("shape", [WIDE, NARROW], ids=str)
def test_a_forecast_is_within_a_factor_of_one_and_a_half_of_what_a_training_takes(shape, tokens, monkeypatch):
    # On one thread the processor's time is the time that passes, but for what others take of the machine meanwhile.
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    settings = settings_of(NUM_STEPS)
    step = Step(Encoder(shape, SIZE, 128), settings.batch_tokens, LENGTH, settings.masked_share, "no", 1)
    ratios = []
    for _ in range(ROUNDS):
        forecast = NUM_STEPS * ThisMachine().seconds(step)
        model = new_encoder(shape, tokens, max_positions=128, settings=settings)
        ratios.append(forecast / pretrain(model, tokens, settings, states=None, name="toy").seconds)
    assert 1 / 1.5 < median(ratios) < 1.5, ratios


def test_a_step_is_taken_once_for_an_encoder_and_its_operations_scale_it(monkeypatch):
    asked = []
    found = Taken(step=2.0, beginning=5.0, state=0.5)
    monkeypatch.setattr("bort_kedro.forecast.taken_steps.taken", lambda step: asked.append(step) or found)
    machine, step = ThisMachine(), Step(Encoder(NARROW, SIZE, 128), 512, LENGTH, 0.15, "no", 1)
    assert machine.seconds(step) == pytest.approx(2.0)
    larger = replace(step, tokens=1024)
    assert machine.seconds(larger) == pytest.approx(2.0 * larger.flops / step.flops)
    assert machine.seconds(passed(step, 512)) == pytest.approx(2.0 / 3)
    assert asked == [step]
    # It is built, and keeps three states.
    assert machine.beside(step, 3) == 5.0 + 3 * 0.5


def test_a_teacher_beside_an_encoder_takes_its_own_time(monkeypatch):
    steps = {WIDE: 8.0, NARROW: 2.0}
    monkeypatch.setattr(
        "bort_kedro.forecast.taken_steps.taken", lambda step: Taken(steps[step.encoder.shape], 0.0, 0.0)
    )
    step = Step(Encoder(NARROW, SIZE, 128), 512, LENGTH, 0.15, "no", 1, teacher=Encoder(WIDE, SIZE, 128))
    # Its forward pass is a third of a step of its own.
    assert ThisMachine().seconds(step) == pytest.approx(2.0 + 8.0 / 3)


def test_threads_that_hinder_one_another_count_as_one(monkeypatch):
    def seconds(steps, batch_at, most, clock, *, parts):
        return [{1: 3.0, 2: 90.0, 4: 1.0}[torch.get_num_threads()]] * most

    monkeypatch.setattr(taken_steps, "_seconds", seconds)
    step = Step(Encoder(NARROW, SIZE, 128), 512, LENGTH, 0.15, "no", 2)
    assert taken_steps.taken(step).step == 3.0
    assert taken_steps.taken(replace(step, num_threads=4)).step == 1.0


def test_a_step_that_is_too_large_to_be_taken_is_made_smaller_in_the_order_that_changes_least():
    step = Step(Encoder(BORT, 50265, 512), 2**18, 512, 0.15, "no", 1, parts=8)
    assert smaller(step, step.flops) == step
    fewer = smaller(step, step.flops / 1000)
    assert (fewer.length, fewer.parts, fewer.encoder) == (64, 1, step.encoder)
    assert step.flops / 1000 / 2 < fewer.flops <= step.flops / 1000
    shallow = smaller(step, 3e9)
    assert (shallow.tokens, shallow.encoder.vocabulary_size, shallow.encoder.shape) == (
        64,
        4096,
        replace(BORT, num_hidden_layers=1),
    )

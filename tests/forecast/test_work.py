"""Operations, bytes and seconds of steps and trainings, counted by hand."""

from dataclasses import replace

import pytest

from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.shapes import BERT_LARGE, BORT, BertShape
from bort_kedro.forecast.memory import step_bytes, work_bytes
from bort_kedro.forecast.rates import LOOK_SECONDS, PROCESS_SECONDS, NamedDevice, device_seconds, wall_seconds
from bort_kedro.forecast.work import Encoder, Step, Work, passed
from bort_kedro.training.devices import named_data_sheet

SMALL = Encoder(BertShape(2, 2, 8, 12), vocabulary_size=20, max_positions=16)
STEP = Step(SMALL, tokens=40, length=10, masked_share=0.1, precision="no", num_threads=1)
# Of one layer: four matrices of 8 x 8 and two of 8 x 12.
LAYER = 4 * 64 + 2 * 96


def test_operations_of_a_step_are_three_forward_passes_with_the_last_layer_at_the_predicted_positions():
    # 4 of 40 tokens are predicted; the other 36 pass the last layer's keys and values alone.
    passed = 2 * LAYER * 40 - (2 * 64 + 2 * 96) * 36
    seen = 2 * 40 * 10 - (40 * 10 - 4 * 10)
    head = 4 * 8 * (8 + 20)
    forward = 2 * passed + 4 * 8 * seen + 2 * head
    assert STEP.flops == 3 * forward
    assert replace(STEP, recomputes=True).flops == 4 * forward
    assert replace(STEP, learns=False).flops == forward
    assert replace(STEP, teacher=SMALL).flops == 4 * forward


def test_a_step_without_a_masked_lm_head_runs_all_layers_everywhere():
    assert replace(STEP, masked_share=0.0).flops == 3 * (2 * 2 * LAYER * 40 + 4 * 8 * 2 * 400)


def test_the_weights_of_an_encoder_are_those_of_the_one_that_is_built():
    config = bert_config(SMALL.shape, vocabulary_size=20, max_positions=16, pad_token_id=1, dropout=0.0)
    # The row of token types is there, and never trained.
    assert sum(weight.numel() for weight in build_masked_lm(config, seed=0).parameters()) == SMALL.parameters
    assert SMALL.weight_bytes == 4 * SMALL.parameters


def test_memory_is_weights_gradients_and_moments_and_what_a_part_needs():
    states = 4 * SMALL.weight_bytes
    # fp32: twice the bytes of half precision; 4 predicted positions with three copies of 20 logits.
    rows = 40 * 2 * 2 * (18 * 8 + 4 * 12) + 3 * 4 * 4 * 20
    assert step_bytes(STEP) == states + rows
    assert step_bytes(replace(STEP, parts=2)) == states + rows // 2
    assert step_bytes(replace(STEP, moments=0)) == states // 2 + rows
    assert step_bytes(STEP, num_devices=2, is_sharded=True) == states // 2 + rows // 2
    # The teacher's weights, and three tables of its logits.
    assert step_bytes(replace(STEP, teacher=SMALL)) == step_bytes(STEP) + SMALL.weight_bytes + 3 * 4 * 4 * 20


def test_what_runs_side_by_side_shares_the_memory_of_a_machine_and_has_that_of_a_device_alone():
    work = Work("search", "node", "candidates", STEP, 10, 4, side_by_side=2)
    assert work_bytes(work, shares_memory=True) == 2 * step_bytes(STEP)
    assert work_bytes(work, shares_memory=False) == step_bytes(STEP)


def test_seconds_of_trainings_that_are_left():
    work = Work("search", "node", "candidates", STEP, 10, num_trainings=4, num_finished=1, side_by_side=3)
    v100 = NamedDevice(named_data_sheet("V100"), share=0.5)
    assert work.tokens == 1600
    assert work.flops == 40 * STEP.flops
    assert device_seconds(work, v100) == pytest.approx(30 * STEP.flops / (0.5 * 15.7e12))
    assert wall_seconds(work, v100) == pytest.approx(device_seconds(work, v100) / 3)
    # Three of its own forward passes are a step.
    looked_at = replace(work, passes=(passed(STEP, 3 * 40),) * 5)
    assert device_seconds(looked_at, v100) == pytest.approx(1.5 * device_seconds(work, v100))
    assert device_seconds(replace(work, num_looks=7), v100) == pytest.approx(
        device_seconds(work, v100) + 3 * 7 * LOOK_SECONDS
    )
    started = replace(work, num_starts=2)
    assert wall_seconds(started, v100) == pytest.approx(wall_seconds(work, v100) + 2 * PROCESS_SECONDS)
    assert wall_seconds(replace(started, num_finished=4), v100) == 0
    assert device_seconds(replace(work, num_finished=4), v100) == 0


def test_bytes_on_the_disk_are_those_of_all_trainings_and_to_come_those_that_are_sure():
    work = Work("finetune", "node", "trials", STEP, 10, 4, least_trainings=2, other_bytes=100)
    assert work.kept_bytes == 4 * SMALL.weight_bytes + 100
    assert work.bytes_to_come == 2 * SMALL.weight_bytes + 100
    assert replace(work, num_finished=4).bytes_to_come == 0
    # The state before the decay of the learning rate has weights and two moments.
    assert replace(work, keeps_whole=True).kept_bytes == 4 * 4 * SMALL.weight_bytes + 100
    assert replace(work, step=replace(STEP, learns=False), other_bytes=0).kept_bytes == 0


def test_a_token_of_bort_under_its_teacher_takes_some_eight_hundred_million_operations():
    """By hand: 3 forward passes of 23 M weights and the head at 15 % of the tokens, and one of 302 M."""
    student, teacher = (Encoder(shape, 50265, 512) for shape in (BORT, BERT_LARGE))
    step = Step(student, 2**18, 512, 0.15, "fp16", 1, teacher=teacher)
    assert step.flops / step.tokens == pytest.approx(850e6, rel=0.03)

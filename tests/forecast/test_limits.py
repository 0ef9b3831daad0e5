"""What cannot fit is refused with what it takes, what there is and what to change."""

from dataclasses import replace
from pathlib import Path

import pytest

from bort_kedro.encoders.shapes import BERT_LARGE, BORT
from bort_kedro.errors import ConfigurationError, StorageError
from bort_kedro.forecast.limits import Room, disk_bytes, require_fitting
from bort_kedro.forecast.work import Encoder, Step, Work

GIGABYTE = 10**9
LARGE = Encoder(BERT_LARGE, 50265, 512)
STEP = Step(Encoder(BORT, 50265, 512), 2**18, 512, 0.15, "fp16", 1, teacher=LARGE)
STUDENT = Work("pretrain_distill", "pretrain_distill.distill_student_node", "the student", STEP, 100)
V100 = Room(16 * GIGABYTE, is_shared=False)


def test_a_step_that_is_too_large_for_the_memory_is_refused_and_its_parts_are_not():
    with pytest.raises(ConfigurationError) as refused:
        require_fitting([STUDENT], V100)
    assert str(refused.value).startswith("pretrain_distill: a step of the student needs about ")
    assert "16.00 GB are there; allowed is no more than that. " in str(refused.value)
    assert "Raise gradient_accumulation_steps under params:pretrain_distill.student.optimization" in str(refused.value)
    require_fitting([replace(STUDENT, step=replace(STEP, parts=64))], V100)
    # On eight devices each has an eighth of the rows.
    require_fitting([replace(STUDENT, step=replace(STEP, parts=8), num_devices=8)], V100)


def test_what_is_finished_is_not_refused():
    finished = replace(STUDENT, num_finished=1)
    assert (finished.trainings_left, disk_bytes([finished])) == (0, 0)
    require_fitting([finished], replace(V100, disk=Path("data"), disk_bytes=0))


def test_trainings_that_share_a_memory_are_counted_together():
    work = Work("search", "search.measure_errors_node", "30 candidates", replace(STEP, tokens=512), 10, 30)
    room = Room(4 * GIGABYTE, is_shared=True)
    require_fitting([work], room)
    with pytest.raises(ConfigurationError, match=r"\(4 at a time\).*lower params:search\.num_workers"):
        require_fitting([replace(work, side_by_side=4)], room)


def test_the_disk_is_counted_with_the_states_of_a_training_under_way():
    weights = STEP.encoder.weight_bytes
    # Its own weights at the end, and three states with two moments each on the way.
    assert disk_bytes([STUDENT]) == weights + 3 * 3 * weights
    room = Room(10**15, is_shared=True, disk=Path("data"), disk_bytes=10 * weights)
    require_fitting([STUDENT], room)
    with pytest.raises(StorageError, match=r"leave about 3\.05 GB in data, whose disk has 3\.05 GB free"):
        require_fitting([STUDENT], replace(room, disk_bytes=10 * weights - 1))

"""conf/paper asks for the hours that are published, as far as an assumed share of the peak can tell."""

import pytest

from bort_kedro.encoders.shapes import BERT_LARGE, BORT, BORT_EXCHANGED
from bort_kedro.forecast.facts import Facts
from bort_kedro.forecast.limits import Room, require_fitting
from bort_kedro.forecast.rates import PROCESS_SECONDS, NamedDevice, device_seconds, wall_seconds
from bort_kedro.forecast.stages import Forecaster
from bort_kedro.forecast.work import Encoder, Step
from bort_kedro.pipeline_registry import build_pipelines
from bort_kedro.training.devices import named_data_sheet
from project_parameters import parameters

V100 = named_data_sheet("V100")
# Of V100: De Wynter and Perry 2020, and what is published for BERT-large beside it.
BORT_HOURS, BERT_LARGE_HOURS = 288, 1153


def student_of(shape):
    paper = parameters("paper")
    nodes = frozenset(node.name for node in build_pipelines(paper)["pretrain_distill"].nodes)
    works = Forecaster(paper, Facts(), shape).works(nodes)
    require_fitting(works, Room(V100.memory_bytes, is_shared=False))
    return works[0]


@pytest.mark.parametrize(("shape", "factor"), [(BORT, 1.02), (BORT_EXCHANGED, 1.15)], ids=["released", "exchanged"])
def test_the_student_takes_the_published_hours_on_devices_of_then(shape, factor):
    student, device = student_of(shape), NamedDevice(V100)
    assert student.tokens == 177_000 * 512 * 512
    assert student.step.teacher.shape == BERT_LARGE
    hours = device_seconds(student, device) / 3600
    assert BORT_HOURS / factor < hours < BORT_HOURS * factor
    assert wall_seconds(student, device) == pytest.approx(PROCESS_SECONDS + hours * 3600 / 8)


def test_the_assumed_share_of_the_peak_gives_half_the_hours_of_bert_large():
    """A million steps of 256 sequences, nine tenths of them of 128 tokens and the rest of 512 (Devlin et al. 2018)."""
    device, encoder = NamedDevice(V100), Encoder(BERT_LARGE, 30522, 512)
    seconds = [
        num_steps * device.seconds(Step(encoder, 256 * length, length, 0.15, "fp16", 1))
        for num_steps, length in ((900_000, 128), (100_000, 512))
    ]
    assert BERT_LARGE_HOURS / 2 < sum(seconds) / 3600 < BERT_LARGE_HOURS

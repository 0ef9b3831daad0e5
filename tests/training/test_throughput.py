import pytest
import torch

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.encoders.training_cost import forward_flops
from bort_kedro.training import throughput
from bort_kedro.training.throughput import ThroughputMeter, peak_flops

SHAPE = BertShape(num_hidden_layers=2, num_attention_heads=2, hidden_size=8, intermediate_size=12)
# Sequences of 6 and 4 tokens, 3 positions predicted.
BATCH = {
    "input_ids": torch.zeros(2, 6, dtype=torch.int64),
    "attention_mask": torch.tensor([[1] * 6, [1] * 4 + [0] * 2]),
    "predicted": torch.tensor([1, 3, 8]),
}


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [100.0]
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(("num_devices", "teacher"), [(1, 0), (4, 0), (1, 1000)])
def test_speed_and_utilization_of_a_hand_counted_second(clock, num_devices, teacher):
    meter = ThroughputMeter(SHAPE, 20, 1e6, num_devices, lambda batch: teacher, _since=clock[0])
    meter.saw(BATCH)
    meter.saw(BATCH)
    clock[0] += 0.5
    speed, utilization = meter.read()
    student = 3 * forward_flops(SHAPE, vocabulary_size=20, num_tokens=10, sum_of_squared_lengths=52, num_predicted=3)
    assert speed == pytest.approx(num_devices * 2 * 10 / 0.5)
    assert utilization == pytest.approx(2 * (student + 2 * teacher * 10) / 0.5 / 1e6)


def test_reading_starts_the_count_anew(clock):
    meter = ThroughputMeter(SHAPE, 20, 1e6, 1, _since=clock[0])
    meter.saw(BATCH)
    clock[0] += 1
    meter.read()
    clock[0] += 1
    assert meter.read() == (0.0, 0.0)


def test_the_peak_of_a_known_device_is_that_of_its_data_sheet(monkeypatch):
    peak_flops.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    assert peak_flops("cuda", "bf16", 1) == 989e12
    assert peak_flops("cuda", "no", 1) == 494e12
    peak_flops.cache_clear()


@pytest.mark.parametrize(
    ("precision", "dtype"), [("no", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_the_peak_of_an_unlisted_device_is_measured_in_the_precision_of_the_training(monkeypatch, precision, dtype):
    peak_flops.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Another Maker's")
    monkeypatch.setattr(throughput, "_measured_peak", lambda device, asked: (device.type, asked))
    assert peak_flops("cuda", precision, 1) == ("cuda", dtype)
    peak_flops.cache_clear()


def test_the_measured_peak_of_this_machine_is_the_speed_of_a_matrix_product():
    peak_flops.cache_clear()
    assert 1e8 < peak_flops("cpu", "no", torch.get_num_threads()) < 1e14


def test_a_spared_last_layer_is_not_counted_where_it_is_not_run(clock):
    whole, spared = (
        ThroughputMeter(SHAPE, 20, 1e6, 1, spares_last_layer=spares, _since=clock[0])
        for spares in (lambda batch: False, lambda batch: "document_ids" not in batch)
    )
    for meter in (whole, spared):
        meter.saw(BATCH)
    # Positions 1 and 3 stand in the sequence of 6 tokens, position 8 in that of 4.
    saved = 2 * 7 * (2 * 64 + 2 * 96) + 4 * 8 * (52 - 16)
    assert whole.flops - spared.flops == 3 * saved
    spared.saw(BATCH | {"document_ids": BATCH["attention_mask"]})
    assert spared.flops - whole.flops == whole.flops - 3 * saved

"""Timing with a clock that only moves when a model runs."""

import pytest
import torch

from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.costs import count_parameters
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.errors import ConfigurationError, FailedTrainingError
from bort_kedro.latency.conditions import Condition
from bort_kedro.latency.measure import measure_latency
from bort_kedro.latency.settings import LatencySettings
from bort_kedro.latency.shapes import resolve_device, time_conditions, time_shapes, time_shapes_once
from bort_kedro.latency.timed_encoders import build_headless_encoder, shared_word_table, with_masked_lm_head

TINY = BertShape(1, 2, 8, 16)
SMALL = BertShape(2, 2, 8, 16)
SETTINGS = LatencySettings(batch_size=1, sequence_length=4, warmup_rounds=1, timed_rounds=3, num_threads=1)


class FakeTime:
    """Models that each take given seconds; the order of the calls is kept."""

    def __init__(self, **seconds):
        self.now = 0.0
        self.calls = []
        self.models = {name: self._model(name, iter(values)) for name, values in seconds.items()}

    def _model(self, name, durations):
        def run(**inputs):
            self.calls.append((name, inputs["x"], torch.is_inference_mode_enabled(), torch.get_num_threads()))
            self.now += next(durations)

        return run

    def measure(self, **changes):
        arguments = {"warmup_rounds": 1, "timed_rounds": 3, "num_threads": 1, "clock": lambda: self.now}
        return measure_latency(self.models, {"x": 7}, **(arguments | changes))


def test_median_and_quartiles_equal_hand_values_and_warm_up_is_thrown_away():
    time = FakeTime(slow=[9.0, 0.4, 0.2, 0.6], fast=[9.0, 0.01, 0.03, 0.02])
    found = time.measure()
    slow, fast = found["slow"], found["fast"]
    assert (slow.lower_quartile_ms, slow.median_ms, slow.upper_quartile_ms) == pytest.approx((300, 400, 500))
    assert (fast.lower_quartile_ms, fast.median_ms, fast.upper_quartile_ms) == pytest.approx((15, 20, 25))
    assert slow.rounds == fast.rounds == 3


def test_every_model_runs_once_a_round_and_the_order_rotates():
    time = FakeTime(a=[1] * 4, b=[1] * 4, c=[1] * 4)
    time.measure()
    assert "".join(name for name, *_ in time.calls) == "abcbcacababc"


def test_a_fast_model_is_passed_until_its_turn_is_over():
    # A turn of 100 ms holds four passes of 30 ms, and one of 250 ms.
    time = FakeTime(fast=[0.03] * 8, slow=[0.25] * 2)
    time.measure(timed_rounds=1, turn_ms=100)
    assert [name for name, *_ in time.calls] == ["fast"] * 4 + ["slow"] + ["slow"] + ["fast"] * 4


def test_models_run_in_inference_mode_on_the_given_threads_which_are_put_back():
    before = torch.get_num_threads()
    time = FakeTime(a=[1] * 4)
    time.measure(num_threads=before + 1)
    assert {call[1:] for call in time.calls} == {(7, True, before + 1)}
    assert torch.get_num_threads() == before


def test_threads_are_put_back_after_a_model_fails():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="no memory"):
        measure_latency({"a": _fail}, {}, warmup_rounds=0, timed_rounds=1, num_threads=before + 1, clock=lambda: 0.0)
    assert torch.get_num_threads() == before


def _fail():
    raise RuntimeError("no memory")


def test_headless_encoder_has_the_counted_weights_and_gives_finite_states():
    model = build_headless_encoder(SMALL, vocabulary_size=50, sequence_length=6)
    count = count_parameters(SMALL, vocabulary_size=50, max_positions=6)
    assert sum(weights.numel() for weights in model.parameters()) == count.embeddings + count.encoder
    with torch.inference_mode():
        states = model(input_ids=torch.arange(6).unsqueeze(0)).last_hidden_state
    assert states.shape == (1, 6, 8)
    assert torch.isfinite(states).all()
    assert model.pooler is None
    assert not model.training


def test_a_head_shares_the_weights_of_its_encoder_and_adds_the_counted_ones():
    encoder = build_headless_encoder(SMALL, vocabulary_size=50, sequence_length=6)
    model = with_masked_lm_head(encoder)
    assert model.bert is encoder
    assert model.cls.predictions.decoder.weight is encoder.embeddings.word_embeddings.weight
    count = count_parameters(SMALL, vocabulary_size=50, max_positions=6)
    assert sum(weights.numel() for weights in model.parameters()) == count.total
    with torch.inference_mode():
        logits = model(input_ids=torch.arange(6).unsqueeze(0)).logits
    assert logits.shape == (1, 6, 50)
    assert torch.isfinite(logits).all()
    assert not model.training


def test_encoders_over_a_shared_table_give_what_those_with_a_table_of_their_own_give():
    wide = BertShape(1, 2, 16, 16)
    table = shared_word_table([SMALL, wide], vocabulary_size=50)
    assert table.shape == (50 * 16,)
    ids = torch.arange(6).unsqueeze(0)
    for shape in (SMALL, wide):
        shared = build_headless_encoder(shape, vocabulary_size=50, sequence_length=6, word_table=table)
        own = build_headless_encoder(shape, vocabulary_size=50, sequence_length=6)
        assert shared.embeddings.word_embeddings.weight.data_ptr() == table.data_ptr()
        with torch.inference_mode():
            assert torch.equal(shared(input_ids=ids).last_hidden_state, own(input_ids=ids).last_hidden_state)


def test_the_interval_of_a_median_is_that_of_the_rounds_and_needs_six_of_them():
    time = FakeTime(a=[9.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    found = time.measure(timed_rounds=6)["a"]
    # Of six values, the smallest and the largest hold the median 97 times in 100.
    assert (found.interval_low_ms, found.interval_high_ms) == pytest.approx((100, 600))
    few = FakeTime(a=[9.0, 0.1, 0.2, 0.3, 0.4, 0.5]).measure(timed_rounds=5)["a"]
    assert (few.interval_low_ms, few.interval_high_ms) == (None, None)


def test_the_interval_of_a_median_holds_the_median_of_all_passes():
    # Eight rounds with one slow pass each, and one with nine fast ones: most passes are fast, most rounds are slow.
    time = FakeTime(a=[1.0] * 8 + [0.1] * 11)
    found = time.measure(warmup_rounds=0, timed_rounds=9, turn_ms=1000)["a"]
    assert found.median_ms == pytest.approx(100)
    assert found.interval_low_ms == found.median_ms
    assert found.interval_high_ms == pytest.approx(1000)


def test_every_condition_is_timed_with_and_without_a_head():
    ticks = iter(range(10**6))
    conditions = [Condition(2, 4, 1), Condition(2, 4, 1, has_head=True), Condition(1, 6, 1)]
    found = time_conditions(
        [SMALL, TINY], conditions, vocabulary_size=50, warmup_rounds=1, timed_rounds=3, clock=lambda: next(ticks) / 1000
    )
    assert list(found) == conditions
    assert [[timing.shape for timing in timings] for timings in found.values()] == [[SMALL, TINY]] * 3
    # Three conditions, two shapes, four rounds, two readings each.
    assert next(ticks) == 48


def test_a_device_that_is_too_small_for_an_encoder_is_told_with_what_to_lower(monkeypatch):
    def full(*arguments, **others):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("bort_kedro.latency.shapes.measure_latency", full)
    with pytest.raises(FailedTrainingError) as caught:
        time_shapes([TINY, SMALL], SETTINGS, vocabulary_size=50)
    assert str(caught.value) == (
        f"Timing 2 encoders, the last of them {SMALL}: the memory of the device `cpu` is too small. Lower batch sizes "
        "or lengths (params:search.latency, params:evaluate.speed), or leave out large shapes (params:search.space, "
        "params:evaluate.speed.compare_with)."
    )


@pytest.mark.parametrize("max_group_bytes", [1, 10**9], ids=["one shape a group", "all together"])
def test_shapes_are_timed_in_the_order_given_however_they_are_grouped(max_group_bytes):
    ticks = iter(range(10**6))
    timings = time_shapes(
        [SMALL, TINY, SMALL],
        SETTINGS.changed(batch_size=2),
        vocabulary_size=50,
        clock=lambda: next(ticks) / 1000,
        max_group_bytes=max_group_bytes,
    )
    assert [timing.shape for timing in timings] == [SMALL, TINY, SMALL]
    # The clock is read twice a pass, one tick apart: every pass takes 1 ms.
    assert [timing.median_ms for timing in timings] == pytest.approx([1.0, 1.0, 1.0])
    # Two distinct shapes, four rounds, two readings each.
    assert next(ticks) == 16


def time_once(shapes, states, **changes):
    return time_shapes_once(shapes, states, SETTINGS.changed(**changes), vocabulary_size=50, device="cpu")


def test_shapes_timed_before_are_found_again_to_the_last_digit(tmp_path):
    states = TrainingStates(tmp_path, keep=2)
    first = time_once([TINY, SMALL], states)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("step-*")}
    assert len(files) == 1
    assert time_once([TINY, SMALL], states) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("step-*")} == files


@pytest.mark.parametrize(
    ("shapes", "changes"),
    [([TINY], {}), ([SMALL, TINY], {}), ([TINY, SMALL], {"sequence_length": 5})],
    ids=["part of the list", "another order", "another length"],
)
def test_another_list_or_another_setting_is_timed_anew(tmp_path, shapes, changes):
    states = TrainingStates(tmp_path, keep=2)
    time_once([TINY, SMALL], states)
    assert [timing.shape for timing in time_once(shapes, states, **changes)] == shapes
    assert len(list(tmp_path.rglob("step-*"))) == 2


@pytest.mark.parametrize(
    ("name", "has_cuda", "device"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_auto_is_the_best_device_there_is(monkeypatch, name, has_cuda, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    assert resolve_device(name) == device


def test_cuda_without_a_cuda_device_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigurationError) as caught:
        resolve_device("cuda")
    assert str(caught.value) == (
        "The target device is `cuda`, and this machine has no CUDA device. Allowed here: `auto` and `cpu`. "
        "Change params:search.latency.device."
    )

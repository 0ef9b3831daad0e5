"""Shapes are timed in the runtime they are shipped for."""

import numpy as np
import pytest
import torch

from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.exports.runtimes import TRACED_LENGTH
from bort_kedro.exports.timed_classifiers import drawn_classifier, timed_runtime
from bort_kedro.latency.settings import LatencySettings
from bort_kedro.latency.shapes import time_shapes_once

SHAPE = BertShape(1, 2, 16, 24)
SETTINGS = LatencySettings(batch_size=1, sequence_length=6, warmup_rounds=1, timed_rounds=3, num_threads=1)


@pytest.mark.slow
def test_what_is_timed_is_the_export_of_a_classifier(tmp_path):
    timed = timed_runtime("onnx", num_threads=1)
    ((name, run),) = timed.build([SHAPE], 50, 6, "cpu").items()
    ids = torch.tensor([[3, 1, 4, 1, 5, 9]])
    with torch.inference_mode():
        logits = drawn_classifier(SHAPE, 50, TRACED_LENGTH).eval()(input_ids=ids).logits.numpy()
    assert name == SHAPE.identifier
    np.testing.assert_allclose(run(input_ids=ids), logits, atol=1e-6)
    states, times = TrainingStates(tmp_path, keep=2), []
    for runtime in (timed, None, timed):
        times += time_shapes_once([SHAPE], states, SETTINGS, vocabulary_size=50, device="cpu", runtime=runtime)
    # Times of another runtime are none of this one.
    assert times[0] == times[2] != times[1]
    assert len(list(tmp_path.rglob("step-*"))) == 2


def test_no_two_weights_of_a_timed_classifier_are_alike():
    first, second = drawn_classifier(BertShape(2, 2, 16, 24), 50, 6).bert.encoder.layer
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert not torch.equal(one, other)

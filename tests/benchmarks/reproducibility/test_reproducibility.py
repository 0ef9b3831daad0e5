"""How far two trainings are apart: by hand, and the whole of ``benchmarks/reproducibility`` on a tiny encoder."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import own_process
from benchmarks.reproducibility import __main__ as reproducibility
from benchmarks.reproducibility import trainings
from benchmarks.reproducibility.settings import VARIANTS
from benchmarks.reproducibility.trainings import Outcome
from bort_kedro.text.tokens import Tokens
from tiny_benchmarks import in_this_process, written
from toy_pretraining import SHAPE, made_up_tokens

KEPT = ("reference", "again", "another seed", "batch in 2 parts")


def test_the_difference_of_two_trainings_equals_that_by_hand():
    first = Outcome({1: 2.0, 2: 1.5}, 0.25, 1.5, 0.1, np.array([3.0, 4.0], dtype=np.float32))
    other = Outcome({1: 2.0, 2: 1.75}, 0.5, 1.75, 0.1, np.array([3.0, 4.5], dtype=np.float32))
    found = other.apart_from(first)
    # 0.5 of a length of 5.
    assert (found.is_equal, found.first_step, found.weights) == (False, 2, 0.1)
    assert (found.loss, found.accuracy) == (0.25, 0.25)
    same = first.apart_from(first)
    assert (same.is_equal, same.first_step, same.weights) == (True, None, 0.0)


def test_a_tiny_encoder_is_trained_in_several_ways_and_written(monkeypatch, tmp_path):
    train = made_up_tokens()
    tokens = Tokens(train.vocabulary, dict.fromkeys(("train", "validation", "test"), train.splits["train"]), "made up")
    few = tuple(variant for variant in VARIANTS if variant.title in KEPT)
    monkeypatch.setattr(trainings, "tokens_and_shape", lambda: (tokens, SHAPE))
    monkeypatch.setattr(own_process, "in_own_process", in_this_process)
    monkeypatch.setattr(reproducibility, "VARIANTS", few)
    reproducibility.main(["--steps", "3", "--folder", str(tmp_path)])
    text, figures = written(tmp_path, "reproducibility")
    assert "| again | yes | – | 0.0e+00 | +0.0e+00 | +0.00 points |" in text
    assert figures["again: weights equal"]["value"] == 1
    assert figures["another seed: weights equal"]["value"] == 0
    assert figures["another seed: weights apart"]["value"] > 0.1
    # But for rounding, the batch is the same one.
    assert figures["batch in 2 parts: weights apart"]["value"] == pytest.approx(0, abs=1e-4)

"""What the benchmark of recorded labels says of its outcomes, and the whole of it on a tiny encoder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks.configured import raw_parameters
from benchmarks.finetune import builtin, noise
from benchmarks.finetune.noise import NoisyOutcome, divided, flipped
from benchmarks.finetune.noise_page import METHODS, noise_part
from bort_kedro.configuration import check_parameters
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.pipelines.corpus.nodes import split_documents
from tiny_benchmarks import tiny_text, written


def outcome(seed, share, *, agora, other, is_over=True):
    """Four test examples; all other methods answer alike."""
    right = {method: np.array(agora if method == "agora" else other, dtype=bool) for method in METHODS}
    check = {"score": 1 - share, "error": 0.01, "bar": 2 / 3, "is_over": is_over}
    return NoisyOutcome(
        "order", seed, share, check, 2000, 2318, 500, right, 400, 10.0, {"constant": 0.5, "tfidf": 0.625}
    )


def test_a_share_of_the_labels_is_exchanged_and_those_of_a_smaller_share_alike():
    labels = list("abcd" * 25)
    told = {share: flipped(labels, share, seed=3) for share in (0.0, 0.1, 0.4, 1.0)}
    wrong = {share: {place for place, label in enumerate(labels) if its[place] != label} for share, its in told.items()}
    assert {share: len(places) for share, places in wrong.items()} == {0.0: 0, 0.1: 10, 0.4: 40, 1.0: 100}
    assert wrong[0.1] < wrong[0.4]
    assert all(told[0.1][place] == told[0.4][place] for place in wrong[0.1])
    assert {told[1.0][place] for place in range(0, 100, 4)} == {"b", "c", "d"}
    assert flipped(labels, 0.4, seed=4) != told[0.4]


def test_the_page_tells_where_agora_gains_and_what_the_bar_says_of_it():
    gain, none = ([1, 1, 1, 1], [0, 0, 0, 0]), ([1, 0, 1, 0], [1, 0, 0, 1])
    found = [
        outcome(seed, share, agora=agora, other=other, is_over=is_over)
        for share, (agora, other), is_over in (
            (0.0, gain, True),
            (0.1, none, True),
            (0.3, gain, False),
            (0.4, none, False),
        )
        for seed in (0, 1)
    ]
    part = noise_part(found)
    assert "| 10.0 % | 90.0 ± 1.0 % | 2 of 2 | 500 | 400 | 50.0 ± 0.0 % | 50.0 ± 0.0 % |" in part.text
    assert "| 30.0 % | +100.0 ± 0.0 |" in part.text
    assert part.text.endswith(
        "Shares of wrong labels with which Agora is ahead of labelled examples alone by more than two standard errors: "
        "0.0 %, 30.0 %. With which the bar lets the teacher pass: 0.0 %, 10.0 %; turned away for all its gain: 30.0 %; "
        "let pass without a gain: 10.0 %."
    )
    figures = {each.name: each.value for each in part.figures}
    assert figures["order, 0.0 % wrong labels: Agora's lead over labelled examples alone"] == 1.0
    assert figures["order, 40.0 % wrong labels: seeds in which it is over its bar"] == 0


@pytest.mark.session
def test_recorded_labels_are_made_learned_from_and_written(monkeypatch, tmp_path, tiny_tokenizer):
    config = bert_config(BertShape(1, 2, 16, 32), vocabulary_size=len(tiny_tokenizer), max_positions=32)
    student = Pretrained(build_masked_lm(config, seed=0), tiny_tokenizer)

    def smoke_finetuning(**changes):
        return check_parameters(raw_parameters("smoke", finetune=changes)).finetune

    documents, _ = split_documents(tiny_text(), check_parameters(raw_parameters("smoke")).corpus)
    documents.to_parquet(tmp_path / "documents.parquet")
    # Another process would see nothing of what is put in place here.
    monkeypatch.setattr(noise, "fresh_processes", lambda count, environment: ThreadPoolExecutor(1))
    monkeypatch.setattr(noise, "encoder_of_run", lambda name: student)
    monkeypatch.setattr(noise, "latest", lambda pattern: tmp_path / "documents.parquet")
    monkeypatch.setattr(builtin, "base_finetuning", smoke_finetuning)
    examples, pool = divided("order", smoke_finetuning())
    assert examples["split"].value_counts().to_dict() == {"train": 64, "dev": 30, "test": 18}
    assert len(pool) > 0
    assert not set(pool["text"]) & set(examples["text"])
    words = ["--tasks", "order", "--num-seeds", "2", "--noise", "0"]
    noise.main([*words, "--folder", str(tmp_path / "docs"), "--states", str(tmp_path / "states")])
    page, figures = written(tmp_path / "docs", "recorded-labels")
    assert "Written by `make bench-noise TASK=order` on " in page
    assert "| 0.0 % | 100.0 ± 0.0 % | 2 of 2 |" in page
    assert figures["order, 0.0 % wrong labels: score of the teacher on dev"]["value"] == 1.0

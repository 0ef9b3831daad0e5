"""What the fine-tuning benchmark says of its outcomes, and the whole of it on tiny encoders."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.configured import raw_parameters
from benchmarks.finetune import __main__ as benchmark
from benchmarks.finetune import builtin
from benchmarks.finetune.builtin import Outcome, lead_over
from benchmarks.finetune.page import builtin_part
from bort_kedro.configuration import check_parameters
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.pipelines.corpus.nodes import split_documents
from tiny_benchmarks import tiny_text, written

METHODS = ("agora", "plain", "distilled", "random_augmentation")


def outcome(seed, *, agora, other, is_over=True):
    """Four test examples of the task `order`; all rivals answer alike."""
    right = {method: np.array(other, dtype=bool) for method in METHODS[1:]} | {"agora": np.array(agora, dtype=bool)}
    return Outcome(
        "order",
        seed,
        teacher_score=0.9,
        teacher_test_score=0.75,
        is_over=is_over,
        right=right if is_over else {"plain": right["plain"]},
        num_steps=dict.fromkeys(METHODS, 40),
        num_steps_done=dict.fromkeys(METHODS, 30),
        seconds=dict.fromkeys(METHODS, 2.0),
        floors={"constant": 0.5, "tfidf": 0.625},
        rounds=[{"points": None}, {"points": {"num_made": 8, "num_copies": 2}}],
    )


@pytest.fixture
def found():
    return [outcome(0, agora=[1, 1, 1, 0], other=[1, 0, 0, 0]), outcome(1, agora=[1, 1, 1, 1], other=[1, 0, 1, 1])]


def test_a_lead_is_paired_by_seed_and_by_example(found):
    lead = lead_over("plain", found)
    # By seed 0.5 and 0.25; by example 0, 1, 0.5 and 0.
    assert lead.value == 0.375
    assert lead.seeds_error == pytest.approx(0.125)
    assert lead.examples_error == pytest.approx(np.std([0, 1, 0.5, 0], ddof=1) / 2)
    assert not lead.is_above_noise


def test_the_page_tells_scores_leads_and_costs(found):
    part = builtin_part(found, 2)
    assert "| `order` | 2 of 2 | 50.0 % | 62.5 % | 75.0 ± 0.0 % | 87.5 ± 12.5 % | 50.0 ± 25.0 % |" in part.text
    assert "| `order` | agora | 40 | 30 | 2 |" in part.text
    assert "more than two standard errors on 0 of 1 built-in tasks." in part.text
    assert "Of 16 points that Agora made of mistakes on dev, 4 (25.0 %) were thrown away" in part.text
    figures = {each.name: each for each in part.figures}
    assert figures["order: accuracy of agora"].value == 0.875
    assert figures["order: Agora's lead over plain"].value == 0.375
    won = figures["built-in tasks where Agora leads plain by two standard errors"]
    assert (won.value, won.target, won.met) == (0, None, None)


def test_a_weak_teacher_is_told_of():
    part = builtin_part([outcome(seed, agora=[], other=[1, 0, 0, 0], is_over=False) for seed in (0, 1)], 2)
    assert "| `order` | 0 of 2 | 50.0 % | 62.5 % | 75.0 ± 0.0 % |  | 25.0 ± 0.0 % |  |  |" in part.text
    assert "The teacher of `order` reaches 90.0 % on dev, is not over its bar" in part.text
    assert [each.name for each in part.figures] == [
        "order: accuracy of the best constant answer",
        "order: accuracy of TF-IDF with a linear model",
        "built-in tasks where Agora leads plain by two standard errors",
    ]


@pytest.mark.parametrize(
    ("changes", "teacher"),
    [
        ({}, "student_encoder"),
        ({"finetune": {"teacher": {"encoder": "teacher"}}}, "maximum_point_encoder"),
    ],
)
def test_the_encoders_are_those_that_a_run_makes_for_its_tasks(monkeypatch, changes, teacher):
    monkeypatch.setattr(builtin, "raw_parameters", lambda: raw_parameters(**changes))
    monkeypatch.setattr(builtin, "latest", lambda pattern: pattern)
    monkeypatch.setattr(builtin, "PretrainedDataset", lambda path: SimpleNamespace(load=lambda: path))
    assert builtin.encoders() == tuple(f"06_models/{name}/*/{name}" for name in (teacher, "student_encoder"))


@pytest.mark.session
def test_builtin_tasks_are_made_fine_tuned_and_written(monkeypatch, tmp_path, tiny_tokenizer):
    def encoder(num_layers):
        config = bert_config(BertShape(num_layers, 2, 16, 32), vocabulary_size=len(tiny_tokenizer), max_positions=32)
        return Pretrained(build_masked_lm(config, seed=0), tiny_tokenizer)

    def smoke_finetuning(**changes):
        return check_parameters(raw_parameters("smoke", finetune=changes)).finetune

    documents, _ = split_documents(tiny_text(), check_parameters(raw_parameters("smoke")).corpus)
    documents.to_parquet(tmp_path / "documents.parquet")
    # Another process would see nothing of what is put in place here.
    monkeypatch.setattr(builtin, "fresh_processes", lambda count, environment: ThreadPoolExecutor(1))
    monkeypatch.setattr(builtin, "encoders", lambda: (encoder(2), encoder(1)))
    monkeypatch.setattr(builtin, "latest", lambda pattern: tmp_path / "documents.parquet")
    monkeypatch.setattr(builtin, "base_finetuning", smoke_finetuning)
    words = ["--builtin", "order", "--num-seeds", "2", "--name", "finetune-short"]
    benchmark.main([*words, "--folder", str(tmp_path / "docs"), "--states", str(tmp_path / "states")])
    page, figures = written(tmp_path / "docs", "finetune-short")
    assert "Written by `make bench-finetune-short` on " in page
    assert "Accuracy on the unseen test split, mean and standard error over 2 seeds" in page
    assert "built-in tasks where Agora leads plain by two standard errors" in figures

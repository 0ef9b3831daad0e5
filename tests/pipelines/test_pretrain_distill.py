"""What the nodes of a pretraining hand to the trainings."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.errors import ConfigurationError, ModelFolderError
from bort_kedro.pipelines.pretrain_distill import nodes
from bort_kedro.text.tokenizer import tokenizer_fingerprint
from project_parameters import parameters
from toy_pretraining import mixture


@pytest.mark.parametrize(
    ("source", "weight", "lacks"),
    [
        ("random", 0.5, "distillation"),
        ("teacher", 0.5, "distillation"),
        ("teacher", 0.0, "start"),
        ("candidate", 0.5, "distillation"),
        ("candidate", 0.0, "start"),
        ("random", 0.0, "nothing"),
    ],
)
def test_the_student_and_its_twin_differ_in_one_thing(
    tiny_tokenizer, tiny_vocabulary, monkeypatch, source, weight, lacks
):
    asked = []

    def note(model, tokens, states, settings, pretrain_distill, *, start, distillation=None, **others):
        weights = {name: value.clone() for name, value in model.named_parameters()}
        asked.append(SimpleNamespace(weights=weights, start=start, settings=settings, distillation=distillation))
        return pd.DataFrame()

    monkeypatch.setattr(nodes, "_train", note)
    every = parameters("smoke")
    params = every.pretrain_distill.changed(
        student_start=every.pretrain_distill.student_start.changed(source=source),
        distillation=mixture(masked_lm=0.1, logits=weight),
    )
    assert params.twin_lacks == lacks
    config = bert_config(
        BertShape(2, 2, 16, 24), vocabulary_size=tiny_vocabulary.size, max_positions=every.corpus.max_positions
    )
    teacher = Pretrained(build_masked_lm(config, seed=7), tiny_tokenizer)
    vocabulary = replace(tiny_vocabulary, fingerprint=tokenizer_fingerprint(tiny_tokenizer))
    tokens = SimpleNamespace(vocabulary=vocabulary)
    candidate = nodes._drawn_student(BertShape(1, 2, 8, 12), tokens, every.corpus, params)
    candidate.cls.predictions.bias.data += 1.0
    shared = {
        "selected_encoder": Pretrained(candidate, tiny_tokenizer),
        "selected_shape": BertShape(1, 2, 8, 12).to_row(),
        "tokens": tokens,
        "tokenizer": tiny_tokenizer,
        "teacher_encoder": teacher,
        "training_states": None,
        "pretrain_distill": params,
        "corpus": every.corpus,
    }
    nodes.distill_student(teacher_cache=None, **shared)
    nodes.train_without_teacher(**shared)
    student, twin = asked
    assert (student.start == "random") == (source == "random")
    begin_alike = all(torch.equal(student.weights[name], twin.weights[name]) for name in student.weights | twin.weights)
    assert begin_alike == (twin.start == student.start) == (lacks != "start")
    if source == "candidate":
        assert student.start == Pretrained(candidate, tiny_tokenizer).fingerprint
    # Beside a teacher first tokens tell nothing, whatever the parameters say.
    done = params.student.changed(num_reconstructed=0 if lacks == "distillation" else 4)
    assert student.settings == twin.settings == done
    assert (student.distillation.teacher is teacher) if weight else (student.distillation is None)
    assert twin.distillation is None


def test_a_candidate_of_another_corpus_is_refused(tiny_tokenizer, tiny_vocabulary):
    every = parameters("smoke", pretrain_distill={"student_start": {"source": "candidate"}})
    tokens = SimpleNamespace(vocabulary=tiny_vocabulary)
    candidate = nodes._drawn_student(BertShape(1, 2, 8, 12), tokens, every.corpus, every.pretrain_distill)
    found = Pretrained(candidate, tiny_tokenizer)
    with pytest.raises(ModelFolderError, match="`selected_encoder` was made with another tokenizer"):
        nodes._begin(candidate, tokens, tiny_tokenizer, every.pretrain_distill, found, found)


def test_a_last_layer_in_shards_is_not_read():
    with pytest.raises(ConfigurationError) as caught:
        parameters(
            "smoke",
            pretrain_distill={
                "launch": {"num_processes": 2, "sharding": "full"},
                "distillation": {"relations": {"weight": 1.0}},
            },
        )
    assert (
        "launch.sharding is full with a weight of distillation.relations or .hidden_states above 0, which read the "
        "student's last layer, and a process has a part of it; set sharding to none, or teach by logits"
    ) in str(caught.value)


def test_a_cache_of_a_teacher_that_never_runs_is_refused():
    changes = {"teacher_cache": {"top_k": 8}, "distillation": {"logits": {"weight": 0}}}
    with pytest.raises(ConfigurationError) as caught:
        parameters("smoke", pretrain_distill=changes)
    assert "teacher_cache.top_k is 8 with distillation.logits.weight 0, under which no teacher is asked" in str(
        caught.value
    )

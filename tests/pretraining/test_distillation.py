import dataclasses

import pytest
import torch
from pydantic import ValidationError

from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.families import predicted_logits
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.pretraining.distillation import Distillation, TeacherCache
from bort_kedro.pretraining.losses import masked_lm_loss
from bort_kedro.pretraining.masked_blocks import MaskedBlocks
from bort_kedro.pretraining.masked_lm import masked_lm_objective
from bort_kedro.text.vocabulary_map import VocabularyMap
from toy_pretraining import PUBLISHED


@pytest.fixture
def model(tiny_shape, tiny_vocabulary):
    config = bert_config(tiny_shape, vocabulary_size=tiny_vocabulary.size, max_positions=16)
    return build_masked_lm(config, seed=5).eval()


@pytest.fixture
def batch(tiny_blocks, tiny_vocabulary):
    return MaskedBlocks(tiny_blocks, tiny_vocabulary, seed=1, masked_share=0.3).batch([0, 3, 7, 11], epoch=0)


@pytest.fixture
def under(tiny_tokenizer):
    """Distillation from a teacher, with the published weights."""

    def build(teacher, temperature=2.0, kept=None, rest_id=None, cache=None):
        kept = torch.arange(300) if kept is None else kept
        mapping = VocabularyMap(kept, 300, rest_id)
        settings = published(temperature=temperature)
        return Distillation(Pretrained(teacher, tiny_tokenizer), mapping, settings, cache)

    return build


def published(**logits):
    """The published weights but for those of the logits."""
    return PUBLISHED.changed(logits=PUBLISHED.logits.changed(**logits))


def plain_logits(model, batch):
    return predicted_logits(model, batch["input_ids"], batch.get("attention_mask"), batch["predicted"])


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_an_equal_teacher_leaves_the_masked_lm_part_alone(model, batch, under, temperature):
    parts = under(model, temperature).loss(model, batch)
    plain = masked_lm_objective(model, batch)["loss"].item()
    assert parts["loss"].item() == pytest.approx(0.1 * plain, abs=1e-5)
    assert parts["masked_lm_loss"].item() == pytest.approx(plain, rel=1e-6)
    assert parts["divergence"].item() == pytest.approx(0.0, abs=1e-5)


def test_nothing_to_learn_is_refused():
    told = "masked_lm_weight is 0, and of logits, relations and hidden_states none has a weight above 0 until 1"
    for logits in ({"weight": 0}, {"until": 0.5}):
        with pytest.raises(ValidationError, match=told):
            published(**logits).changed(masked_lm_weight=0)
    assert published().changed(masked_lm_weight=0).predicts


def test_another_teacher_adds_its_divergence(model, batch, under):
    teacher = build_masked_lm(model.config, seed=6)
    parts = under(teacher).loss(model, batch)
    with torch.no_grad():
        student_logits, teacher_logits = plain_logits(model, batch), plain_logits(teacher.eval(), batch)
        teacher_share = (teacher_logits / 2).softmax(-1)
        log_ratio = teacher_share.log() - (student_logits / 2).softmax(-1).log()
        divergence = float((teacher_share * log_ratio).sum(-1).mean())
        plain = float(masked_lm_loss(student_logits, batch["targets"]))
    assert divergence > 1e-4
    assert parts["divergence"].item() == pytest.approx(4 * divergence, rel=1e-3)
    assert parts["loss"].item() == pytest.approx(0.1 * plain + 0.5 * 4 * divergence, rel=1e-4)


def test_the_student_gets_gradients_and_the_teacher_none(model, batch, under):
    teacher = build_masked_lm(model.config, seed=6).train()
    under(teacher).loss(model, batch)["loss"].backward()
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


def test_a_student_of_fewer_ids_is_held_against_what_falls_on_them(tiny_shape, batch, under):
    """Ids 250 and above are dropped and fall on the unknown token, id 3."""
    config = bert_config(tiny_shape, vocabulary_size=300, max_positions=16)
    teacher = build_masked_lm(config, seed=6).eval()
    kept = torch.arange(250)
    small = dict(batch)
    for name in ("input_ids", "targets"):
        small[name] = small[name].clamp(max=249)
    student = build_masked_lm(bert_config(tiny_shape, vocabulary_size=250, max_positions=16), seed=5).eval()
    parts = under(teacher, kept=kept, rest_id=3).loss(student, small)
    with torch.no_grad():
        share = plain_logits(teacher, small).softmax(-1)
        fallen = share[:, :250].clone()
        fallen[:, 3] += share[:, 250:].sum(-1)
        fallen = fallen.sqrt() / fallen.sqrt().sum(-1, keepdim=True)  # softened at temperature 2
        log_ratio = fallen.log() - (plain_logits(student, small) / 2).softmax(-1).log()
        expected = 4 * float((fallen * log_ratio).sum(-1).mean())
    assert parts["divergence"].item() == pytest.approx(expected, rel=1e-3)


def test_the_identity_of_a_training_changes_with_teacher_weights_and_cache_and_not_with_the_store(model, under):
    plain = under(model)
    changed = [
        under(build_masked_lm(model.config, seed=6)),
        under(model, temperature=1.0),
        dataclasses.replace(plain, settings=PUBLISHED.changed(masked_lm_weight=0.2)),
        dataclasses.replace(plain, settings=published(weight=0.2)),
        under(model, cache=TeacherCache(8, None, "here")),
        under(model, cache=TeacherCache(9, None, "here")),
        under(model, cache=TeacherCache(8, 2, "here")),
    ]
    identities = [str(distillation.identity()) for distillation in (plain, *changed)]
    assert len(set(identities)) == len(identities)
    here, there = (under(model, cache=TeacherCache(8, None, store)) for store in ("here", "there"))
    assert here.identity() == there.identity()

"""What each kind of distillation asks of the teacher, what it moves of the student, and when it is dropped."""

import dataclasses

import pytest
import torch
from transformers import RobertaConfig, RobertaForMaskedLM

from batch_reading import labels_of, mask_of
from bort_kedro.datasets.teacher_cache import TeacherCaches
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.encoders.student_start import from_teacher
from bort_kedro.errors import ConfigurationError
from bort_kedro.pretraining import chunked_head
from bort_kedro.pretraining.distillation import Distillation, TeacherCache, distillation_of
from bort_kedro.pretraining.masked_blocks import MaskedBlocks
from bort_kedro.pretraining.masked_lm import masked_lm_objective
from bort_kedro.pretraining.masking import IGNORED
from bort_kedro.pretraining.pretrain import pretrain
from bort_kedro.pretraining.taught_batches import TaughtBatches
from bort_kedro.pretraining.teacher_targets import top_targets
from bort_kedro.text.vocabulary_map import VocabularyMap
from memory_states import DictStates
from toy_pretraining import VOCABULARY, job_for, made_up_tokens, mixture, settings

TEACHER_SHAPE = BertShape(num_hidden_layers=4, num_attention_heads=3, hidden_size=24, intermediate_size=16)
STUDENT_SHAPE = BertShape(num_hidden_layers=2, num_attention_heads=2, hidden_size=16, intermediate_size=16)
NUM_STEPS = 10
LAYERS = {"relations": 1.0, "hidden_states": 1.0}
LAYER = "bert.encoder.layer.0"


def encoder(shape, seed):
    return build_masked_lm(bert_config(shape, vocabulary_size=50, max_positions=16, dropout=0.0), seed=seed)


@pytest.fixture
def student():
    return encoder(STUDENT_SHAPE, 5)


@pytest.fixture
def teacher():
    return encoder(TEACHER_SHAPE, 6)


@pytest.fixture
def under(tiny_tokenizer, teacher):
    def build(kinds, teacher=teacher, cache=None):
        return Distillation(
            Pretrained(teacher, tiny_tokenizer), VocabularyMap(torch.arange(50), 50, None), kinds, cache
        )

    return build


@pytest.fixture
def plain_batches():
    data = MaskedBlocks(made_up_tokens().splits["train"], VOCABULARY, seed=1, masked_share=0.3)
    return data.training_batches(batch_tokens=64)


@pytest.fixture
def batches(plain_batches):
    return lambda distillation: TaughtBatches(plain_batches, distillation.settings, NUM_STEPS)


def layers_run(teacher):
    """Filled with the number of each layer of the teacher whose heads are asked."""
    run = []
    for number, layer in enumerate(teacher.base_model.encoder.layer):
        layer.attention.self.query.register_forward_hook(lambda *said, number=number: run.append(number))
    return run


def taught(distillation, student, batch):
    """The parts of the loss of a readied student, and its gradients."""
    with distillation.readied(student):
        student.zero_grad()
        parts = distillation.loss(student, batch)
        parts["loss"].backward()
    return parts, {name: weight.grad for name, weight in student.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize(
    ("kind", "teacher_layer", "depth"),
    [("relations", 1, 2), ("relations", None, 4), ("hidden_states", 0, 1), ("hidden_states", None, 4)],
)
def test_the_teacher_runs_no_deeper_than_the_layer_that_teaches(
    under, batches, student, teacher, kind, teacher_layer, depth
):
    kinds = mixture(**{kind: 1.0})
    kinds = kinds.changed(**{kind: getattr(kinds, kind).changed(teacher_layer=teacher_layer)})
    distillation, run = under(kinds), layers_run(teacher)
    batch = batches(distillation)(0)
    taught(distillation, student, batch)
    assert run == list(range(depth))
    passed = sum(weight.numel() for layer in teacher.bert.encoder.layer[:depth] for weight in layer.parameters())
    assert distillation.weights_passed(batch, 0.3) == passed


def test_without_a_weight_there_is_no_teacher(under, teacher):
    none = under(mixture())
    assert distillation_of(none.settings, none.teacher, none.vocabulary_map) is None
    some = under(mixture(relations=0.1))
    assert distillation_of(some.settings, some.teacher, some.vocabulary_map) == some


@pytest.mark.parametrize("kind", ["logits", "relations", "hidden_states"])
def test_once_a_kind_is_dropped_the_teacher_is_silent_and_the_step_is_one_without_it(
    under, batches, plain_batches, student, teacher, kind
):
    distillation, run = under(mixture(until={kind: 0.5}, **{kind: 1.0})), layers_run(teacher)
    batch_at = batches(distillation)
    parts, _ = taught(distillation, student, batch_at(4))
    assert parts.keys() == {"loss", "masked_lm_loss", "masked_accuracy", NAMES[kind]}
    assert run
    run.clear()
    parts, gradients = taught(distillation, student, batch_at(5))
    assert run == []
    assert distillation.weights_passed(batch_at(5), 0.3) == 0
    assert parts.keys() == {"loss", "masked_lm_loss", "masked_accuracy"}
    student.zero_grad()
    alone = masked_lm_objective(student, plain_batches(5))
    alone["loss"].backward()
    assert torch.equal(parts["loss"], alone["loss"])
    for name, weight in student.named_parameters():
        if weight.requires_grad:
            assert torch.equal(gradients[name], weight.grad), name


NAMES = {"logits": "divergence", "relations": "relations_divergence", "hidden_states": "hidden_states_error"}


def test_a_mixture_is_the_weighted_sum_of_its_kinds(under, batches, student):
    weights = {"logits": 0.5, "relations": 0.25, "hidden_states": 2.0}
    distillation = under(mixture(masked_lm=0.1, **weights))
    parts, _ = taught(distillation, student, batches(distillation)(0))
    whole = 0.1 * parts["masked_lm_loss"] + sum(weights[kind] * parts[NAMES[kind]] for kind in weights)
    assert parts["loss"].item() == pytest.approx(whole.item(), rel=1e-6)
    for kind in weights:
        alone = under(mixture(**{kind: 1.0}))
        found, _ = taught(alone, student, batches(alone)(0))
        assert found[NAMES[kind]].item() == pytest.approx(parts[NAMES[kind]].item(), rel=1e-4)


def test_the_teacher_of_a_whole_copy_has_nothing_to_say(under, batches, student):
    distillation = under(mixture(logits=1.0, **LAYERS), teacher=encoder(STUDENT_SHAPE, 5))
    parts, _ = taught(distillation, student, batches(distillation)(0))
    for name in NAMES.values():
        assert parts[name].item() == pytest.approx(0, abs=1e-5)


def test_where_nothing_is_predicted_both_see_the_true_tokens_and_no_head_is_run(under, batches, plain_batches, student):
    distillation = under(mixture(masked_lm=0.0, **LAYERS))
    batch, hidden = batches(distillation)(0), plain_batches(0)
    labels = labels_of(hidden)
    is_hidden = labels != IGNORED
    assert torch.equal(batch["input_ids"][is_hidden], labels[is_hidden])
    assert torch.equal(batch["input_ids"][~is_hidden], hidden["input_ids"][~is_hidden])
    assert batch["weight"].item() == mask_of(batch).sum().item()
    student.cls.register_forward_hook(lambda *said: pytest.fail("the head was run"))
    parts, gradients = taught(distillation, student, batch)
    assert parts.keys() == {"loss", "relations_divergence", "hidden_states_error"}
    assert not any(name.startswith("cls.") for name in gradients)
    assert all(weight.requires_grad for weight in student.cls.parameters())


@pytest.mark.parametrize(
    ("kinds", "still"),
    [
        (LAYERS, ("cls.",)),
        ({"relations": 1.0}, ("cls.", *(f"{LAYER}.{part}" for part in ("attention.output", "intermediate", "output")))),
    ],
)
def test_weights_that_nothing_depends_on_are_not_moved_by_weight_decay(tmp_path, tiny_tokenizer, kinds, still):
    how = settings(num_steps=3, weight_decay=0.5)
    job = job_for(tmp_path, how, tokenizer=tiny_tokenizer, kinds=mixture(masked_lm=0.0, **kinds))
    before = {name: weight.clone() for name, weight in job.model.named_parameters()}
    job.run()
    after = dict(job.model.named_parameters())
    assert after.keys() == before.keys()
    stayed = {name for name, weight in after.items() if torch.equal(weight, before[name])}
    assert stayed == {name for name in after if name.startswith((*still, "bert.embeddings.token_type_embeddings"))}


def test_parts_of_a_step_sum_to_its_whole(under, batches, student):
    distillation = under(mixture(masked_lm=0.0, relations=1.0))
    batch_at = batches(distillation)
    _, whole = taught(distillation, student, batch_at(0))
    parts = [batch_at(0, part, 3) for part in range(3)]
    total = sum(part["weight"] for part in parts)
    assert total == batch_at(0)["weight"]
    sums = {}
    for part in parts:
        _, gradients = taught(distillation, student, part)
        sums |= {name: sums.get(name, 0) + part["weight"] / total * value for name, value in gradients.items()}
    assert sums.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(sums[name], value, rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize("kinds", [{"logits": 0.5, **LAYERS}, LAYERS])
def test_a_training_resumed_equals_an_uninterrupted_one_its_map_included(under, kinds):
    how = settings(num_steps=NUM_STEPS, dropout=0.1, checkpoint_every_steps=4)
    distillation = under(mixture(masked_lm=0.0, until={"hidden_states": 0.6}, **kinds))
    tokens, ended = made_up_tokens(), []
    for stops in ((NUM_STEPS,), (3, 7, NUM_STEPS)):
        states = DictStates()
        for stop in stops:
            model = encoder(STUDENT_SHAPE, 5)
            pretrain(model, tokens, how, states=states, name="x", distillation=distillation, stop_at=stop)
        (store,) = states.stores.values()
        ended.append(store.latest().tensors)
        assert not hasattr(model, "map_to_teacher")
    whole, resumed = ended
    assert {"model.map_to_teacher.weight", "model.map_to_teacher.bias"} <= whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    assert not torch.equal(whole["model.map_to_teacher.bias"], torch.zeros(24))


def test_a_teacher_without_a_head_teaches_its_layers(under, batches, student, teacher):
    with_head, without = (under(mixture(**LAYERS), teacher=model) for model in (teacher, teacher.base_model))
    batch = batches(with_head)(0)
    (found, _), (expected, _) = (taught(each, student, batch) for each in (without, with_head))
    for name in ("loss", "relations_divergence", "hidden_states_error"):
        assert torch.equal(found[name], expected[name])


def test_a_teacher_without_a_head_has_no_logits_to_teach(under, student, teacher):
    distillation = under(mixture(logits=1.0), teacher=teacher.base_model)
    with pytest.raises(ConfigurationError, match="The teacher has no masked-LM head"), distillation.readied(student):
        pass


def test_a_student_wider_than_its_teacher_learns_its_states(under, batches):
    wide = encoder(BertShape(1, 2, 32, 16), 5)
    distillation = under(mixture(masked_lm=0.0, **LAYERS))
    with distillation.readied(wide):
        assert torch.equal(wide.map_to_teacher.weight, torch.eye(24, 32))
        parts = distillation.loss(wide, batches(distillation)(0))
    assert 0 < parts["hidden_states_error"].item() < 10


def test_the_map_begins_as_the_basis_that_svd_starts_a_student_on(under, student, teacher):
    with under(mixture(hidden_states=1.0)).readied(student):
        basis = student.map_to_teacher.weight.detach()
    torch.testing.assert_close(basis.T @ basis, torch.eye(16), rtol=0, atol=1e-5)
    pretrained = under(mixture()).teacher
    from_teacher(student, pretrained, torch.arange(50), layers=None, narrowing="svd")
    words = teacher.bert.embeddings.word_embeddings.weight @ basis
    torch.testing.assert_close(student.bert.embeddings.word_embeddings.weight.detach(), words.detach())


def test_logits_of_a_cache_are_mixed_with_layers_of_the_live_teacher(under, tmp_path, teacher):
    """A cache of every token says what the teacher would; its own layers run for the relations alone."""
    how = settings(num_steps=4, dropout=0.0)
    kinds = mixture(masked_lm=0.1, logits=0.5, relations=1.0, until={"logits": 0.5})
    cache = TeacherCache(50, 1, TeacherCaches(tmp_path))
    live, cached = (
        pretrain(
            encoder(STUDENT_SHAPE, 5),
            made_up_tokens(),
            how,
            states=None,
            name="x",
            distillation=under(kinds, cache=kept),
        ).history
        for kept in (None, cache)
    )
    assert [row.get("divergence") is None for row in cached] == [False, False, True, True]
    for left, right in zip(live, cached, strict=True):
        assert left.keys() == right.keys()
        for name in left:
            assert left[name] == pytest.approx(right[name], rel=1e-2, abs=1e-3), name


def roberta():
    sizes = {"vocab_size": 50, "max_position_embeddings": 20, "pad_token_id": 1, "type_vocab_size": 1}
    return RobertaForMaskedLM(RobertaConfig(**TEACHER_SHAPE.to_row(), **sizes))


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize(
    "kinds",
    [
        {"masked_lm": 0.1, "logits": 0.5},
        {"masked_lm": 0.0, "logits": 0.5},
        {"masked_lm": 0.1, "logits": 0.5, **LAYERS},
        {"masked_lm": 0.1, "relations": 1.0},
    ],
    ids=["as published", "logits", "all", "relations"],
)
def test_heads_in_chunks_give_the_parts_and_the_gradients_of_whole_ones(
    under, batches, student, teacher, kinds, family, monkeypatch
):
    distillation = under(mixture(num_heads=2, **kinds), teacher=teacher if family == "bert" else roberta())
    batch = batches(distillation)(0)
    expected, whole = taught(distillation, student, batch)
    monkeypatch.setattr(chunked_head, "LOGITS_BYTES", 4 * 50 * 3)
    rows = []
    slopes = chunked_head.divergence_slopes
    monkeypatch.setattr(
        chunked_head, "divergence_slopes", lambda own, said, **how: rows.append(len(said)) or slopes(own, said, **how)
    )
    for name in ("batch_logits", "logits_of"):
        monkeypatch.setattr("bort_kedro.pretraining.distillation." + name, None)
    parts, gradients = taught(distillation, student, batch)
    assert parts.keys() == expected.keys()
    for name, value in parts.items():
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-5, abs=1e-6), name
    assert gradients.keys() == whole.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-5, atol=1e-6)
    # The teacher's table is made three positions at a time too.
    assert not rows if "logits" not in kinds else (max(rows) <= 3 and sum(rows) == len(batch["targets"]))


def test_a_cached_teacher_teaches_in_chunks_what_it_teaches_whole(under, plain_batches, student, tmp_path, monkeypatch):
    distillation = under(mixture(masked_lm=0.1, logits=0.5), cache=TeacherCache(6, 1, TeacherCaches(tmp_path)))
    batch = plain_batches(0)
    said = top_targets(under(mixture(logits=0.5)).teacher_logits(batch), temperature=2.0, top_k=6)
    batch |= {f"teacher_{name}": value for name, value in vars(said).items()}
    expected, whole = taught(distillation, student, batch)
    monkeypatch.setattr(chunked_head, "LOGITS_BYTES", 4 * 50 * 3)
    parts, gradients = taught(distillation, student, batch)
    for name, value in parts.items():
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-5), name
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-5, atol=1e-6)


def test_only_what_is_taught_is_part_of_the_identity(under):
    kinds = mixture(relations=1.0)
    plain = under(kinds)
    silent = dataclasses.replace(plain, settings=kinds.changed(logits=kinds.logits.changed(temperature=7.0)))
    assert silent.identity() == plain.identity()
    changes = [{"weight": 0.5}, {"until": 0.5}, {"num_heads": 2}, {"teacher_layer": 1}]
    others = [under(kinds.changed(relations=kinds.relations.changed(**change))) for change in changes]
    others += [under(mixture(masked_lm=0.5, relations=1.0)), under(mixture(hidden_states=1.0, relations=1.0))]
    assert len({str(each.identity()) for each in (plain, *others)}) == 1 + len(others)


def test_relation_heads_that_do_not_fit_both_are_refused_where_they_are_changed(under, student):
    with pytest.raises(ConfigurationError) as caught, under(mixture(relations=1.0, num_heads=5)).readied(student):
        pass
    assert str(caught.value) == (
        "relations.num_heads is 5, which does not divide each of the widths [16, 24]; allowed are 1, 2, 4, 8. Change "
        "it under params:distillation."
    )


def test_relation_heads_that_only_a_score_takes_are_refused_before_the_training(under, student):
    under(mixture(hidden_states=1.0, num_heads=5)).require_fitting(student.config.hidden_size)
    with pytest.raises(ConfigurationError, match=r"^relations.num_heads is 5, which does not divide"):
        under(mixture(masked_lm=0.0, hidden_states=1.0, num_heads=5)).require_fitting(student.config.hidden_size)


def test_a_layer_that_the_teacher_lacks_is_refused(under, student):
    kinds = mixture(hidden_states=1.0)
    kinds = kinds.changed(hidden_states=kinds.hidden_states.changed(teacher_layer=4))
    with pytest.raises(ConfigurationError) as caught, under(kinds).readied(student):
        pass
    assert str(caught.value) == (
        "`hidden_states.teacher_layer` is 4; the teacher has the layers 0 to 3. Change it under params:distillation, "
        "or set it to null for the last."
    )


def test_batches_of_a_stream_keep_its_state(under):
    class Stream:
        def __call__(self, step):
            return {"step": torch.tensor(step)}

        def state(self, step):
            return {"at": step}

    batches = TaughtBatches(Stream(), mixture(logits=1.0, until={"logits": 0.5}), NUM_STEPS)
    assert batches.state(3) == {"at": 3}
    assert batches(4).keys() == {"step"}
    assert batches(5).keys() == {"step", "without_logits"}
    assert not hasattr(TaughtBatches(lambda step: {}, mixture(), NUM_STEPS), "state")

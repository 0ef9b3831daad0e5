import logging

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.layer_transfer import main_directions
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.settings import StudentStartSettings
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.encoders.student_start import from_candidate, from_teacher, spread_layers, start_student
from bort_kedro.errors import ConfigurationError, ModelFolderError
from disturbed_encoders import ATTENTION, IDS, PAD_ID, SHAPE, SIZES, VOCABULARY_SIZE, disturbed

EVERY_ID = torch.arange(VOCABULARY_SIZE)
PLACE = "params:pretrain_distill.student_start"


def encoder(family, **changes):
    sizes = SIZES | changes
    if family == "bert":
        return disturbed(BertForMaskedLM(BertConfig(**sizes, type_vocab_size=2)))
    sizes["max_position_embeddings"] += PAD_ID + 1
    return disturbed(RobertaForMaskedLM(RobertaConfig(**sizes, type_vocab_size=1)))


@pytest.fixture
def teacher(request, tiny_tokenizer):
    return Pretrained(encoder(request.param), tiny_tokenizer)


def student(shape=SHAPE, vocabulary_size=VOCABULARY_SIZE, max_positions=12):
    config = bert_config(shape, vocabulary_size=vocabulary_size, max_positions=max_positions, pad_token_id=PAD_ID)
    return build_masked_lm(config, seed=9).double().eval()


def logits_of(model, ids=IDS):
    """Of the tokens; what stands at padding is nobody's business (RoBERTa gives it a position of its own)."""
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=ATTENTION).logits[ATTENTION.bool()]


both_families = pytest.mark.parametrize("teacher", ["bert", "roberta"], indirect=True)
both_narrowings = pytest.mark.parametrize("narrowing", ["truncation", "svd"])


@both_families
def test_of_a_teacher_without_a_head_the_student_has_the_layers_and_keeps_its_own_head(teacher):
    model = student()
    head = {name: value.clone() for name, value in model.cls.predictions.transform.state_dict().items()}
    alone = Pretrained(teacher.model.base_model, teacher.tokenizer)
    from_teacher(model, alone, EVERY_ID, layers=None, narrowing="svd")
    with torch.no_grad():
        said, expected = (
            encoder(input_ids=IDS, attention_mask=ATTENTION).last_hidden_state for encoder in (model.bert, alone.model)
        )
    torch.testing.assert_close(said[ATTENTION.bool()], expected[ATTENTION.bool()])
    for name, value in model.cls.predictions.transform.state_dict().items():
        assert torch.equal(value, head[name])


@both_families
@both_narrowings
def test_a_student_of_the_teachers_shape_gives_the_teachers_logits(teacher, narrowing):
    model = student()
    from_teacher(model, teacher, EVERY_ID, layers=None, narrowing=narrowing)
    torch.testing.assert_close(logits_of(model), logits_of(teacher.model))
    assert (logits_of(model) - logits_of(student())).abs().max() > 1


@both_families
def test_a_student_of_a_trimmed_vocabulary_gives_the_teachers_logits_of_the_kept_ids(teacher):
    kept = torch.cat([torch.arange(5), torch.arange(11, 290, 3)])
    model = student(vocabulary_size=len(kept))
    from_teacher(model, teacher, kept, layers=None, narrowing="truncation")
    own_ids = torch.tensor([[0, 7, 30, 4, 90, 2], [0, 55, 4, 2, PAD_ID, PAD_ID]])
    expected = logits_of(teacher.model, kept[own_ids])[..., kept]
    torch.testing.assert_close(logits_of(model, own_ids), expected)
    words = teacher.model.get_input_embeddings().weight
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, words[kept])
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


@both_families
def test_fewer_positions_are_the_teachers_first_and_token_types_stay_zero(teacher):
    model = student(max_positions=6)
    from_teacher(model, teacher, EVERY_ID, layers=None, narrowing="truncation")
    torch.testing.assert_close(logits_of(model), logits_of(teacher.model))
    token_types = model.bert.embeddings.token_type_embeddings.weight
    assert torch.equal(token_types, torch.zeros(1, 32).double())
    assert not token_types.requires_grad


@both_families
@both_narrowings
def test_a_student_of_wider_and_fewer_heads_attends_as_the_kept_heads_do(teacher, narrowing):
    """Two heads of 16 hold two of the teacher's four of 8; the teacher's other two are silenced for comparison."""
    for layer in teacher.model.base_model.encoder.layer:
        layer.attention.output.dense.weight.data[:, 16:] = 0
    model = student(BertShape(3, 2, 32, 40))
    from_teacher(model, teacher, EVERY_ID, layers=None, narrowing=narrowing)
    torch.testing.assert_close(logits_of(model), logits_of(teacher.model))
    model(input_ids=IDS, attention_mask=ATTENTION).logits.square().sum().backward()
    attention = model.bert.encoder.layer[0].attention
    assert attention.self.key.weight.grad[8:16].abs().sum() > 0
    assert attention.output.dense.weight.grad[:, 8:16].abs().sum() > 0


@pytest.mark.parametrize("teacher", ["roberta"], indirect=True)
def test_truncation_takes_the_first_dimensions_heads_and_units_of_the_named_layers(teacher):
    model = student(BertShape(2, 2, 8, 10))
    from_teacher(model, teacher, EVERY_ID, layers=(2, 0), narrowing="truncation")
    own, source = model.bert.encoder.layer[0], teacher.model.roberta.encoder.layer[2]
    # The student's heads have 4 units, the teacher's 8: rows 0 to 3 of head 0, then 8 to 11 of head 1.
    rows = [0, 1, 2, 3, 8, 9, 10, 11]
    for name in ("query", "key", "value"):
        mine, other = getattr(own.attention.self, name), getattr(source.attention.self, name)
        assert torch.equal(mine.weight, other.weight[rows, :8])
        assert torch.equal(mine.bias, other.bias[rows])
    assert torch.equal(own.attention.output.dense.weight, source.attention.output.dense.weight[:8, rows])
    assert torch.equal(own.attention.output.dense.bias, source.attention.output.dense.bias[:8])
    assert torch.equal(own.intermediate.dense.weight, source.intermediate.dense.weight[:10, :8])
    assert torch.equal(own.intermediate.dense.bias, source.intermediate.dense.bias[:10])
    assert torch.equal(own.output.dense.weight, source.output.dense.weight[:8, :10])
    assert torch.equal(own.output.LayerNorm.weight, source.output.LayerNorm.weight[:8])
    assert torch.equal(own.attention.output.LayerNorm.bias, source.attention.output.LayerNorm.bias[:8])
    second = model.bert.encoder.layer[1].intermediate.dense.weight
    assert torch.equal(second, teacher.model.roberta.encoder.layer[0].intermediate.dense.weight[:10, :8])
    embeddings, others = model.bert.embeddings, teacher.model.roberta.embeddings
    assert torch.equal(embeddings.word_embeddings.weight, others.word_embeddings.weight[:, :8])
    positions = others.position_embeddings.weight[PAD_ID + 1 :] + others.token_type_embeddings.weight[0]
    assert torch.equal(embeddings.position_embeddings.weight, positions[:, :8])
    head, other_head = model.cls.predictions, teacher.model.lm_head
    assert torch.equal(head.transform.dense.weight, other_head.dense.weight[:8, :8])
    assert torch.equal(head.transform.LayerNorm.weight, other_head.layer_norm.weight[:8])
    assert torch.equal(head.bias, other_head.bias)


def wide_products(layer, head):
    """Query with key and value with output of a teacher's head of 8 units, biases as one more input."""
    rows = slice(8 * head, 8 * head + 8)
    query, key, value = (
        torch.cat([linear.weight, linear.bias[:, None]], dim=1)[rows]
        for linear in (layer.attention.self.query, layer.attention.self.key, layer.attention.self.value)
    )
    return query.T @ key / 8**0.5, value.T @ layer.attention.output.dense.weight[:, rows].T


@pytest.mark.parametrize("teacher", ["bert"], indirect=True)
def test_singular_values_keep_the_best_scores_and_outputs_of_the_largest_heads(teacher):
    """The hidden size stays, so that the products of student and teacher live in the same space."""
    source = teacher.model.bert.encoder.layer[2]
    source.attention.output.dense.weight.data[:, 8:16] *= 3
    source.attention.output.dense.weight.data[:, 24:] *= 3
    model = student(BertShape(1, 2, 32, 40))
    from_teacher(model, teacher, EVERY_ID, layers=(2,), narrowing="svd")
    own = model.bert.encoder.layer[0].attention
    scores, outputs = wide_products(source, head=1)
    query, key, value = (
        torch.cat([linear.weight, linear.bias[:, None]], dim=1)[:16]
        for linear in (own.self.query, own.self.key, own.self.value)
    )
    torch.testing.assert_close((query.T @ key) / 16**0.5, scores)
    torch.testing.assert_close(value.T @ own.output.dense.weight[:, :16].T, outputs)


@pytest.mark.parametrize("teacher", ["bert"], indirect=True)
def test_singular_values_give_scores_and_outputs_as_near_as_their_rank_allows(teacher):
    embeddings = teacher.model.bert.embeddings
    words = embeddings.word_embeddings.weight.data
    positions = embeddings.position_embeddings.weight.data + embeddings.token_type_embeddings.weight.data[0]
    basis = main_directions(words, positions, 16).columns
    model = student(BertShape(1, 4, 16, 20))
    from_teacher(model, teacher, EVERY_ID, layers=(2,), narrowing="svd")
    torch.testing.assert_close(model.bert.embeddings.word_embeddings.weight, words @ basis)
    torch.testing.assert_close(model.bert.embeddings.position_embeddings.weight, positions @ basis)
    seen = torch.block_diag(basis, torch.ones(1, 1).double())  # the bias is one more input
    own = model.bert.encoder.layer[0].attention
    for head in range(4):
        scores, outputs = wide_products(teacher.model.bert.encoder.layer[2], head)
        rows = slice(4 * head, 4 * head + 4)
        query, key, value = (
            torch.cat([linear.weight, linear.bias[:, None]], dim=1)[rows]
            for linear in (own.self.query, own.self.key, own.self.value)
        )
        for wanted, given in (
            (seen.T @ scores @ seen, query.T @ key / 4**0.5),
            (seen.T @ outputs @ basis, value.T @ own.output.dense.weight[:, rows].T),
        ):
            left_out = torch.linalg.svdvals(wanted)[4:].square().sum().sqrt()
            torch.testing.assert_close((wanted - given).norm(), left_out)


@pytest.mark.parametrize("teacher", ["bert"], indirect=True)
def test_singular_values_keep_the_units_that_read_and_write_most(teacher):
    layer = teacher.model.bert.encoder.layer[2]
    layer.output.dense.weight.data[:, [1, 5, 33]] *= 50
    model = student(BertShape(1, 4, 32, 3))
    from_teacher(model, teacher, EVERY_ID, layers=(2,), narrowing="svd")
    own = model.bert.encoder.layer[0]
    torch.testing.assert_close(own.intermediate.dense.weight, layer.intermediate.dense.weight[[1, 5, 33]])
    torch.testing.assert_close(own.output.dense.weight, layer.output.dense.weight[:, [1, 5, 33]])


@pytest.mark.parametrize(
    ("depth", "teacher_depth", "layers"),
    [
        (4, 12, (0, 4, 7, 11)),
        (4, 24, (0, 8, 15, 23)),
        (5, 12, (0, 3, 6, 8, 11)),
        (2, 4, (0, 3)),
        (3, 3, (0, 1, 2)),
        (1, 12, (0,)),
    ],
)
def test_layers_are_spread_evenly_the_first_and_the_last_among_them(depth, teacher_depth, layers):
    assert spread_layers(depth, teacher_depth) == layers


def refusal(model, teacher, *, layers=None):
    with pytest.raises(ConfigurationError) as caught:
        from_teacher(model, teacher, EVERY_ID, layers=layers, narrowing="svd")
    return str(caught.value)


@pytest.mark.parametrize("teacher", ["roberta"], indirect=True)
def test_a_student_larger_than_its_teacher_is_refused_with_every_axis(teacher):
    model = student(BertShape(4, 8, 64, 41), max_positions=13)
    assert refusal(model, teacher) == (
        "A student larger than its teacher cannot start from the teacher's layers: num_hidden_layers 4 over 3, "
        "num_attention_heads 8 over 4, hidden_size 64 over 32, intermediate_size 41 over 40, positions 13 over 12. Set "
        f"`source` under {PLACE} to random, or choose a larger teacher."
    )


def test_a_teacher_of_another_family_is_refused(tiny_tokenizer):
    other = Pretrained(ElectraForMaskedLM(ElectraConfig(**SHAPE.to_row(), vocab_size=300)), tiny_tokenizer)
    assert refusal(student(), other) == (
        "A student cannot start from the layers of a `electra` teacher, whose layers are not BERT's. Families that "
        "can: bert, roberta, xlm-roberta, camembert. Name another encoder as params:search.maximum_point."
    )


@pytest.mark.parametrize("teacher", ["bert"], indirect=True)
@pytest.mark.parametrize("layers", [(0, 1), (0, 1, 3), (-1, 0, 1)])
def test_layers_that_do_not_fit_are_refused(teacher, layers):
    assert refusal(student(), teacher, layers=layers) == (
        f"`teacher_layers` is {list(layers)} for a student of 3 layers: it needs 3 numbers from 0 to 2, the teacher's "
        f"layers. Change it under {PLACE}, or set it to null."
    )


def test_another_activation_of_the_teacher_is_told(tiny_tokenizer, caplog):
    teacher = Pretrained(encoder("bert", hidden_act="relu"), tiny_tokenizer)
    with caplog.at_level(logging.WARNING):
        from_teacher(student(), teacher, EVERY_ID, layers=None, narrowing="truncation")
    assert caplog.messages == [
        "The student keeps its activation gelu though the teacher was trained with relu, so its first outputs differ."
    ]


@pytest.mark.parametrize("teacher", ["bert"], indirect=True)
def test_a_start_does_what_its_source_says(teacher, tiny_tokenizer, tmp_path):
    teacher.model.save_pretrained(tmp_path)
    logits = {}
    candidate = Pretrained(student(), tiny_tokenizer)
    candidate.model.cls.predictions.bias.data += 1.0
    for source in ("random", "teacher", "candidate", "checkpoint"):
        start = StudentStartSettings(
            source=source,
            checkpoint=str(tmp_path) if source == "checkpoint" else None,
            teacher_layers=None,
            narrowing="truncation",
        )
        model = student()
        start_student(model, tiny_tokenizer, start, teacher=teacher, kept_ids=EVERY_ID, candidate=candidate)
        logits[source] = logits_of(model)
    assert torch.equal(logits["random"], logits_of(student()))
    assert torch.equal(logits["candidate"], logits_of(candidate.model))
    assert not torch.equal(logits["candidate"], logits["random"])
    torch.testing.assert_close(logits["teacher"], logits_of(teacher.model))
    torch.testing.assert_close(logits["checkpoint"], logits_of(teacher.model))


def test_a_candidate_of_other_sizes_is_refused_with_each(tiny_tokenizer):
    candidate = Pretrained(student(BertShape(2, 4, 16, 20), max_positions=16), tiny_tokenizer)
    with pytest.raises(ModelFolderError) as caught:
        from_candidate(student(BertShape(1, 4, 16, 20)), candidate)
    assert str(caught.value) == (
        "`selected_encoder` is not of the student's sizes: num_hidden_layers 2 (student 1), max_position_embeddings 16 "
        "(student 12). Shape or corpus have changed since the search. Run `kedro run --pipelines search` again, then "
        "this stage."
    )

import numpy as np
import pytest
import torch

from bort_kedro.core.losses import masked_lm_loss
from bort_kedro.core.masking import IGNORED
from bort_kedro.models.encoder import bert_config, build_masked_lm, predicted_logits
from bort_kedro.training.masked_lm import (
    MaskedBlocks,
    distillation_objective,
    evaluate_masked_lm,
    masked_lm_objective,
)


@pytest.fixture
def model(tiny_shape, tiny_vocabulary):
    config = bert_config(tiny_shape, vocabulary_size=tiny_vocabulary.size, max_positions=16)
    return build_masked_lm(config, seed=5).eval()


@pytest.fixture
def data(tiny_blocks, tiny_vocabulary):
    return MaskedBlocks(tiny_blocks, tiny_vocabulary, seed=1, masked_share=0.3)


@pytest.fixture
def batch(data):
    return data.batch([0, 3, 7, 11], epoch=0)


def test_a_batch_holds_its_blocks_padded_to_the_longest(data, batch, tiny_blocks, tiny_vocabulary):
    lengths = tiny_blocks.lengths[[0, 3, 7, 11]]
    assert len(set(lengths.tolist())) > 1
    assert batch["input_ids"].shape == (4, lengths.max())
    np.testing.assert_array_equal(batch["attention_mask"].sum(dim=1), lengths)
    is_padding = batch["attention_mask"] == 0
    assert set(batch["input_ids"][is_padding].tolist()) == {tiny_vocabulary.pad_id}
    assert set(batch["labels"][is_padding].tolist()) == {IGNORED}
    for row, block in enumerate([0, 3, 7, 11]):
        true_ids = torch.from_numpy(tiny_blocks[block].astype(np.int64))
        inputs, labels = (batch[name][row, : lengths[row]] for name in ("input_ids", "labels"))
        is_predicted = labels != IGNORED
        assert int(is_predicted.sum()) == max(1, round(0.3 * (int(lengths[row]) - 2)))
        assert torch.equal(labels[is_predicted], true_ids[is_predicted])
        assert torch.equal(inputs[~is_predicted], true_ids[~is_predicted])


def test_masks_of_a_block_do_not_depend_on_the_batch_it_stands_in(data, tiny_blocks):
    length = int(tiny_blocks.lengths[7])
    alone, among = data.batch([7], epoch=2), data.batch([3, 7], epoch=2)
    for name in ("input_ids", "labels"):
        assert torch.equal(alone[name][0], among[name][1, :length])


def test_masks_are_drawn_afresh_in_each_epoch(data):
    blocks = range(24)
    labels = [data.batch(blocks, epoch=epoch)["labels"] for epoch in (0, 1, 0)]
    assert torch.equal(labels[0], labels[2])
    assert not torch.equal(labels[0], labels[1])


def test_training_batches_are_a_pure_function_of_the_step(data):
    forward, backward = data.training_batches(batch_tokens=48), data.training_batches(batch_tokens=48)
    first = [forward(step) for step in range(12)]
    second = [backward(step) for step in reversed(range(12))][::-1]
    for left, right in zip(first, second, strict=True):
        assert all(torch.equal(left[name], right[name]) for name in left)


def test_logits_at_predicted_positions_equal_those_of_the_full_forward(model, batch):
    is_predicted = batch["labels"] != IGNORED
    with torch.no_grad():
        some = predicted_logits(model, batch["input_ids"], batch["attention_mask"], is_predicted)
        full = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    assert some.shape == (int(is_predicted.sum()), 300)
    torch.testing.assert_close(some, full[is_predicted], atol=1e-5, rtol=1e-5)


def test_masked_lm_objective_equals_the_loss_that_transformers_computes(model, batch):
    parts = masked_lm_objective(model, batch)
    with torch.no_grad():
        output = model(**batch)
    assert parts["loss"].item() == pytest.approx(output.loss.item(), rel=1e-5)
    is_predicted = batch["labels"] != IGNORED
    hits = output.logits.argmax(-1)[is_predicted] == batch["labels"][is_predicted]
    assert parts["masked_accuracy"].item() == pytest.approx(hits.float().mean().item())


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_distillation_from_an_equal_teacher_leaves_the_masked_lm_part_alone(model, batch, temperature):
    objective = distillation_objective(model, temperature=temperature, masked_lm_weight=0.1, distillation_weight=0.5)
    parts = objective(model, batch)
    plain = masked_lm_objective(model, batch)["loss"].item()
    assert parts["loss"].item() == pytest.approx(0.1 * plain, abs=1e-5)
    assert parts["masked_lm_loss"].item() == pytest.approx(plain, rel=1e-6)


def test_distillation_from_another_teacher_adds_its_divergence(model, batch, tiny_vocabulary, tiny_shape):
    teacher = build_masked_lm(model.config, seed=6)
    is_predicted = batch["labels"] != IGNORED
    objective = distillation_objective(teacher, temperature=2.0, masked_lm_weight=0.1, distillation_weight=0.5)
    loss = objective(model, batch)["loss"].item()
    with torch.no_grad():
        inputs = batch["input_ids"], batch["attention_mask"], is_predicted
        student_logits, teacher_logits = predicted_logits(model, *inputs), predicted_logits(teacher, *inputs)
        teacher_share = (teacher_logits / 2).softmax(-1)
        log_ratio = teacher_share.log() - (student_logits / 2).softmax(-1).log()
        divergence = (teacher_share * log_ratio).sum(-1).mean()
        plain = masked_lm_loss(student_logits, batch["labels"][is_predicted])
    assert loss == pytest.approx(float(0.1 * plain + 0.5 * 4 * divergence), rel=1e-4)
    assert float(divergence) > 1e-4


def test_distillation_trains_the_student_and_leaves_the_teacher_without_gradients(model, batch):
    teacher = build_masked_lm(model.config, seed=6).train()
    objective = distillation_objective(teacher, temperature=2.0, masked_lm_weight=0.1, distillation_weight=0.5)
    assert not teacher.training
    objective(model, batch)["loss"].backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


def test_evaluation_is_the_same_twice_and_leaves_no_dropout_on(model, data):
    model.train()
    first = evaluate_masked_lm(model, data, batch_tokens=64)
    second = evaluate_masked_lm(model, data, batch_tokens=64)
    assert not model.training
    assert (first.accuracy, first.loss, first.accuracy_standard_error) == (
        second.accuracy,
        second.loss,
        second.accuracy_standard_error,
    )
    np.testing.assert_array_equal(first.is_correct, second.is_correct)


def by_block(score):
    """Blocks and hits in the order of the blocks; within a block they stand in the order of its tokens."""
    order = np.argsort(score.block_of, kind="stable")
    return score.block_of[order], score.is_correct[order]


@pytest.mark.parametrize("batch_tokens", [1, 40, 100_000])
def test_evaluation_does_not_depend_on_the_size_of_its_batches(model, data, batch_tokens):
    reference = evaluate_masked_lm(model, data, batch_tokens=64)
    score = evaluate_masked_lm(model, data, batch_tokens=batch_tokens)
    assert score.accuracy == reference.accuracy
    assert score.loss == pytest.approx(reference.loss, rel=1e-5)
    assert score.accuracy_standard_error == pytest.approx(reference.accuracy_standard_error)
    for left, right in zip(by_block(score), by_block(reference), strict=True):
        np.testing.assert_array_equal(left, right)


def test_evaluation_scores_every_block_once(model, data, tiny_blocks):
    score = evaluate_masked_lm(model, data, batch_tokens=64)
    predicted = [max(1, round(0.3 * (length - 2))) for length in tiny_blocks.lengths.tolist()]
    np.testing.assert_array_equal(np.bincount(score.block_of), predicted)
    assert score.num_predicted == sum(predicted)
    assert score.accuracy == pytest.approx(score.is_correct.mean())


def test_evaluation_of_a_model_that_knows_one_token_counts_its_positions(model, data, tiny_blocks):
    token = int(tiny_blocks[0][1])
    with torch.no_grad():
        model.cls.predictions.bias.fill_(0.0)
        model.cls.predictions.bias[token] = 1e4
    score = evaluate_masked_lm(model, data, batch_tokens=64)
    labels = data.batch(range(len(tiny_blocks)), epoch=2**31 - 1)["labels"]
    truth = labels[labels != IGNORED] == token
    np.testing.assert_array_equal(by_block(score)[1], truth.numpy())
    assert score.accuracy == pytest.approx(truth.float().mean().item())
    assert score.accuracy > 0

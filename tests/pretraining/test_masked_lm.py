from functools import partial

import numpy as np
import pytest
import torch

from batch_reading import labels_of, mask_of
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.pretraining.masked_blocks import MaskedBlocks
from bort_kedro.pretraining.masked_lm import (
    batch_logits,
    divergence_from,
    evaluate_masked_lm,
    masked_lm_objective,
    student_logits,
)
from bort_kedro.pretraining.pretrain import EVALUATION_BATCH_TOKENS, evaluation_blocks, new_encoder, score
from toy_pretraining import SHAPE, made_up_tokens, settings


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


def test_masked_lm_objective_equals_the_loss_that_transformers_computes(model, batch):
    parts = masked_lm_objective(model, batch)
    with torch.no_grad():
        output = model(input_ids=batch["input_ids"], attention_mask=mask_of(batch), labels=labels_of(batch))
    assert parts["loss"].item() == pytest.approx(output.loss.item(), rel=1e-5)
    hits = output.logits.argmax(-1).flatten()[batch["predicted"]] == batch["targets"]
    assert parts["masked_accuracy"].item() == pytest.approx(hits.float().mean().item())


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
    truth = data.batch(range(len(tiny_blocks)), epoch=2**31 - 1)["targets"] == token
    np.testing.assert_array_equal(by_block(score)[1], truth.numpy())
    assert score.accuracy == pytest.approx(truth.float().mean().item())
    assert score.accuracy > 0


def test_divergence_of_the_reference_itself_is_its_entropy_and_of_another_model_more(model, data, tiny_blocks):
    other = build_masked_lm(model.config, seed=6)
    own, others = (
        evaluate_masked_lm(
            scored, data, batch_tokens=64, others={"divergence": divergence_from(partial(student_logits, model))}
        ).others
        for scored in (model, other)
    )
    with torch.no_grad():
        logits = batch_logits(model, data.batch(range(len(tiny_blocks)), epoch=2**31 - 1))
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    assert own["divergence"] == pytest.approx(entropy.mean().item(), rel=1e-5)
    assert others["divergence"] > own["divergence"]
    assert set(own) == {"divergence", "divergence_standard_error"}


def test_noise_of_a_divergence_is_that_of_means_over_blocks(model, data):
    score = evaluate_masked_lm(model, data, batch_tokens=64, others={"block": lambda _, batch: batch["targets"] * 0.0})
    assert score.others == {"block": 0.0, "block_standard_error": 0.0}

    def again(logits, batch):
        return torch.nn.functional.cross_entropy(logits, batch["targets"], reduction="none")

    score = evaluate_masked_lm(model, data, batch_tokens=64, others={"again": again})
    assert score.others == {"again": score.loss, "again_standard_error": score.loss_standard_error}


def test_a_score_is_taken_in_the_precision_of_the_training():
    tokens = made_up_tokens()
    trained = new_encoder(SHAPE, tokens, max_positions=16, settings=settings())
    full, half = (score(trained, tokens, split="train", num_threads=1, precision=name).loss for name in ("no", "bf16"))
    blocks = evaluation_blocks(tokens, "train")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = evaluate_masked_lm(trained, blocks, batch_tokens=EVALUATION_BATCH_TOKENS).loss
    assert half == expected != full
    assert half == pytest.approx(full, rel=0.02)

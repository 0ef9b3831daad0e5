"""Tokens that the first of their row has to tell from their positions."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from batch_reading import mask_of
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.last_layer import can_spare_last_layer
from bort_kedro.pretraining import chunked_head
from bort_kedro.pretraining.masked_blocks import MaskedBlocks
from bort_kedro.pretraining.masked_lm import masked_lm_objective
from bort_kedro.text.batching import query_slots
from bort_kedro.text.tokens import TokenBlocks
from bort_kedro.training.steps import ModelWithLoss

ROWS = [0, 3, 7, 11]


@pytest.fixture(params=["sdpa", "eager"])
def model(request, tiny_shape, tiny_vocabulary):
    """With a last layer that is run at the asked positions alone, and with one that is run everywhere."""
    config = bert_config(tiny_shape, vocabulary_size=tiny_vocabulary.size, max_positions=16)
    config._attn_implementation = request.param
    model = build_masked_lm(config, seed=5).eval()
    assert can_spare_last_layer(model) == (request.param == "sdpa")
    return model


@pytest.fixture
def without(tiny_blocks, tiny_vocabulary):
    return MaskedBlocks(tiny_blocks, tiny_vocabulary, seed=1, masked_share=0.3)


@pytest.fixture
def data(without):
    return dataclasses.replace(without, num_reconstructed=2)


def test_tokens_are_the_same_hidden_ones_and_beside_them_so_many_of_each_row_that_are_seen(data, without, tiny_blocks):
    batch, plain = data.batch(ROWS, epoch=3), without.batch(ROWS, epoch=3)
    for name in ("input_ids", "predicted", "targets"):
        assert torch.equal(batch[name], plain[name])
    places = batch["reconstructed"].numpy()
    rows, columns = np.divmod(places, batch["input_ids"].shape[1])
    assert np.bincount(rows).tolist() == [2, 2, 2, 2]
    assert len(set(places.tolist())) == len(places)
    assert not set(places.tolist()) & set(batch["predicted"].tolist())
    true_ids = [int(tiny_blocks[ROWS[row]][column]) for row, column in zip(rows, columns, strict=True)]
    assert batch["reconstructed_targets"].tolist() == true_ids
    # Neither the token that a block begins with nor the one that ends it.
    assert all(0 < column < tiny_blocks.lengths[ROWS[row]] - 1 for row, column in zip(rows, columns, strict=True))
    assert batch["weight"] == len(batch["predicted"]) + 8


def test_tokens_of_a_block_depend_on_its_number_and_the_epoch_alone(data):
    def of_last(rows, epoch):
        batch = data.batch(rows, epoch=epoch)
        places, length = batch["reconstructed"], batch["input_ids"].shape[1]
        return (places[places // length == len(rows) - 1] % length).tolist()

    assert of_last([7], 2) == of_last([3, 0, 7], 2)
    assert any(of_last([7], 2) != of_last([7], epoch) for epoch in range(3, 9))


def test_a_block_with_fewer_tokens_has_them_all_reconstructed(data, tiny_blocks):
    every = dataclasses.replace(data, num_reconstructed=100).batch([7], epoch=0)
    assert sorted(every["reconstructed"].tolist()) == list(range(1, int(tiny_blocks.lengths[7]) - 1))


def test_slots_of_positions_in_any_order_are_those_of_their_rows():
    # Two rows of five tokens: 1 and 3 of the first, 2 of the second, then the first of both.
    slots, positions = query_slots(np.array([1, 3, 7, 0, 5]), 2, 5)
    assert slots.tolist() == [0, 1, 3, 2, 4]
    assert positions.tolist() == [1, 3, 0, 7, 5, 5]


def expected_loss(model, batch):
    """Of the whole encoder and the whole head, position by position."""
    hidden = model.bert(input_ids=batch["input_ids"], attention_mask=mask_of(batch)).last_hidden_state
    length = hidden.shape[1]
    losses = [
        cross_entropy(model.cls(hidden[place // length, place % length]), target)
        for place, target in zip(batch["predicted"].tolist(), batch["targets"], strict=True)
    ]
    table = model.bert.embeddings.position_embeddings.weight
    losses += [
        cross_entropy(model.cls(hidden[place // length, 0] + table[place % length]), target)
        for place, target in zip(batch["reconstructed"].tolist(), batch["reconstructed_targets"], strict=True)
    ]
    return torch.stack(losses).mean().item()


# Of the logits of a step: all at once, and those of a position alone.
@pytest.mark.parametrize("logits_bytes", [2**29, 2**10])
def test_the_loss_is_the_mean_over_hidden_tokens_and_those_told_from_the_first_one(
    model, data, logits_bytes, monkeypatch
):
    monkeypatch.setattr(chunked_head, "LOGITS_BYTES", logits_bytes)
    batch = data.batch(ROWS, epoch=0)
    found = masked_lm_objective(model, batch)
    assert found["loss"].item() == pytest.approx(expected_loss(model, batch), rel=1e-5)
    found["reconstruction_loss"].backward()
    assert model.bert.embeddings.position_embeddings.weight.grad.abs().sum() > 0


def test_what_is_said_of_hidden_tokens_is_what_is_said_of_them_alone(model, data, without):
    found, plain = (masked_lm_objective(model, of.batch(ROWS, epoch=0)) for of in (data, without))
    assert found["masked_accuracy"] == plain["masked_accuracy"]
    count, more = len(without.batch(ROWS, epoch=0)["predicted"]), 8
    expected = (count * plain["loss"] + more * found["reconstruction_loss"]) / (count + more)
    assert found["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_parts_of_a_step_weigh_as_many_tokens_as_they_tell(model, data):
    whole = data.training_batches(batch_tokens=64)(0)
    parts = [data.training_batches(batch_tokens=64)(0, part, 3) for part in range(3)]
    assert sum(part["weight"] for part in parts) == whole["weight"]
    losses = [masked_lm_objective(model, part)["loss"] * part["weight"] for part in parts]
    together = sum(losses) / whole["weight"]
    assert together.item() == pytest.approx(masked_lm_objective(model, whole)["loss"].item(), rel=1e-5)


def test_a_step_asks_a_device_for_no_value_and_is_one_graph(data, tiny_shape, tiny_vocabulary):
    model = build_masked_lm(bert_config(tiny_shape, vocabulary_size=tiny_vocabulary.size, max_positions=16), seed=5)
    batch = data.batch(ROWS, epoch=0)
    step = torch.compile(ModelWithLoss(model.eval(), masked_lm_objective), backend="eager", fullgraph=True)
    assert step(batch)["loss"].item() == pytest.approx(masked_lm_objective(model, batch)["loss"].item(), rel=1e-6)
    model.to("meta").train()
    masked_lm_objective(model, {name: value.to("meta") for name, value in batch.items()})["loss"].backward()
    assert model.bert.embeddings.position_embeddings.weight.grad.is_meta


def test_of_joined_documents_those_of_the_first_are_told(tiny_vocabulary, tiny_shape):
    rows = [[0, 50, 60, 70, 2, 0, 80, 90, 100, 110, 2], [0, 120, 130, 2, 0, 140, 150, 160, 2]]
    blocks = dataclasses.replace(TokenBlocks.from_blocks(rows, vocabulary_size=300), joined=True)
    starts = dataclasses.replace(tiny_vocabulary, start_id=0)
    data = MaskedBlocks(blocks, starts, seed=1, masked_share=0.3, num_reconstructed=5)
    batch = data.batch(range(len(blocks)), epoch=0)
    places, documents = batch["reconstructed"], batch["document_ids"].flatten()
    assert documents.max() > 1
    assert len(places) > 0
    assert set(documents[places].tolist()) == {1}
    model = build_masked_lm(bert_config(tiny_shape, vocabulary_size=tiny_vocabulary.size, max_positions=16), seed=5)
    found = masked_lm_objective(model.eval(), {**batch, "reconstructed": places[:0]})
    assert found["reconstruction_loss"] == 0
    count = len(batch["predicted"])
    plain = masked_lm_objective(model, MaskedBlocks(blocks, starts, 1, 0.3).batch(range(len(blocks)), epoch=0))
    assert found["loss"].item() == pytest.approx(plain["loss"].item(), rel=1e-6)
    assert batch["weight"] == count + len(places)

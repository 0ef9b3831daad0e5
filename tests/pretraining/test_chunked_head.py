import pytest
import torch
from torch import nn

from bort_kedro.pretraining import chunked_head
from bort_kedro.pretraining.chunked_head import _loss_and_gradients, chunked_masked_lm_loss, is_chunked, rows_at_once
from bort_kedro.pretraining.losses import masked_accuracy, masked_lm_loss
from bort_kedro.pretraining.masked_blocks import MaskedBlocks
from bort_kedro.pretraining.masked_lm import masked_lm_objective
from bort_kedro.pretraining.pretrain import new_encoder
from toy_pretraining import SHAPE, made_up_tokens, settings

NUM_PREDICTED, WIDTH, SIZE = 23, 8, 50


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return nn.Linear(WIDTH, SIZE)


@pytest.fixture
def states():
    return torch.randn(NUM_PREDICTED, WIDTH, generator=torch.Generator().manual_seed(1), requires_grad=True)


@pytest.fixture
def targets():
    return torch.randint(SIZE, (NUM_PREDICTED,), generator=torch.Generator().manual_seed(2))


def in_chunks_of(monkeypatch, rows, vocabulary_size=SIZE):
    monkeypatch.setattr(chunked_head, "LOGITS_BYTES", 4 * vocabulary_size * rows)


def gradients(loss, *tables):
    return torch.autograd.grad(3.0 * loss, tables)


@pytest.mark.parametrize("rows", [1, 5, NUM_PREDICTED, 100])
def test_chunks_give_the_loss_the_accuracy_and_the_gradients_of_the_whole(monkeypatch, decoder, states, targets, rows):
    in_chunks_of(monkeypatch, rows)
    loss, accuracy = chunked_masked_lm_loss(states, decoder, targets)
    logits = decoder(states)
    whole = masked_lm_loss(logits, targets)
    assert loss.item() == pytest.approx(whole.item(), rel=1e-6)
    assert accuracy.item() == pytest.approx(masked_accuracy(logits, targets).item())
    tables = (states, decoder.weight, decoder.bias)
    for found, expected in zip(gradients(loss, *tables), gradients(whole, *tables), strict=True):
        assert float((found - expected).norm() / expected.norm()) < 1e-6


@pytest.mark.parametrize("num_padded", [0, 14])
def test_tokens_that_fill_a_tile_change_no_loss_and_no_gradient(decoder, states, targets, num_padded):
    inputs = (states, decoder.weight, decoder.bias, targets, torch.float32, 5, num_padded)
    for found, expected in zip(_loss_and_gradients(*inputs), _loss_and_gradients(*inputs[:-1], 0), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
        assert found.isfinite().all()


def test_the_operator_keeps_what_torch_asks_of_one(decoder, states, targets):
    inputs = (states, decoder.weight, decoder.bias, targets, torch.float32, 5, 14)
    torch.library.opcheck(_loss_and_gradients, inputs, test_utils=("test_schema", "test_faketensor"))


def test_in_bf16_losses_and_gradients_are_near_those_of_float32(monkeypatch, decoder, states, targets):
    in_chunks_of(monkeypatch, 5)
    exact, _ = chunked_masked_lm_loss(states, decoder, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = chunked_masked_lm_loss(states, decoder, targets)
        whole = masked_lm_loss(decoder(states), targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(whole.item(), rel=1e-6)
    assert loss.item() != exact.item()
    (found,), (expected,) = gradients(loss, decoder.weight), gradients(exact, decoder.weight)
    assert found.dtype == torch.float32
    assert float((found - expected).norm() / expected.norm()) < 0.02


def test_a_table_of_logits_is_made_whole_where_it_is_small_and_the_device_a_cpu():
    assert rows_at_once(50_265) == 2670
    assert rows_at_once(2**40) == 1
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    asked = [(cpu, 2670), (cpu, 2671), (cuda, 1)]
    assert [is_chunked(device, count, 50_265) for device, count in asked] == [False, True, True]


@pytest.mark.parametrize("joined", [False, True])
def test_a_step_in_chunks_has_the_gradients_of_a_whole_one(monkeypatch, joined):
    tokens = made_up_tokens()
    model = new_encoder(SHAPE, tokens, max_positions=16, settings=settings()).eval()
    batch = MaskedBlocks(tokens.splits["train"], tokens.vocabulary, 0, 0.3).batch(range(9), epoch=0)
    if joined:
        batch["document_ids"] = batch.pop("attention_mask")
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    parts = [masked_lm_objective(model, batch)]
    in_chunks_of(monkeypatch, 4)
    assert is_chunked(torch.device("cpu"), len(batch["targets"]), 50)
    parts.append(masked_lm_objective(model, batch))
    for name in ("loss", "masked_accuracy"):
        assert parts[1][name].item() == pytest.approx(parts[0][name].item(), rel=1e-6)
    for left, right in zip(*(gradients(part["loss"], *weights) for part in parts), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)

import pytest
import torch
from torch import nn

from bort_kedro.pretraining import chunked_head
from bort_kedro.pretraining.chunked_head import (
    Taught,
    _loss_and_gradients,
    chunked_head_loss,
    is_chunked,
    rows_at_once,
)
from bort_kedro.pretraining.losses import distillation_loss, masked_accuracy, masked_lm_loss
from bort_kedro.pretraining.masked_blocks import MaskedBlocks
from bort_kedro.pretraining.masked_lm import masked_lm_objective
from bort_kedro.pretraining.pretrain import new_encoder
from bort_kedro.pretraining.teacher_targets import TeacherTargets, bucketed_divergence, top_targets
from bort_kedro.text.vocabulary_map import VocabularyMap
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


def said_by_teacher():
    """Of 57 ids, and a map that keeps 50 of them; the last takes what falls on the others."""
    generator = torch.Generator().manual_seed(4)
    larger = nn.Linear(11, 57)
    with torch.no_grad():
        for table in larger.parameters():
            table.copy_(torch.randn(table.shape, generator=generator))
    return torch.randn(NUM_PREDICTED, 11, generator=generator), larger


def live(temperature, ids):
    return Taught.live(*said_by_teacher(), ids, temperature=temperature, weight=0.5)


def cached(temperature):
    states, larger = said_by_teacher()
    kept = top_targets(larger(states)[:, :SIZE], temperature=temperature, top_k=6)
    return Taught(tuple(vars(kept).values()), temperature, 0.5)


KEPT = VocabularyMap(torch.arange(57)[torch.arange(57) % 8 != 3][:SIZE], 57, SIZE - 1)
SAME = VocabularyMap(torch.arange(SIZE), SIZE, None)
TAUGHT = {
    "nobody": lambda temperature: Taught((), temperature, 0.0),
    "a teacher of more rows than ids": lambda temperature: live(temperature, SAME),
    "a teacher of other ids": lambda temperature: live(temperature, KEPT),
    "a cache": cached,
}


def whole_divergence(logits, taught):
    if len(taught.parts) == 3:
        return bucketed_divergence(logits, TeacherTargets(*taught.parts), temperature=taught.temperature)
    states, larger = said_by_teacher()
    said = (SAME if taught.rest_id is None else KEPT).to_student_logits(larger(states))
    return distillation_loss(logits, said, temperature=taught.temperature)


def inputs(decoder, states, targets, of, *, num_padded):
    """Of the operator."""
    taught = TAUGHT[of](2.0)
    of_teacher = [list(taught.parts), taught.temperature, taught.weight, taught.rest_id]
    return states, decoder.weight, decoder.bias, targets, torch.float32, 5, num_padded, 0.1, *of_teacher


def gradients(loss, *tables):
    return torch.autograd.grad(3.0 * loss, tables)


@pytest.mark.parametrize("rows", [1, 5, NUM_PREDICTED, 100])
def test_chunks_give_the_loss_the_accuracy_and_the_gradients_of_the_whole(monkeypatch, decoder, states, targets, rows):
    in_chunks_of(monkeypatch, rows)
    loss, _, _, accuracy = chunked_head_loss(states, decoder, targets)
    logits = decoder(states)
    whole = masked_lm_loss(logits, targets)
    assert loss.item() == pytest.approx(whole.item(), rel=1e-6)
    assert accuracy.item() == pytest.approx(masked_accuracy(logits, targets).item())
    tables = (states, decoder.weight, decoder.bias)
    for found, expected in zip(gradients(loss, *tables), gradients(whole, *tables), strict=True):
        assert float((found - expected).norm() / expected.norm()) < 1e-6


@pytest.mark.parametrize("of", TAUGHT)
@pytest.mark.parametrize("num_padded", [0, 14])
def test_tokens_that_fill_a_tile_change_no_loss_and_no_gradient(decoder, states, targets, num_padded, of):
    both = (_loss_and_gradients(*inputs(decoder, states, targets, of, num_padded=padded)) for padded in (num_padded, 0))
    for found, expected in zip(*both, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
        assert found.isfinite().all()


@pytest.mark.parametrize("of", TAUGHT)
def test_the_operator_keeps_what_torch_asks_of_one(decoder, states, targets, of):
    asked = inputs(decoder, states, targets, of, num_padded=14)
    torch.library.opcheck(_loss_and_gradients, asked, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("rows", [1, 5, 100])
@pytest.mark.parametrize("of", [of for of in TAUGHT if of != "nobody"])
def test_under_a_teacher_chunks_give_the_losses_and_the_gradients_of_the_whole(
    monkeypatch, decoder, states, targets, of, rows, temperature
):
    in_chunks_of(monkeypatch, rows)
    taught = TAUGHT[of](temperature)
    found = chunked_head_loss(states, decoder, targets, masked_lm_weight=0.1, taught=taught)
    logits = decoder(states)
    divergence = whole_divergence(logits, taught)
    masked_lm = masked_lm_loss(logits, targets)
    whole = 0.1 * masked_lm + 0.5 * divergence
    expected = (whole, masked_lm, divergence, masked_accuracy(logits, targets))
    assert [value.item() for value in found] == pytest.approx([value.item() for value in expected], rel=1e-5)
    tables = (states, decoder.weight, decoder.bias)
    for left, right in zip(gradients(found.loss, *tables), gradients(whole, *tables), strict=True):
        assert float((left - right).norm() / right.norm()) < 1e-6


def test_in_bf16_losses_and_gradients_are_near_those_of_float32(monkeypatch, decoder, states, targets):
    in_chunks_of(monkeypatch, 5)
    exact, *_ = chunked_head_loss(states, decoder, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, *_ = chunked_head_loss(states, decoder, targets)
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

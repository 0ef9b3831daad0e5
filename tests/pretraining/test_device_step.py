"""What a step of masked-LM training asks of a device, seen without one: the meta device has shapes and no values."""

import numpy as np
import pytest
import torch

from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.families import predicted_logits
from bort_kedro.encoders.layer_reading import read_layers
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.pretraining import chunked_head
from bort_kedro.pretraining.distillation import Distillation
from bort_kedro.pretraining.masked_blocks import MaskedBlocks
from bort_kedro.pretraining.masked_lm import masked_lm_objective
from bort_kedro.text.vocabulary_map import VocabularyMap
from bort_kedro.training.steps import ModelWithLoss
from toy_pretraining import mixture


@pytest.fixture
def new_model(tiny_shape, tiny_vocabulary):
    def build(attention="sdpa"):
        config = bert_config(tiny_shape, vocabulary_size=tiny_vocabulary.size, max_positions=16)
        config._attn_implementation = attention
        return build_masked_lm(config, seed=5)

    return build


@pytest.fixture
def batches(tiny_blocks, tiny_vocabulary):
    """One with padding, and one without."""
    data = MaskedBlocks(tiny_blocks, tiny_vocabulary, seed=1, masked_share=0.3)
    alike = np.flatnonzero(tiny_blocks.lengths == tiny_blocks.lengths.max())
    padded, whole = data.batch([0, 3, 7, 11], epoch=0), data.batch(alike, epoch=0)
    assert ("attention_mask" in padded, "attention_mask" in whole) == (True, False)
    return {"padded": padded, "whole": whole}


# Of the logits of a step: all at once, and those of a position alone.
WHOLE, IN_CHUNKS = 2**29, 2**10


@pytest.mark.parametrize("logits_bytes", [WHOLE, IN_CHUNKS])
@pytest.mark.parametrize("kind", ["padded", "whole"])
def test_forward_and_backward_never_wait_for_a_value(new_model, batches, kind, logits_bytes, monkeypatch):
    """Where a value decides what to do next, as in `mask.all()`, a device is waited for; meta raises."""
    monkeypatch.setattr(chunked_head, "LOGITS_BYTES", logits_bytes)
    model = new_model().to("meta").train()
    batch = {name: value.to("meta") for name, value in batches[kind].items()}
    masked_lm_objective(model, batch)["loss"].backward()
    assert model.bert.embeddings.word_embeddings.weight.grad.is_meta


def test_a_wait_for_a_value_is_told_by_the_meta_device(new_model, batches):
    model = new_model().to("meta")
    batch = {name: value.to("meta") for name, value in batches["padded"].items()}
    with pytest.raises(RuntimeError, match="meta"):
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])


@pytest.mark.parametrize(("kinds", "logits_bytes"), [(["padded", "whole"], WHOLE), (["padded"], IN_CHUNKS)])
def test_torch_compile_takes_a_step_as_one_graph(new_model, batches, kinds, logits_bytes, monkeypatch):
    monkeypatch.setattr(chunked_head, "LOGITS_BYTES", logits_bytes)
    model = new_model().eval()
    step = torch.compile(ModelWithLoss(model, masked_lm_objective), backend="eager", fullgraph=True)
    for batch in (batches[kind] for kind in kinds):
        assert step(batch)["loss"].item() == pytest.approx(masked_lm_objective(model, batch)["loss"].item(), rel=1e-6)


@pytest.mark.parametrize("logits_bytes", [WHOLE, IN_CHUNKS])
def test_torch_compile_takes_a_step_under_a_teacher_as_one_graph(
    new_model, batches, tiny_vocabulary, logits_bytes, monkeypatch
):
    monkeypatch.setattr(chunked_head, "LOGITS_BYTES", logits_bytes)
    every = VocabularyMap(torch.arange(tiny_vocabulary.size), tiny_vocabulary.size, None)
    kinds = mixture(num_heads=2, logits=0.5, relations=1.0, hidden_states=1.0)
    distillation, student = Distillation(Pretrained(new_model(), None), every, kinds), new_model().train()
    with distillation.readied(student):
        step = torch.compile(ModelWithLoss(student, distillation.loss), backend="eager", fullgraph=True)
        assert step(batches["padded"])["loss"].requires_grad


@pytest.mark.parametrize("kind", ["padded", "whole"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_own_masks_change_nothing_of_what_transformers_makes_of_a_batch(new_model, batches, kind, attention):
    model, batch = new_model(attention).eval(), batches[kind]
    ids, predicted = batch["input_ids"], batch["predicted"]
    mask = batch.get("attention_mask", torch.ones_like(ids))
    with torch.no_grad():
        of_transformers = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        told, silent = (predicted_logits(model, ids, given, predicted) for given in (mask, batch.get("attention_mask")))
        _, states = read_layers(model, ids, batch.get("attention_mask"), attended_in=None, states_of=[0, 1])
    torch.testing.assert_close(told, of_transformers.logits.flatten(0, 1)[predicted], rtol=1e-5, atol=1e-6)
    assert torch.equal(told, silent)
    is_token = mask.bool()
    for number, state in states.items():
        torch.testing.assert_close(state[is_token], of_transformers.hidden_states[number + 1][is_token])

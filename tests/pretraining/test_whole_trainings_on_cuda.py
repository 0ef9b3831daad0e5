"""Whole trainings on a pretended CUDA device: nothing is mixed, waited for or copied that need not be."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from benchmarks.pretrain.cuda.memory import KeptState, KeptTargets
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.pretraining.chunked_head import _loss_and_gradients
from bort_kedro.pretraining.distillation import Distillation, TeacherCache
from bort_kedro.pretraining.pretrain import new_encoder, pretrain, score
from bort_kedro.text.tokens import Tokens
from bort_kedro.text.vocabulary_map import VocabularyMap
from cuda_on_cpu import pretended_cuda
from toy_pretraining import PUBLISHED, SHAPE, made_up_tokens, mixture, settings

NUM_STEPS = 4
MADE_UP = made_up_tokens()
TOKENS = Tokens(MADE_UP.vocabulary, {**MADE_UP.splits, "validation": MADE_UP.splits["train"]}, "made up")
EVERYTHING = mixture(num_heads=2, masked_lm=0.1, logits=0.5, relations=1.0, hidden_states=1.0)
# The teacher has the student's ids in another order.
OTHER_IDS = VocabularyMap(torch.arange(49, -1, -1), 50, None)


class Kept:
    """The state of one training."""

    def __init__(self):
        self.store = KeptState()

    def of(self, name, identity):
        return self.store


def trained(tokenizer=None, *, kinds=None, is_cached=False, ids=OTHER_IDS, stops=(NUM_STEPS,), told=0, **optimization):
    """Losses and final weights on the CPU."""
    how = settings(dropout=0.0, num_steps=NUM_STEPS, **optimization).changed(
        validate_every_steps=NUM_STEPS, num_reconstructed=told
    )
    states = Kept()
    for stop in stops:
        model = new_encoder(SHAPE, TOKENS, max_positions=16, settings=how)
        distillation = None
        if kinds is not None:
            teacher = new_encoder(SHAPE, TOKENS, max_positions=16, settings=settings()).requires_grad_(False)
            cache = TeacherCache(top_k=6, num_epochs=1, store=KeptTargets()) if is_cached else None
            distillation = Distillation(Pretrained(teacher, tokenizer), ids, kinds, cache)
        found = pretrain(
            model,
            TOKENS,
            how,
            states=states,
            name="toy",
            distillation=distillation,
            stop_at=stop,
            measures_speed=True,
        )
    return [row["loss"] for row in found.history], {
        name: weight.detach().cpu() for name, weight in model.named_parameters()
    }


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"told": 4},
        {"optimizer": "sgd", "max_weight": 1.0},
        {"gradient_accumulation_steps": 2, "bias_correction": False},
        {"stops": (2, NUM_STEPS)},
        {"kinds": PUBLISHED},
        {"kinds": EVERYTHING, "gradient_accumulation_steps": 2},
        {"kinds": PUBLISHED, "is_cached": True},
    ],
    ids=str,
)
def test_a_training_on_cuda_ends_where_one_on_the_cpu_does(tiny_tokenizer, how):
    losses, weights = trained(tiny_tokenizer, **how)
    with pretended_cuda():
        on_cuda, weights_on_cuda = trained(tiny_tokenizer, **how)
    assert on_cuda == pytest.approx(losses, rel=1e-5)
    for name, weight in weights.items():
        torch.testing.assert_close(weights_on_cuda[name], weight, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("how", [{"mixed_precision": "bf16"}, {"mixed_precision": "fp16", "stops": (2, NUM_STEPS)}])
def test_half_precision_goes_the_same_way(how):
    losses, _ = trained()
    with pretended_cuda():
        on_cuda, _ = trained(**how)
    assert on_cuda == pytest.approx(losses, rel=1e-2)
    assert on_cuda != losses


WHERE_STATES_AND_ENDS_ARE = {"state._whole", "state.capture", "loop._num_tokens", "validation.look"}


@pytest.mark.parametrize(
    ("how", "beside"),
    [
        ({}, {}),
        ({"told": 4}, {}),
        ({"mixed_precision": "bf16", "gradient_accumulation_steps": 2}, {}),
        # Its scaler says only by the optimiser's count whether a step was skipped.
        ({"mixed_precision": "fp16"}, {"optimizer.<genexpr>": NUM_STEPS}),
        ({"kinds": PUBLISHED}, {"vocabulary_map.__post_init__": 2}),
        # One read for each batch of the teacher, of ids, of probabilities and of what is left.
        (
            {"kinds": PUBLISHED, "is_cached": True},
            {"vocabulary_map.__post_init__": 2, "teacher_targets.pack_targets": 3},
        ),
    ],
    ids=str,
)
def test_a_device_is_waited_for_where_something_is_told_and_nowhere_else(tiny_tokenizer, how, beside):
    with pretended_cuda() as device:
        trained(tiny_tokenizer, **how)
    waits = {place: number for place, number in device.waits.items() if place not in WHERE_STATES_AND_ENDS_ARE}
    # Each of these few steps is logged.
    assert waits.pop("steps.settle") == NUM_STEPS
    assert {place: number for place, number in waits.items() if not place.startswith("validation.")} == beside


def test_what_a_step_needs_is_copied_from_pinned_memory_and_a_teacher_moves_once(tiny_tokenizer):
    with pretended_cuda() as device:
        trained(tiny_tokenizer, kinds=PUBLISHED)
    weights = len(list(new_encoder(SHAPE, TOKENS, max_positions=16, settings=settings()).named_parameters()))
    buffers = 2
    places = Counter(device.waited_copies)
    assert places.pop("steps.__init__") == places.pop("distillation._moved_to") == weights + buffers
    assert places.pop("vocabulary_map.to") == 1
    assert {place.split(".")[0] for place in places} <= {"validation"}


def test_scores_of_a_model_on_cuda_are_those_on_the_cpu():
    model = new_encoder(SHAPE, TOKENS, max_positions=16, settings=settings())
    own = score(model, TOKENS, split="validation", num_threads=1)
    with pretended_cuda():
        found = score(model.to("cuda"), TOKENS, split="validation", num_threads=1)
    assert found.loss == pytest.approx(own.loss, rel=1e-6)
    assert found.is_correct.tolist() == own.is_correct.tolist()


@pytest.mark.parametrize("num_taught", [0, 5, 3], ids=["alone", "live", "cached"])
def test_the_heads_own_operator_stays_on_the_device(num_taught):
    """torch runs its body where the mode does not see it, so here it is called by itself."""
    with pretended_cuda() as device:
        states, weight, bias = (torch.randn(*shape, device="cuda") for shape in ((7, 4), (9, 4), (9,)))
        targets = torch.arange(7, device="cuda")
        live = [states, weight, bias, torch.arange(9, device="cuda"), targets[:0]]
        cached = [torch.arange(3, device="cuda").expand(7, 3), -torch.rand(7, 3, device="cuda"), -bias[:7].abs()]
        taught = {0: [], 5: live, 3: cached}[num_taught]
        found = _loss_and_gradients._init_fn(
            states, weight, bias, targets, torch.float32, 3, 55, 1.0, taught, 2.0, 0.5, None
        )
        assert all(map(device.has, found))
        assert not device.waits


def test_the_pretended_device_refuses_what_a_device_does():
    with pretended_cuda() as device:
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        assert (str(there.device), str(here.device), there.is_cuda) == ("cuda:0", "cpu", True)
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            there + here
        with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator"):
            torch.randn(3, device="cuda", generator=torch.Generator())
        with pytest.raises(TypeError, match="can't convert cuda:0"):
            there.numpy()
        with pytest.raises(RuntimeError, match="cannot pin"):
            there.pin_memory()
        assert not device.waits
        assert (there + here.to("cuda")).cpu().numpy().tolist() == np.full(3, 2.0).tolist()

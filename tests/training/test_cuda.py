"""What the loop does for CUDA, as far as it can be told without a device."""

from types import SimpleNamespace

import pytest
import torch

from bort_kedro.training.loop import _Run
from bort_kedro.training.steps import moved
from bort_kedro.training.threads import tensor_float32


@pytest.fixture
def pinned_shapes(monkeypatch):
    """Shapes of the tensors that were pinned, which needs a driver."""
    shapes = []

    def pin(tensor):
        shapes.append(tuple(tensor.shape))
        return tensor + 0

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    return shapes


@pytest.mark.parametrize(("device", "num_parts"), [("cpu", 1), ("cuda", 1), ("cuda", 2), ("mps", 1)])
def test_batches_for_cuda_alone_are_pinned_all_of_them_and_in_their_order(pinned_shapes, device, num_parts):
    def batch_at(step, part=0, num_parts=1):
        return {"input_ids": torch.full((2, step + 1), part), "weight": torch.tensor(1.0)}

    run = SimpleNamespace(
        accelerator=SimpleNamespace(device=torch.device(device), process_index=0, num_processes=1),
        steps=SimpleNamespace(num_parts=num_parts),
        batch_at=batch_at,
        tokens_here=0,
    )
    found = list(_Run._with_batches(run, range(3), None))
    assert [step for step, _ in found] == [0, 1, 2]
    for step, parts in found:
        assert [part["input_ids"].tolist() for part in parts] == [[[i] * (step + 1)] * 2 for i in range(num_parts)]
    every = [shape for step in range(3) for _ in range(num_parts) for shape in ((2, step + 1), ())]
    assert pinned_shapes == (every if device == "cuda" else [])
    assert run.tokens_here == num_parts * 2 * (1 + 2 + 3)


def test_copies_to_a_device_are_not_waited_for(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *where, **how: asked.append((where, how)) or tensor)
    moved({"input_ids": torch.ones(1), "weight": torch.ones(1)}, torch.device("cuda"))
    assert asked == [((torch.device("cuda"),), {"non_blocking": True})] * 2


def test_float32_is_tf32_within_a_training_on_cuda_and_nowhere_else():
    before = torch.get_float32_matmul_precision()
    with tensor_float32(torch.device("cpu")):
        assert torch.get_float32_matmul_precision() == before == "highest"
    with tensor_float32(torch.device("cuda")):
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cuda.matmul.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cuda.matmul.allow_tf32

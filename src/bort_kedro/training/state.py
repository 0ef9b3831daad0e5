"""Capture and restore the whole state of a training, so that a resumed run equals an uninterrupted one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bort_kedro.core.saved_state import SavedState, StateStore
from bort_kedro.errors import CheckpointError

__all__ = ["SavedState", "StateStore", "capture", "restore", "restore_weights", "weights_of"]


def capture(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copy weights, optimiser moments and generators into one flat mapping of tensors on the CPU.

    Tied weights appear once. BERT has no buffers that training changes.
    """
    tensors = weights_of(model)
    for index, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            tensors[f"optimizer.{index}.{name}"] = value.detach().cpu().clone()
    tensors["generator.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["generator.cuda"] = torch.cuda.get_rng_state()
    return tensors


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The weights alone, under ``model.``."""
    return {
        f"model.{name}": parameter.detach().cpu().clone().contiguous() for name, parameter in model.named_parameters()
    }


def restore_weights(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put saved weights back (modified in place).

    Raises:
        CheckpointError: If a weight is missing or has another shape.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            saved = tensors.get(f"model.{name}")
            if saved is None or saved.shape != parameter.shape:
                found = "missing" if saved is None else f"of shape {tuple(saved.shape)}"
                raise CheckpointError(
                    f"Saved training state: weight `{name}` is {found}, expected shape {tuple(parameter.shape)}. "
                    "The state belongs to another model; remove its folder to train anew."
                )
            parameter.copy_(saved)


def restore(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Undo `capture` (modified in place)."""
    restore_weights(model, tensors)
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["generator.cpu"])
    if "generator.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["generator.cuda"])

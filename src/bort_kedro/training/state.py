"""Capture and restore the whole state of a training, so that a resumed run equals an uninterrupted one."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from bort_kedro.errors import CheckpointError
from bort_kedro.training.saved_state import SavedState, StateStore

__all__ = ["SavedState", "StateStore", "capture", "restore", "restore_weights", "weights_of"]

_SCALER = ("scale", "_growth_tracker")


def capture(model: nn.Module, optimizer: torch.optim.Optimizer, accelerator: Accelerator) -> dict[str, Tensor]:
    """Copy weights, optimiser moments and generators into one flat mapping of tensors on the CPU.

    Tied weights appear once. Encoders have no buffers that training changes. Every process of a training calls it,
    since shards are put together here; what it returns is the same for all of them.
    """
    tensors = weights_of(model)
    for index, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            tensors[f"optimizer.{index}.{name}"] = _whole(value)
    for number, states in enumerate(gather_object([_generators()])):
        # The first process's under the plain names, whatever the number of the others.
        tensors |= {f"generator.{name}{f'.{number}' if number else ''}": value for name, value in states.items()}
    if accelerator.scaler is not None:
        tensors |= {
            f"scaler.{name}": torch.tensor(float(value), dtype=torch.float64)
            for name, value in accelerator.scaler.state_dict().items()
            if name in _SCALER
        }
    return tensors


def _generators() -> dict[str, Tensor]:
    """This process's generators."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The weights alone, whole and on the CPU, under ``model.``; every process of a training calls it."""
    return {f"model.{name}": _whole(parameter).contiguous() for name, parameter in model.named_parameters()}


def _whole(value: Tensor) -> Tensor:
    """A copy on the CPU; of a shard, the tensor it is part of."""
    value = value.detach()
    if isinstance(value, DTensor):
        value = value.full_tensor()
    return value.cpu().clone()


def _like(value: Tensor, reference: Tensor) -> Tensor:
    """A whole tensor laid out as another is, in shards or not."""
    if isinstance(reference, DTensor) and value.shape == reference.shape:
        return distribute_tensor(value.to(reference.device), reference.device_mesh, reference.placements)
    return value


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
            parameter.copy_(_like(saved, parameter))


def restore(
    model: nn.Module, optimizer: torch.optim.Optimizer, accelerator: Accelerator, tensors: dict[str, Tensor]
) -> None:
    """Undo `capture` (modified in place).

    A process that had no part in the training before it was interrupted keeps its own generators.
    """
    restore_weights(model, tensors)
    state: dict[int, dict[str, Tensor]] = {}
    references = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = _like(value, references[int(index)])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    number = accelerator.process_index
    suffix = f".{number}" if number else ""
    if (saved := tensors.get(f"generator.cpu{suffix}")) is not None:
        torch.set_rng_state(saved)
    if (saved := tensors.get(f"generator.cuda{suffix}")) is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(saved)
    _restore_scaler(accelerator.scaler, tensors)


def _restore_scaler(scaler: torch.amp.GradScaler, tensors: dict[str, Tensor]) -> None:
    """The loss scale of fp16, where both the state and this training have one."""
    if scaler is not None and "scaler.scale" in tensors:
        values = {name: tensors[f"scaler.{name}"].item() for name in _SCALER}
        values["_growth_tracker"] = int(values["_growth_tracker"])
        scaler.load_state_dict({**scaler.state_dict(), **values})

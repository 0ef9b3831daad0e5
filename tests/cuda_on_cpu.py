"""A CUDA device that is pretended on the CPU: its tensors have values, and what a device would refuse is refused.

Calls of torch go through a mode that knows which storages are said to lie on the device. It refuses to mix them with
those of the CPU, to hand them to numpy, and to fill them by generators of the CPU; it counts, by the project's function
that asked, how often a program waits for the device, and copies to it that are waited for since their memory is not
pinned. What kernels of CUDA do, and how fast, it does not know.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import torch
from accelerate.state import AcceleratorState
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_flatten, tree_map_only

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
PROJECT = Path(__file__).parents[1]
# Calls that cannot return before the device has finished.
READS = {
    *("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "nonzero", "unique", "masked_select"),
    *("equal", "allclose", "bincount"),
}
MOVES = {"to", "cuda", "cpu", "type_as"}
# A tensor of the CPU may index one of the device, take its place or be compared with it in its kind.
MAY_MIX = ("__get__", "__set__", "getitem__", "setitem__", "_shallow_copy_type")


class PretendedDevice(TorchFunctionMode):
    """The device, as calls of torch see it.

    Attributes:
        waits: How often it was waited for, by ``module.function``.
        waited_copies: How often a copy to it was, likewise.
    """

    def __init__(self):
        super().__init__()
        self.waits, self.waited_copies = Counter(), Counter()
        # A weak reference keeps the number of a storage from being given to another.
        self._on_device, self._pinned = {}, {}

    def has(self, tensor):
        return tensor.untyped_storage()._cdata in self._on_device

    def _put(self, tensor):
        storage = tensor.untyped_storage()
        self._on_device[storage._cdata] = StorageWeakRef(storage)

    def pin(self, tensor):
        """Called in any thread, and modes are of one."""
        if self.has(tensor):
            raise RuntimeError("cannot pin 'torch.cuda.FloatTensor', only dense CPU tensors can be pinned")
        copy = tensor.clone()
        storage = copy.untyped_storage()
        self._pinned[storage._cdata] = StorageWeakRef(storage)
        return copy

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), resolve_name(func) or getattr(func, "__name__", str(func))
        last = name.removesuffix(".__get__").split(".")[-1]
        tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
        here = [self.has(each) for each in tensors]
        if name.endswith("__get__") and last in {"device", "is_cuda"} and here[0]:
            return {"device": CUDA, "is_cuda": True}[last]
        if last in MOVES:
            return self._moved(func, last, args, kwargs)
        if last == "numpy" and here[0]:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        masks = [each for each in tree_flatten(args[1:])[0] if isinstance(each, torch.Tensor)]
        if any(here) and (last in READS or ("getitem" in last and any(each.dtype == torch.bool for each in masks))):
            self._count(self.waits)
        if last == "copy_":
            if here[0] != here[1]:
                self._count(self.waits if here[1] else self.waited_copies)
            return func(*args, **kwargs)
        asked = kwargs.get("device")
        is_on_device = any(here) if asked is None else torch.device(asked).type == "cuda"
        self._require_one_device(name, tensors, is_on_device, kwargs.get("generator"))
        if asked is not None and is_on_device:
            kwargs["device"] = CPU
        if last == "backward":
            with self:
                return _run_backward(args[0])
        given = func(*args, **kwargs)
        if is_on_device:
            tree_map_only(torch.Tensor, self._put, given)
        return given

    def _require_one_device(self, name, tensors, is_on_device, generator):
        of_cpu = [tuple(each.shape) for each in tensors if each.ndim and not self.has(each)]
        if of_cpu and len(of_cpu) < len(tensors) and any(map(self.has, tensors)) and not name.endswith(MAY_MIX):
            raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but of the CPU are {of_cpu}")
        if generator is not None and is_on_device:
            raise RuntimeError(f"{name}: Expected a 'cuda' device type for generator but found 'cpu'")

    def _moved(self, func, last, args, kwargs):
        tensor, *others = args
        places = [each for each in (*others, kwargs.get("device")) if isinstance(each, str | torch.device)]
        places += [CUDA if self.has(each) else CPU for each in others if isinstance(each, torch.Tensor)]
        device = torch.device({"cuda": CUDA, "cpu": CPU}.get(last) or (places[0] if places else "meta"))
        if device.type == "cuda":
            others = [CPU if isinstance(each, str | torch.device) else each for each in others]
            kwargs |= {"device": CPU} if "device" in kwargs else {}
        given = tensor if last in {"cuda", "cpu"} else func(tensor, *others, **kwargs)
        goes, comes = device == CPU and self.has(tensor), device.type == "cuda" and not self.has(tensor)
        if (goes or comes) and given.untyped_storage()._cdata == tensor.untyped_storage()._cdata:
            given = given.clone()
        if goes:
            self._count(self.waits)
        elif comes or self.has(tensor):
            self._put(given)
        if comes and not (kwargs.get("non_blocking") and tensor.untyped_storage()._cdata in self._pinned):
            self._count(self.waited_copies)
        return given

    def by_device(self, function):
        """The sorting of tensors by device that is not written in Python, for gradients and moments."""

        def sort(lists, *others):
            groups = function(lists, *others).items()
            return {(CUDA if self.has(found[0][0][0]) else CPU, dtype): found for (_, dtype), found in groups}

        return sort

    def _count(self, counter):
        frame = sys._getframe(2)
        while frame is not None:
            file = Path(frame.f_code.co_filename)
            if PROJECT / "src" in file.parents:
                counter[f"{file.stem}.{frame.f_code.co_name}"] += 1
                return
            frame = frame.f_back


def _run_backward(loss):
    """By no call of torch that the mode would catch again."""
    engine = torch.autograd.Variable._execution_engine
    engine.run_backward(
        (loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True
    )


class _Autocast(torch.autocast):
    def __init__(self, device_type, *arguments, **keywords):
        super().__init__("cpu" if device_type == "cuda" else device_type, *arguments, **keywords)


def _of_cpu(function):
    """A function of the kind of a device, asked about the CPU."""
    return lambda *kinds: function(*("cpu" if kind == "cuda" else kind for kind in kinds))


@contextmanager
def pretended_cuda(device_name="NVIDIA H200"):
    """A device within the block; yields the mode that watches it."""
    mode = PretendedDevice()
    generator = {"state": torch.zeros(16, dtype=torch.uint8)}
    of_cuda = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "is_bf16_supported": lambda including_emulation=True: True,
        "get_device_name": lambda *_: device_name,
        "get_device_properties": lambda *_: mock.Mock(total_memory=140 * 10**9),
        "get_rng_state": lambda *_: generator["state"].clone(),
        "set_rng_state": lambda state, *_: generator.update(state=state),
        "device": lambda *_: nullcontext(),
        # Each its own function, since torch.compile tells them apart.
        **{name: lambda *_: None for name in ("synchronize", "manual_seed_all", "reset_peak_memory_stats")},
        **{name: lambda *_: 0 for name in ("memory_allocated", "max_memory_allocated")},
    }
    autocast = {name: _of_cpu(getattr(torch, name)) for name in ("is_autocast_enabled", "get_autocast_dtype")}
    sort = "_group_tensors_by_device_and_dtype"
    replaced = [
        *((torch.cuda, name, what) for name, what in of_cuda.items()),
        *((torch, name, what) for name, what in autocast.items()),
        (torch, "autocast", _Autocast),
        (torch.amp, "is_autocast_available", _of_cpu(torch.amp.is_autocast_available)),
        (torch._C, sort, mode.by_device(getattr(torch._C, sort))),
        (torch.Tensor, "pin_memory", lambda tensor: mode.pin(tensor)),  # noqa: PLW0108 - a method is bound to no tensor
    ]
    with ExitStack() as stack:
        for place, name, what in replaced:
            stack.enter_context(mock.patch.object(place, name, what))
        AcceleratorState._reset_state(reset_partial_state=True)
        stack.callback(AcceleratorState._reset_state, reset_partial_state=True)
        with mode:
            yield mode

"""Memory of trainings: kept from step to step, and its shortage told as a failure."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bort_kedro.errors import FailedTrainingError

# torch has an error of its own for devices alone; on a CPU it is a RuntimeError with the name of the allocator.
CPU_ALLOCATOR = "DefaultCPUAllocator"
# Options of glibc's mallopt, and what they are at most where nobody sets them.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
GLIBC_DEFAULTS = {M_TRIM_THRESHOLD: 2**26, M_MMAP_THRESHOLD: 2**25, M_MMAP_MAX: 2**16}


@contextmanager
def memory_shortage_told(name: str, reason: str, advice: str) -> Iterator[None]:
    """Tell of a lack of memory within the block as `FailedTrainingError`, on whichever device it was.

    Args:
        name: Of the training.
        reason: What the memory is too small for.
        advice: What to change.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as fault:
        is_shortage = isinstance(fault, MemoryError | torch.OutOfMemoryError) or CPU_ALLOCATOR in str(fault)
        if not is_shortage:
            raise
        raise FailedTrainingError(name, reason, advice) from fault


@contextmanager
def freed_memory_kept(device: torch.device, precision: str) -> Iterator[None]:
    """Keep what a step on the CPU frees for the next one within the block, then give it back to the system.

    By default glibc returns every large tensor at once, and the system clears each of its pages anew: of Bort, whose
    steps in bf16 copy all weights and gradients, that is 1.1 GB a step and a sixth of its time. Kept memory is in
    pieces, so the peak grows; in fp32, where a tenth is to be gained, nothing is kept. Elsewhere than with glibc
    nothing changes.
    """
    libc = ctypes.CDLL(None)
    if device.type != "cpu" or precision == "no" or not hasattr(libc, "mallopt"):
        yield
        return
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        for option, value in GLIBC_DEFAULTS.items():
            libc.mallopt(option, value)
        libc.malloc_trim(0)

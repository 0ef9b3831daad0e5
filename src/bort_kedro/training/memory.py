"""Running out of memory, told as a failure of the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bort_kedro.errors import FailedTrainingError

# torch has an error of its own for devices alone; on a CPU it is a RuntimeError with the name of the allocator.
CPU_ALLOCATOR = "DefaultCPUAllocator"


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

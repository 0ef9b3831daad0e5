"""This process among those that a launcher (torchrun, accelerate launch) started for one run."""

from __future__ import annotations

import os


def is_launched() -> bool:
    """Whether a launcher started this process as one of several."""
    return num_processes() > 1


def num_processes() -> int:
    """Of the launcher, over all machines; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return not is_launched() or os.environ.get("RANK", "0") == "0"


def meet_on_cpu() -> None:
    """Tell accelerate that launched processes share CPUs where there is no CUDA device; it does not see that itself."""
    import torch

    if is_launched() and not torch.cuda.is_available():
        os.environ.setdefault("ACCELERATE_USE_CPU", "true")

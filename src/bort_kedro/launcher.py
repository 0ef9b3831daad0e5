"""This process among those that a launcher (torchrun, accelerate launch) started for one run."""

import contextlib
import os
import threading
import time
from functools import cache

# Between two looks at whether another process is there.
SECONDS_BETWEEN_LOOKS = 0.5


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


@cache
def end_with(pid: int) -> None:
    """From now on end this process soon after another of this machine is gone, whose death by SIGKILL tells nobody."""
    threading.Thread(target=_watch, args=(pid,), name=f"end-with-{pid}", daemon=True).start()


def _watch(pid: int) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        # One that was killed stays in the table as a zombie until its own parent asks for it.
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    # At once, wherever the work is: whatever it saves is whole or not there.
    os._exit(1)

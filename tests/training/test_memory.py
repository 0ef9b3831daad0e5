"""Memory that steps on a CPU hand to one another."""

import ctypes
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bort_kedro.training.memory import freed_memory_kept

CPU = torch.device("cpu")


def pages_faulted(megabytes: int) -> int:
    """Pages that the system hands out for a tensor that is made and freed again and again, at the end of 30 times.

    glibc cuts each from a larger piece, so the first few may find none that fits, kept or not.
    """
    for _ in range(29):
        torch.zeros(megabytes, 2**18)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(megabytes, 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def pages_resident() -> int:
    """Pages of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text("utf-8").split()[1])


def pages_by_precision() -> list[int]:
    """Handed out before, in float32 and in bf16; and what is resident behind it beyond what was before."""
    before = pages_faulted(40), pages_resident()
    handed_out = [before[0]]
    for precision in ("no", "bf16"):
        with freed_memory_kept(CPU, precision):
            handed_out.append(pages_faulted(40))
    return [*handed_out, pages_resident() - before[1]]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_memory_of_a_step_is_taken_from_the_system_once_in_bf16_and_given_back_at_the_end():
    # In a process of its own: what else has been allocated in this one decides what its heap can keep.
    told = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    usual, single, kept, left = map(int, told.stdout.split())
    assert single > usual / 4
    assert kept < usual / 4
    assert left < usual / 4


if __name__ == "__main__":
    sys.stdout.write(" ".join(map(str, pages_by_precision())))

"""Memory that steps on a CPU hand to one another."""

import ctypes
import resource
import subprocess
import sys

import pytest
import torch

from bort_kedro.training.memory import freed_memory_kept

CPU = torch.device("cpu")


def pages_faulted(megabytes: int) -> int:
    """Pages that the system hands out for a tensor that is made, freed and made again."""
    torch.zeros(megabytes, 2**18)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(megabytes, 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def faults_by_precision() -> list[int]:
    """Before, in float32, in bf16, and behind it."""
    faults = [pages_faulted(64)]
    for precision in ("no", "bf16"):
        with freed_memory_kept(CPU, precision):
            faults.append(pages_faulted(64))
    return [*faults, pages_faulted(64)]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_memory_of_a_step_is_taken_from_the_system_once_in_bf16_and_given_back_at_the_end():
    # In a process of its own: what else has been allocated in this one decides what its heap can keep.
    told = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    usual, single, kept, after = map(int, told.stdout.split())
    assert single > usual / 4
    assert kept < usual / 4
    assert after > usual / 4


if __name__ == "__main__":
    sys.stdout.write(" ".join(map(str, faults_by_precision())))

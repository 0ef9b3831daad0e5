"""Memory that steps on a CPU hand to one another."""

import ctypes
import resource

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


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_memory_of_a_step_is_taken_from_the_system_once_in_bf16_and_given_back_at_the_end():
    usual = pages_faulted(64)
    with freed_memory_kept(CPU, "no"):
        assert pages_faulted(64) > usual / 4
    with freed_memory_kept(CPU, "bf16"):
        assert pages_faulted(64) < usual / 4
    assert pages_faulted(64) > usual / 4

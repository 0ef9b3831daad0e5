"""CPU threads as a setting that is put back, and the precision that a device computes in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Set torch's CPU threads for a block: float sums, hence results, depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def tensor_float32(device: torch.device) -> Iterator[None]:
    """Let matrix products of float32 on CUDA run as TF32 within the block: its mantissa has ten bits.

    By torch's older switch: after the newer one, `torch.backends.cuda.matmul.fp32_precision`, torch.compile fails where
    it reads the older (torch 2.13).
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def half_attention(device: torch.device, precision: str) -> Iterator[None]:
    """Let attention in bf16 on a CPU be batched products in bf16 within the block.

    torch (2.13) has two kernels there. The flash one takes three times as long backward and knows no dropout; the plain
    one, unless it is allowed to round the scores to bf16 as it is here, copies queries, keys and values to float32.
    """
    if device.type != "cpu" or precision == "no":
        yield
        return
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


AUTO = "auto"
# Of matrix products, by what accelerate calls a precision.
DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Run a block as a training in that precision runs: ``no``, ``bf16``, ``fp16`` or ``auto``."""
    dtype = DTYPES[resolve_precision(precision)]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def resolve_precision(wanted: str) -> str:
    """``auto`` as what this machine does well: bf16 where the hardware has it, else fp16 on CUDA, else ``no``.

    Anything else is returned as it is. A CPU without bf16 instructions runs bf16 a hundred times slower than fp32.
    """
    if wanted != AUTO:
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if torch.cpu.get_capabilities().get("avx512_bf16") else "no"

"""What machine this is: part of every manifest, benchmark page and stored latency."""

import os
import platform
from pathlib import Path

from bort_kedro.frozen import JsonObject

# Names in torch.cpu.get_capabilities of what makes matrix products fast, and how people call them.
INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx_vnni": "AVX-VNNI",
    "avx512_f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_int8": "AMX int8",
    "amx_bf16": "AMX BF16",
}


def describe_device() -> JsonObject:
    """Processor with its instruction sets, cores and accelerators of this machine."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "processor": _processor(),
        "instruction_sets": [title for title, is_there in instruction_sets().items() if is_there],
        "cpu_count": os.cpu_count(),
        "cuda_devices": gpus,
        "platform": platform.platform(),
    }


def instruction_sets() -> dict[str, bool]:
    """Which of those that make matrix products fast this processor has."""
    import torch

    has = torch.cpu.get_capabilities()
    return {title: bool(has.get(name, False)) for name, title in INSTRUCTION_SETS.items()}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

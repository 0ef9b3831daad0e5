"""What machine this is: part of every manifest, benchmark page and stored latency."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from bort_kedro.frozen import JsonObject


def describe_device() -> JsonObject:
    """Processor, cores and accelerators of this machine."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "cuda_devices": gpus,
        "platform": platform.platform(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

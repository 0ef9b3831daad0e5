"""Devices by name: what their makers say they do at most, and what they hold."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bort_kedro.errors import ConfigurationError


@dataclass(frozen=True)
class DataSheet:
    """What a maker says of a device.

    Args:
        name: Words of the name that the device tells of itself, such as `NVIDIA H100 80GB HBM3`.
        half: Dense matrix products without sparsity in bf16 or fp16, in FLOP/s.
        full: The same in TF32 or, where a device has none, fp32 (`threads.tensor_float32`), in FLOP/s.
        memory_bytes: Of the smallest variant of that name.
    """

    name: str
    half: float
    full: float
    memory_bytes: int

    def peak(self, precision: str) -> float:
        """FLOP/s at most in a precision of accelerate."""
        return self.full if precision == "no" else self.half


GIGABYTE = 10**9
DATA_SHEETS = (
    DataSheet("H200 NVL", 835e12, 417e12, 141 * GIGABYTE),
    DataSheet("H200", 989e12, 494e12, 141 * GIGABYTE),
    DataSheet("H100 NVL", 835e12, 417e12, 94 * GIGABYTE),
    DataSheet("H100 PCIe", 756e12, 378e12, 80 * GIGABYTE),
    DataSheet("H100", 989e12, 494e12, 80 * GIGABYTE),
    DataSheet("A100", 312e12, 156e12, 40 * GIGABYTE),
    DataSheet("L40S", 362e12, 183e12, 48 * GIGABYTE),
    DataSheet("L4", 121e12, 60e12, 24 * GIGABYTE),
    DataSheet("A10", 125e12, 62.5e12, 24 * GIGABYTE),
    DataSheet("V100", 125e12, 15.7e12, 16 * GIGABYTE),
    DataSheet("T4", 65e12, 8.1e12, 16 * GIGABYTE),
    DataSheet("RTX 4090", 165e12, 82.6e12, 24 * GIGABYTE),
    DataSheet("RTX 3090", 71e12, 35.6e12, 24 * GIGABYTE),
)


def data_sheet_of(device_name: str) -> DataSheet | None:
    """Of a device that tells its name; None where it is not in the table, as an L40 is not an L4."""
    return next((sheet for sheet in DATA_SHEETS if re.search(rf"\b{sheet.name}\b", device_name)), None)


def named_data_sheet(name: str) -> DataSheet:
    """The row of a name as a user writes it, such as ``v100``.

    Raises:
        ConfigurationError: Naming the rows that there are.
    """
    for sheet in DATA_SHEETS:
        if sheet.name.lower() == name.lower():
            return sheet
    raise ConfigurationError(
        f"The device `{name}` is not in the table. There are: {', '.join(sheet.name for sheet in DATA_SHEETS)}. "
        "Name one of these, or add a row to src/bort_kedro/training/devices.py."
    )

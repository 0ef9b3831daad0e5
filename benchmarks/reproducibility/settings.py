"""What may differ between two runs of one training: where it runs, and how its batch is divided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# What torch, oneDNN and MKL are told to make of a processor: no instructions beyond these.
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


# Title of what the others are held against.
REFERENCE = "reference"


@dataclass(frozen=True)
class Variant:
    """One way to train the same encoder.

    Args:
        title: For the table.
        environment: Variables of its process.
        changes: Of the settings of the training.
        optimization: Of their optimisation.
        num_processes: That share it.
    """

    title: str
    environment: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    optimization: Mapping[str, Any] = field(default_factory=dict)
    num_processes: int = 1


VARIANTS = (
    Variant(REFERENCE),
    Variant("again"),
    Variant("2 threads", changes={"num_threads": 2}),
    Variant("torch without AVX-512", {"ATEN_CPU_CAPABILITY": "avx2"}),
    Variant("torch without AVX2", {"ATEN_CPU_CAPABILITY": "default"}),
    Variant("oneDNN without AVX-512", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    Variant("torch, oneDNN and MKL without AVX-512", AVX2),
    Variant("bf16 in the place of fp32", optimization={"mixed_precision": "bf16"}),
    Variant("batch in 2 parts", optimization={"gradient_accumulation_steps": 2}),
    Variant("2 processes", num_processes=2),
    Variant("another seed", optimization={"seed": 1}),
    Variant("batch of twice the size", changes={"batch_tokens": 1024}),
)

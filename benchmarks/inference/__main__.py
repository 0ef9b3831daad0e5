"""Encoders people know, and Bort's runtimes, side by side; writes docs/benchmarks/inference.{md,json}."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import command_line
from benchmarks.inference import runtimes
from benchmarks.inference.encoders import ON_CUDA, ON_THE_CPU, measure_encoders
from benchmarks.inference.figures import MINUTES_ALLOWED, Found
from benchmarks.inference.page import write
from benchmarks.inference.setting import Setting

ROUNDS = 6


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure part by part, and write the page after each, so that what was measured stays if a later part ends ill."""
    import torch

    parser = command_line(__doc__, trains=False)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="timed rounds; below 6, no intervals")
    parser.add_argument("--parts", nargs="+", choices=["encoders", "runtimes", "cuda"], help="all unless given")
    given = parser.parse_args(arguments)
    parts = given.parts or ["encoders", "runtimes", *(["cuda"] if torch.cuda.is_available() else [])]
    found, began = Found(Setting(timed_rounds=given.rounds)), time.perf_counter()
    for part in parts:
        try:
            if part == "encoders":
                found.encoders = measure_encoders(found.setting, ON_THE_CPU)
            elif part == "cuda":
                found.cuda = measure_encoders(found.setting, ON_CUDA)
            else:
                with tempfile.TemporaryDirectory() as folder:
                    found.runtimes, reasons = runtimes.measure(found.setting, Path(folder), os.cpu_count() or 1)
                found.failures |= {f"{system[0]} in {system[1]}": reason for system, reason in reasons.items()}
        # A part that runs out of memory, or lacks a package, takes no other with it.
        except Exception as error:
            found.failures[part] = f"{type(error).__name__}: {error}"
        found.minutes = (time.perf_counter() - began) / 60
        write(found, is_last=part == parts[-1], folder=given.folder)
    if found.minutes > MINUTES_ALLOWED:
        print(f"This took {found.minutes:.1f} minutes, more than the {MINUTES_ALLOWED:.0f} allowed.")  # noqa: T201


if __name__ == "__main__":
    main()

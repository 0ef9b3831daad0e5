"""Pretraining on one CUDA device, in minutes: is it right, and how fast; writes docs/benchmarks/pretrain-cuda.*.

Needs neither Kedro nor MLflow nor pandas: what `NEEDED` lists and the folders benchmarks and src of this project (on
PYTHONPATH where it is not installed) are enough.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

NEEDED = ("accelerate", "numpy", "pydantic", "rich", "safetensors", "scipy", "tokenizers", "torch", "transformers")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write, or say that there is no device."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        sys.exit(
            f"{sys.executable} lacks {', '.join(missing)}; nothing was measured. `pip install --target FOLDER "
            f"{' '.join(missing)}` fetches them, here or with the same Python elsewhere; then put FOLDER on PYTHONPATH."
        )
    from benchmarks.command import command_line
    from benchmarks.pretrain.cuda.bench import is_present
    from benchmarks.pretrain.cuda.order import MINUTES, measure_and_write

    parser = command_line(__doc__, trains=False)
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"for all of it (default {MINUTES:g})")
    given = parser.parse_args(arguments)
    if not given.minutes > 0:
        parser.exit(2, f"--minutes is {given.minutes:g}; it must be above 0\n")
    if not is_present():
        sys.exit("There is no CUDA device on this machine; nothing was measured.")
    measure_and_write(given.folder, minutes=given.minutes)


if __name__ == "__main__":
    main()

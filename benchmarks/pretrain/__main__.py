"""Pretraining against the plain ways of doing it, all paired in one run; writes docs/benchmarks/pretrain.{md,json}."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.command import command_line
from benchmarks.pretrain.cuda.bench import is_present
from benchmarks.pretrain.cuda.order import measure_and_write
from benchmarks.pretrain.cuda.page import sentence
from benchmarks.pretrain.material import Setting
from benchmarks.pretrain.page import write
from benchmarks.pretrain.turns import measure
from bort_kedro.encoders.shapes import BertShape

# As conf/base trains its students: shape, vocabulary, 512 tokens a step, masks.
SMALL = Setting(
    shape=BertShape(2, 4, 96, 128),
    vocabulary_size=1024,
    batch_size=8,
    sequence_length=64,
    masked_share=0.3,
    timed_steps=150,
    warmup_steps=20,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure on the CPU, then on a CUDA device if there is one, and write the pages."""
    parser = command_line(__doc__, trains=False)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each training (default 3)")
    parser.add_argument("--steps", type=int, default=2, help="timed steps of a turn, after one more (default 2)")
    given = parser.parse_args(arguments)
    if min(given.rounds, given.steps) < 1:
        parser.exit(2, "--rounds and --steps must be at least 1\n")
    if is_present():
        measure_and_write(given.folder)
    measured = measure(Setting(timed_steps=given.steps), SMALL, given.rounds)
    write(measured, num_rounds=given.rounds, about_cuda=sentence(given.folder), folder=given.folder)


if __name__ == "__main__":
    main()

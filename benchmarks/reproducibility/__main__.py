"""Train one small encoder on other threads, processors, parts; write docs/benchmarks/reproducibility.{md,json}."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import own_process
from benchmarks.command import command_line
from benchmarks.reproducibility import trainings
from benchmarks.reproducibility.page import write
from benchmarks.reproducibility.settings import VARIANTS


def main(arguments: Sequence[str] | None = None) -> None:
    """Train once for each row of the page, and write it."""
    parser = command_line(__doc__, trains=False)
    parser.add_argument("--steps", type=int, default=trainings.STEPS, help="of each training")
    given = parser.parse_args(arguments)
    tokens, shape = trainings.tokens_and_shape()
    outcomes = {}
    for variant in VARIANTS:
        environment = own_process.on_the_cpu(variant.changes.get("num_threads", 1)) | dict(variant.environment)
        work = (trainings.train_one, variant, tokens, shape, given.steps)
        outcomes[variant.title] = own_process.in_own_process(environment, *work)
    write(outcomes, given.steps, given.folder)


if __name__ == "__main__":
    main()

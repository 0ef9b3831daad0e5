"""What is found of a CUDA device, the most important first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from benchmarks.page import FOLDER
from benchmarks.pretrain.cuda import correctness, speed
from benchmarks.pretrain.cuda.bench import CACHED, LIVE, Bench, Case, Sizes, cuda_device
from benchmarks.pretrain.cuda.findings import Finding, Outcome, run_in_order
from benchmarks.pretrain.cuda.page import line_of, write
from benchmarks.pretrain.cuda.worker import Start, Worker

MINUTES = 8.0
CORRECTNESS, SPEED, TEACHERS = "Correctness", "Speed without a teacher", "Speed with a teacher"
BATCHES, COMPILE, LATENCY, SUMS = "Best micro-batch", "torch.compile", "Latency", "Hours and the aim"


def findings_of(sizes: Sizes) -> list[Finding]:
    """All of them, with the seconds that each may take on a card of a data centre: guesses, none was measured."""
    cases = [Case(shape, length) for shape, length in product(sizes.shapes, sizes.lengths)]
    taught = [Case(case.shape, case.length, teacher) for teacher in (LIVE, CACHED) for case in cases]
    # Compiling takes longer than all of a training: of one length alone.
    to_compile = [Case(shape, sizes.lengths[0], compiles=True) for shape in sizes.shapes]
    return [
        Finding(CORRECTNESS, "fp16 with forced overflows", correctness.overflows_are_skipped, 15),
        Finding(CORRECTNESS, "resumed against uninterrupted", correctness.resumed_equals_uninterrupted, 10),
        Finding(CORRECTNESS, "head in chunks against the whole", correctness.chunked_head_equals_whole, 5),
        Finding(CORRECTNESS, "padded against unpadded", correctness.padding_changes_nothing, 5),
        *(Finding(SPEED, str(case), speed.speed_of(case), 8) for case in cases),
        *(Finding(TEACHERS, str(case), speed.speed_of(case), 15) for case in taught),
        *(Finding(BATCHES, f"best batch: {case}", speed.best_batch(case), 25) for case in cases),
        *(Finding(COMPILE, str(case), speed.compiled(case), 50) for case in to_compile),
        Finding(LATENCY, "encoders side by side", speed.latencies, 10),
        # Made of the others, so there is always time for them.
        Finding(SUMS, f"hours for {speed.STATED_TOKENS:,} tokens", speed.hours, 0),
        Finding(SUMS, "the aim", speed.aim, 0),
    ]


def on_cuda() -> tuple[Bench, Sequence[Finding]]:
    """The published shapes on the first device."""
    sizes = Sizes()
    return Bench(cuda_device(sizes.precision), sizes), findings_of(sizes)


def measure_and_write(
    folder: Path = FOLDER, *, minutes: float = MINUTES, sizes: Sizes | None = None, start: Start = on_cuda
) -> list[Outcome]:
    """Find what there is time for; each is shown and written as soon as it is had.

    Args:
        folder: Of the page.
        minutes: For all.
        sizes: The published shapes unless given.
        start: Makes the bench of these sizes and its findings; the first CUDA device unless given.

    Raises:
        RuntimeError: If the device cannot be begun with.
    """
    sizes, worker = sizes or Sizes(), Worker(start)
    began = time.monotonic()
    try:
        device = worker.begin()

        def told(outcomes: list[Outcome]) -> None:
            print(line_of(outcomes[-1]), flush=True)  # noqa: T201
            write(outcomes, device, sizes, minutes=minutes, folder=folder)

        left = minutes - (time.monotonic() - began) / 60
        return run_in_order(findings_of(sizes), worker.find, minutes=left, on_outcomes=told)
    finally:
        worker.end()

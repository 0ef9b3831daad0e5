"""What is found of a CUDA device, the most important first."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from benchmarks.page import FOLDER
from benchmarks.pretrain.cuda import correctness, speed
from benchmarks.pretrain.cuda.bench import CACHED, LIVE, Bench, Case, Device, Sizes, cuda_device
from benchmarks.pretrain.cuda.findings import Finding, Outcome, run_in_order
from benchmarks.pretrain.cuda.page import line_of, write

MINUTES = 8.0
CORRECTNESS, SPEED, TEACHERS = "Correctness", "Speed without a teacher", "Speed with a teacher"
BATCHES, COMPILE, LATENCY, HOURS = "Best micro-batch", "torch.compile", "Latency", "Hours"


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
        # Made of the others, so there is always time for it.
        Finding(HOURS, f"for {speed.STATED_TOKENS:,} tokens", speed.hours, 0),
    ]


def measure_and_write(
    folder: Path = FOLDER, *, minutes: float = MINUTES, sizes: Sizes | None = None, device: Device | None = None
) -> list[Outcome]:
    """Find what there is time for; each is shown and written as soon as it is had.

    Args:
        folder: Of the page.
        minutes: For all.
        sizes: The published shapes unless given.
        device: The first CUDA device unless given.
    """
    sizes = sizes or Sizes()
    bench = Bench(device or cuda_device(sizes.precision), sizes)

    def told(outcomes: list[Outcome]) -> None:
        print(line_of(outcomes[-1]), flush=True)  # noqa: T201
        write(outcomes, bench, minutes=minutes, folder=folder)

    return run_in_order(findings_of(sizes), bench, minutes=minutes, on_outcomes=told)

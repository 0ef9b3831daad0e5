"""Run the trainings that are compared, turn by turn, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.own_process import in_own_process, on_the_cpu
from benchmarks.pretrain.goals import Measured
from benchmarks.pretrain.material import Setting
from benchmarks.pretrain.overhead import StepParts, step_parts
from benchmarks.pretrain.systems import SYSTEMS, Taken
from bort_kedro.progress import track

PREPARATION_ROUNDS = 5
# Turns that look into the project's own loop.
LOOP, SMALL_LOOP = "loop", "loop, small shape"


def product_rates(num_threads: int) -> dict[str, float]:
    """FLOP/s of matrix products on the CPU, in ``no`` (fp32) and ``bf16``."""
    from bort_kedro.training.threads import cpu_threads
    from bort_kedro.training.throughput import peak_flops

    with cpu_threads(num_threads):
        return {precision: peak_flops("cpu", precision, num_threads) for precision in ("no", "bf16")}


def measure(setting: Setting, small: Setting, num_rounds: int, packages: list[str] | None = None) -> Measured:
    """Every figure of the page but a CUDA device's.

    Each training, and each look into the loop, is a process of its own. In a round each takes one turn, and the order
    turns by one place from round to round, so that a slow spell of the machine falls on all alike.

    Args:
        setting: Of the trainings that are compared, in fp32.
        small: The small shape whose loop is looked into as well.
        num_rounds: Rounds.
        packages: Whose documentation is the text that tokens are prepared from; those of the embedded corpus unless
            given.
    """
    # Not above, where every process would load it and count its memory.
    from benchmarks.pretrain.preparation import time_preparation

    environment = on_the_cpu(setting.num_threads)
    rates = in_own_process(environment, product_rates, setting.num_threads)
    precisions = ["no", "bf16"] if rates["bf16"] > rates["no"] else ["no"]
    turns: dict[tuple[str, str], tuple[Callable[[Setting], Any], Setting]] = {
        (name, precision): (system, replace(setting, mixed_precision=precision))
        for precision in precisions
        for name, system in SYSTEMS.items()
    }
    turns |= {
        (name, precision): (step_parts, replace(of_loop, mixed_precision=precision))
        for precision in precisions
        for name, of_loop in ((LOOP, setting), (SMALL_LOOP, small))
    }
    keys = list(turns)
    found: dict[tuple[str, str], list[Any]] = {key: [] for key in keys}
    order = [key for number in range(num_rounds) for key in _turned(keys, number)]
    for key in track(order, "training in turns", total=len(order)):
        function, its_setting = turns[key]
        found[key].append(in_own_process(environment, function, its_setting))
    loops: dict[str, list[StepParts]] = {precision: found.pop((LOOP, precision)) for precision in precisions}
    small_loops: dict[str, list[StepParts]] = {
        precision: found.pop((SMALL_LOOP, precision)) for precision in precisions
    }
    trainings: dict[tuple[str, str], list[Taken]] = found
    preparation = in_own_process(environment, time_preparation, PREPARATION_ROUNDS, packages)
    return Measured(setting, small, rates, trainings, loops, small_loops, preparation)


def _turned(keys: list[tuple[str, str]], number: int) -> list[tuple[str, str]]:
    first = number % len(keys)
    return keys[first:] + keys[:first]

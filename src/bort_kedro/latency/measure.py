"""Latency of models side by side: interleaved rounds, warm-up thrown away, medians with quartiles and intervals."""

import time
from collections.abc import Callable, Mapping
from itertools import chain

import numpy as np
import torch

from bort_kedro.latency.conditions import Latency, median_interval
from bort_kedro.progress import track
from bort_kedro.training.threads import cpu_threads


def measure_latency(
    models: Mapping[str, Callable[..., object]],
    inputs: Mapping[str, object],
    *,
    warmup_rounds: int,
    timed_rounds: int,
    num_threads: int,
    turn_ms: float = 0.0,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
    description: str = "timing encoders",
) -> dict[str, Latency]:
    """Time models against each other in interleaved rounds, the first of which are thrown away.

    Every model has one turn a round, and the order turns by one place from round to round, so that a slow spell of the
    machine, or the caches a neighbour leaves, fall on all models alike. A turn repeats the pass until ``turn_ms`` have
    gone by, at least once, so that a fast model is timed often and with its weights in the caches; work queued on the
    device is waited for. torch's thread count is fixed for the measurement and put back afterwards.
    """
    names = list(models)
    turns: dict[str, list[list[float]]] = {name: [] for name in names}
    num_rounds = warmup_rounds + timed_rounds
    with cpu_threads(num_threads), torch.inference_mode():
        for number in track(range(num_rounds), description, total=num_rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                turn = _take_turn(models[name], inputs, turn_ms=turn_ms, device=device, clock=clock)
                if number >= warmup_rounds:
                    turns[name].append(turn)
    return {name: _summary(turns[name]) for name in names}


def _take_turn(
    model: Callable[..., object],
    inputs: Mapping[str, object],
    *,
    turn_ms: float,
    device: str,
    clock: Callable[[], float],
) -> list[float]:
    """Milliseconds of each pass of one turn."""
    passes: list[float] = []
    while not passes or sum(passes) < turn_ms:
        before = clock()
        model(**inputs)
        _wait_for(device)
        passes.append(1000 * (clock() - before))
    return passes


def _wait_for(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _summary(turns: list[list[float]]) -> Latency:
    lower, median, upper = map(float, np.percentile(list(chain(*turns)), [25, 50, 75]))
    interval = median_interval([float(np.median(turn)) for turn in turns])
    # Rounds that hold many passes may draw the median of all passes beyond that of the rounds.
    low, high = (None, None) if interval is None else (min(median, interval[0]), max(median, interval[1]))
    return Latency(median, lower, upper, len(turns), low, high)

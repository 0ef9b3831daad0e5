"""From what the inference benchmark measured to its figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.inference.runtimes import PYTORCH, System, TimedRuntime
from benchmarks.inference.setting import Setting
from benchmarks.page import Figure
from bort_kedro.encoders.shapes import KNOWN_SHAPES
from bort_kedro.statistics import is_missing

Row = Mapping[str, Any]

MINUTES_ALLOWED = 10.0
# Medians of interleaved rounds may stray this far from the ratio of the operation counts.
TOLERANCE = 0.15
# How many times as long the reference takes in PyTorch as Bort in int8, at least.
TARGETS = {"bert_large": 60.0, "bert_base": 15.0}
BORT_INT8: tuple[System, ...] = (("bort", "onnx_int8"), ("bort", "openvino_int8"))


@dataclass
class Found:
    """What was measured so far.

    Args:
        setting: What is timed, and in which rounds.
        encoders: Rows of the speed table on the CPU.
        cuda: Rows of the speed table on CUDA.
        runtimes: By system.
        failures: Why parts are missing, by part.
        minutes: So far.
    """

    setting: Setting
    encoders: Sequence[Row] = ()
    cuda: Sequence[Row] = ()
    runtimes: Mapping[System, TimedRuntime] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    minutes: float = 0.0


def ratio(found: Found, slower: System, faster: System) -> float:
    """How many times as long one takes as the other; NaN where one was not timed."""
    if slower not in found.runtimes or faster not in found.runtimes:
        return math.nan
    return found.runtimes[slower].latency.median_ms / found.runtimes[faster].latency.median_ms


def best_int8(found: Found) -> System:
    """The runtime that Bort is fastest in with int8."""
    timed = [system for system in BORT_INT8 if system in found.runtimes]
    return min(timed, key=lambda system: found.runtimes[system].latency.median_ms, default=BORT_INT8[-1])


def condition_text(row: Row) -> str:
    """Such as ``1 x 128 tokens, 1 thread, no head``."""
    threads = (
        "CUDA" if row["device"] != "cpu" else f"{row['num_threads']} thread{'s' if row['num_threads'] > 1 else ''}"
    )
    return (
        f"{row['batch_size']} x {row['sequence_length']} tokens, {threads}, {'head' if row['has_head'] else 'no head'}"
    )


def encoder_figures(rows: Sequence[Row]) -> list[Figure]:
    """Latency, throughput and memory of each row; of the reference condition how it compares with BERT-large."""
    figures = []
    for row in rows:
        name = f"{row['name']}, {condition_text(row)}"
        figures += [
            Figure(f"{name}: latency", row["median_ms"], "ms"),
            Figure(f"{name}: throughput", row["throughput"], "sequences/s"),
            Figure(f"{name}: peak memory", row["peak_memory_bytes"] / 1e6, "MB"),
        ]
        if row["is_reference"] and row["device"] == "cpu":
            measured, counted = row["measured_vs_bert_large"], row["operations_vs_bert_large"]
            met = abs(measured / counted - 1) <= TOLERANCE
            figures.append(
                Figure(f"{row['name']}: times faster than BERT-large", measured, "x", target=counted, met=met)
            )
    return figures


def runtime_figures(found: Found) -> list[Figure]:
    """The targets of Bort in int8, met or not, then like with like, then every latency."""
    best = best_int8(found)
    figures = []
    for key, target in TARGETS.items():
        title = KNOWN_SHAPES[key].title
        value = ratio(found, (key, PYTORCH), best)
        measured = None if is_missing(value) else value
        name = f"Bort int8 ({runtime_title(best[1])}): times faster than {title} in PyTorch fp32"
        figures.append(Figure(name, measured, "x", target=target, met=measured is not None and measured >= target))
        for runtime in (PYTORCH, *(int8 for _, int8 in BORT_INT8)):
            value = ratio(found, (key, runtime), ("bort", runtime))
            name = f"Bort: times faster than {title}, both in {runtime_title(runtime)}"
            figures.append(Figure(name, None if is_missing(value) else value, "x"))
    for system, timed in found.runtimes.items():
        name = f"{KNOWN_SHAPES[system[0]].title} in {runtime_title(system[1])}: latency"
        figures.append(Figure(name, timed.latency.median_ms, "ms"))
    return figures


def runtime_title(name: str) -> str:
    """For readers."""
    from bort_kedro.exports.runtimes import RUNTIMES

    return "PyTorch fp32" if name == PYTORCH else RUNTIMES[name].title

"""From what the inference benchmark measured to its figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.inference.runtimes import INT8, PYTORCH, RUNTIMES, System, TimedRuntime
from benchmarks.inference.setting import PRODUCTS, Setting, title_of
from benchmarks.page import Figure
from bort_kedro.encoders.costs import count_operations
from bort_kedro.statistics import is_missing

Row = Mapping[str, Any]

MINUTES_ALLOWED = 10.0
# Medians of interleaved rounds may stray this far from the ratio of the operation counts.
TOLERANCE = 0.15
# The part of the machine's limit that Bort's best runtime is to reach, see `limit`.
SHARE_OF_LIMIT = 0.9


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


def best_int8(found: Found, key: str = "bort") -> System:
    """The runtime that an encoder, or the products, are fastest in with int8."""
    timed = [(key, runtime) for runtime in INT8 if (key, runtime) in found.runtimes]
    return min(timed, key=lambda system: found.runtimes[system].latency.median_ms, default=(key, INT8[-1]))


def product_gain(found: Found, runtime: str) -> float:
    """How many times faster a runtime multiplies matrices than PyTorch does in fp32; NaN where it was not timed."""
    return 1.0 if runtime == PYTORCH else ratio(found, (PRODUCTS, PYTORCH), (PRODUCTS, runtime))


def limit(found: Found, reference: str, system: System) -> float:
    """How many times faster than a reference in PyTorch's fp32 a system would be if it were matrix products alone.

    The ratio of the operations, times what the runtime makes of products of the reference's size.
    """
    counts = [
        count_operations(found.setting.shape_of(key), sequence_length=found.setting.sequence_length).total
        for key in (reference, system[0])
    ]
    return counts[0] / counts[1] * product_gain(found, system[1])


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
    best, products = best_int8(found), best_int8(found, PRODUCTS)
    figures = []
    for key in ("bert_large", "bert_base"):
        title = title_of(key)
        value, most = ratio(found, (key, PYTORCH), best), limit(found, key, ("bort", products[1]))
        measured, target = (None if is_missing(each) else each for each in (value, SHARE_OF_LIMIT * most))
        name = f"Bort int8 ({runtime_title(best[1])}): times faster than {title} in PyTorch fp32"
        met = measured is not None and target is not None and measured >= target
        figures.append(Figure(name, measured, "x", target=target, met=met))
        for runtime in (PYTORCH, *INT8):
            value = ratio(found, (key, runtime), ("bort", runtime))
            name = f"Bort: times faster than {title}, both in {runtime_title(runtime)}"
            figures.append(Figure(name, None if is_missing(value) else value, "x"))
    for runtime in RUNTIMES[1:]:
        value = product_gain(found, runtime)
        name = f"matrix products: times faster in {runtime_title(runtime)} than in PyTorch fp32"
        figures.append(Figure(name, None if is_missing(value) else value, "x"))
    for system, timed in found.runtimes.items():
        name = f"{title_of(system[0])} in {runtime_title(system[1])}: latency"
        figures.append(Figure(name, timed.latency.median_ms, "ms"))
    return figures


def runtime_title(name: str) -> str:
    """For readers."""
    from bort_kedro.exports import runtimes

    return "PyTorch fp32" if name == PYTORCH else runtimes.RUNTIMES[name].title

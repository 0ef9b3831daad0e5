"""The speed table: sizes, operations and measured times of encoders, against BERT-base and BERT-large."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING

from bort_kedro.encoders.costs import count_head_operations, count_operations, count_parameters
from bort_kedro.encoders.shapes import KNOWN_SHAPES, BertShape
from bort_kedro.frozen import JsonObject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bort_kedro.latency.settings import SpeedSettings

CHOSEN = "chosen"
REFERENCES = ("bert_base", "bert_large")
BYTES_PER_WEIGHT = 4  # of fp32
INTERVAL_LEVEL = 0.95


@dataclass(frozen=True)
class Condition:
    """Under what forward passes are timed.

    Args:
        sequence_length: L, tokens of a sequence, none of them padding.
        has_head: Whether a masked-LM head over all positions is passed too.
    """

    batch_size: int
    sequence_length: int
    num_threads: int
    has_head: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass, in milliseconds.

    Args:
        rounds: Timed rounds; a fast model makes several passes a round.
        interval_low_ms: End of an interval that holds the median with 95 % certainty, by order statistics of the
            medians of the rounds. The passes of one round share its luck, so they are not counted one by one. None
            with fewer than six rounds.
    """

    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float
    rounds: int
    interval_low_ms: float | None = None
    interval_high_ms: float | None = None


def conditions_of(speed: SpeedSettings, devices: Sequence[str]) -> list[Condition]:
    """Every combination, the first of each list first; on CUDA with the first number of CPU threads alone."""
    return [
        Condition(batch_size, length, threads, has_head, device)
        for device in devices
        for threads in (speed.num_threads if device == "cpu" else speed.num_threads[:1])
        for batch_size, length in product(speed.batch_sizes, speed.sequence_lengths)
        for has_head in ((False, True) if speed.with_head else (False,))
    ]


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Between which values the median of what the values are drawn from lies, with a certainty of 95 % or more.

    From order statistics: how many of n values lie below the true median is binomial (n, 1/2), whatever their
    distribution. The values are drawn independently.

    Returns:
        None with fewer than six values, whose smallest and largest hold the median less often than that.
    """
    from scipy.stats import quantile_test

    interval = quantile_test(values, q=0.0, p=0.5).confidence_interval(INTERVAL_LEVEL)
    return None if math.isnan(interval.low) else (float(interval.low), float(interval.high))


def speed_rows(
    shapes: Mapping[str, BertShape],
    times_ms: Mapping[str, tuple[float, float, float]],
    *,
    vocabulary_size: int,
    max_positions: int,
    sequence_length: int,
    has_head: bool = False,
) -> list[JsonObject]:
    """One row for each encoder under one condition, from median, lower and upper quartile of its milliseconds.

    A ratio says how many times longer the reference takes, or how many times more operations it does, both under the
    same condition. Ratios of operations are those that times would have if every operation took as long. Keys are
    ``chosen``, and those of `KNOWN_SHAPES`.

    Returns:
        Rows in the order of ``shapes``; ``bytes`` are those of the parameters in fp32, ``operations`` those of one
        sequence; a ratio to a reference that was not timed is NaN.
    """

    def operations_of(shape: BertShape) -> int:
        head = count_head_operations(shape, vocabulary_size=vocabulary_size, num_positions=sequence_length)
        return count_operations(shape, sequence_length=sequence_length).total + (head.total if has_head else 0)

    rows = []
    for key, shape in shapes.items():
        parameters = count_parameters(shape, vocabulary_size=vocabulary_size, max_positions=max_positions)
        without_embeddings = parameters.encoder + (parameters.masked_lm_head if has_head else 0)
        median, lower, upper = times_ms[key]
        row: JsonObject = {
            "name": "chosen shape" if key == CHOSEN else KNOWN_SHAPES[key].title,
            **shape.to_row(),
            "parameters": parameters.embeddings + without_embeddings,
            "parameters_without_embeddings": without_embeddings,
            "bytes": BYTES_PER_WEIGHT * (parameters.embeddings + without_embeddings),
            "operations": operations_of(shape),
            "median_ms": median,
            "lower_quartile_ms": lower,
            "upper_quartile_ms": upper,
        }
        for reference in REFERENCES:
            reference_ms = times_ms[reference][0] if reference in times_ms else float("nan")
            row[f"measured_vs_{reference}"] = reference_ms / median
            row[f"operations_vs_{reference}"] = operations_of(KNOWN_SHAPES[reference].shape) / row["operations"]
        rows.append(row | {"is_chosen": key == CHOSEN})
    return rows


def speed_table_rows(
    shapes: Mapping[str, BertShape],
    latencies: Mapping[Condition, Sequence[Latency]],
    peak_memory: Mapping[Condition, Sequence[int]],
    *,
    vocabulary_size: int,
    max_positions: int,
) -> list[JsonObject]:
    """One row for each encoder and condition, whose latencies and bytes of peak memory are in the order of ``shapes``.

    The first condition is the one that the report tells of (``is_reference``).

    Returns:
        Rows of `speed_rows` with the condition, ``throughput`` (sequences a second), ``interval_low_ms``,
        ``interval_high_ms`` (NaN where there is none), ``peak_memory_bytes`` and ``is_reference``.
    """
    table = []
    for number, (condition, found) in enumerate(latencies.items()):
        rows = speed_rows(
            shapes,
            {
                key: (each.median_ms, each.lower_quartile_ms, each.upper_quartile_ms)
                for key, each in zip(shapes, found, strict=True)
            },
            vocabulary_size=vocabulary_size,
            max_positions=max_positions,
            sequence_length=condition.sequence_length,
            has_head=condition.has_head,
        )
        for row, each, peak in zip(rows, found, peak_memory[condition], strict=True):
            measures = {
                "throughput": 1000 * condition.batch_size / each.median_ms,
                "interval_low_ms": float("nan") if each.interval_low_ms is None else each.interval_low_ms,
                "interval_high_ms": float("nan") if each.interval_high_ms is None else each.interval_high_ms,
                "peak_memory_bytes": peak,
            }
            table.append({**row, **asdict(condition), **measures, "is_reference": number == 0})
    return table

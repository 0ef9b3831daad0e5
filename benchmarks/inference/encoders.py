"""Time and weigh the encoders people know, under several conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.inference.setting import MAX_POSITIONS, Setting, title_of
from benchmarks.own_process import in_own_process, on_the_cpu
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.latency.conditions import CHOSEN, Condition, Latency, speed_table_rows

# The first is what targets are held against.
ON_THE_CPU = (
    Condition(1, 128, 1),
    Condition(1, 128, 1, has_head=True),
    Condition(1, 128, 2),
    Condition(1, 128, 2, has_head=True),
    Condition(1, 32, 1),
    Condition(1, 32, 1, has_head=True),
    Condition(4, 32, 1),
    Condition(4, 128, 1),
)
ON_CUDA = tuple(
    Condition(batch_size, length, 1, has_head, "cuda")
    for batch_size, length in ((1, 128), (32, 128), (1, 512))
    for has_head in (False, True)
)


def shapes_to_time(setting: Setting) -> dict[str, BertShape]:
    """All shapes; as the chosen one, that of `make run`."""
    return {CHOSEN: setting.chosen, **setting.shapes}


def time_encoders(setting: Setting, conditions: Sequence[Condition]) -> dict[Condition, list[Latency]]:
    """Latencies in the order of `shapes_to_time`.

    Args:
        setting: Shapes and rounds.
        conditions: One after the other.
    """
    from bort_kedro.latency.shapes import time_conditions

    found = time_conditions(
        list(shapes_to_time(setting).values()),
        conditions,
        vocabulary_size=setting.vocabulary_size,
        warmup_rounds=setting.warmup_rounds,
        timed_rounds=setting.timed_rounds,
        turn_ms=setting.turn_ms,
    )
    return {condition: list(timings) for condition, timings in found.items()}


def weigh_encoders(setting: Setting, conditions: Sequence[Condition]) -> dict[Condition, list[int]]:
    """Peak memory in bytes in the order of `shapes_to_time`.

    Args:
        setting: Shapes.
        conditions: Of the passes.
    """
    from bort_kedro.latency.memory import peak_memory

    return peak_memory(list(shapes_to_time(setting).values()), conditions, vocabulary_size=setting.vocabulary_size)


def measure_encoders(setting: Setting, conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    """Rows of the speed table.

    Args:
        setting: Shapes and rounds.
        conditions: All of one device; the first is the reference.
    """
    # A process each: what the one leaves in memory is not the other's.
    on_cpu = conditions[0].device == "cpu"
    environment = on_the_cpu(max(each.num_threads for each in conditions)) if on_cpu else {}
    rows = speed_table_rows(
        shapes_to_time(setting),
        in_own_process(environment, time_encoders, setting, conditions),
        in_own_process(environment, weigh_encoders, setting, conditions),
        vocabulary_size=setting.vocabulary_size,
        max_positions=MAX_POSITIONS,
    )
    return [row | {"name": title_of(CHOSEN)} if row["is_chosen"] else row for row in rows]

"""Time and weigh the encoders people know, under several conditions."""

from __future__ import annotations

from benchmarks.own_process import in_own_process, on_the_cpu
from bort_kedro.encoders.shapes import BORT, KNOWN_SHAPES, BertShape
from bort_kedro.latency.conditions import CHOSEN, Condition, Latency, speed_table_rows

VOCABULARY_SIZE = 50_265
MAX_POSITIONS = 512
TURN_MS = 50.0
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


def shapes_to_time() -> dict[str, BertShape]:
    """Those of `KNOWN_SHAPES`, Bort in the place of the chosen one."""
    return {CHOSEN: BORT} | {key: known.shape for key, known in KNOWN_SHAPES.items() if known.shape != BORT}


def time_encoders(conditions: list[Condition], rounds: int) -> dict[Condition, list[Latency]]:
    """Latencies in the order of `shapes_to_time`.

    Args:
        conditions: One after the other.
        rounds: Timed ones.
    """
    from bort_kedro.latency.shapes import time_conditions

    found = time_conditions(
        list(shapes_to_time().values()),
        conditions,
        vocabulary_size=VOCABULARY_SIZE,
        warmup_rounds=1,
        timed_rounds=rounds,
        turn_ms=TURN_MS,
    )
    return {condition: list(timings) for condition, timings in found.items()}


def weigh_encoders(conditions: list[Condition]) -> dict[Condition, list[int]]:
    """Peak memory in bytes in the order of `shapes_to_time`.

    Args:
        conditions: Of the passes.
    """
    from bort_kedro.latency.memory import peak_memory

    return peak_memory(list(shapes_to_time().values()), conditions, vocabulary_size=VOCABULARY_SIZE)


def measure_encoders(conditions: tuple[Condition, ...], rounds: int) -> list[dict]:
    """Rows of the speed table.

    Args:
        conditions: The first is the reference.
        rounds: Timed ones.
    """
    # A process each: what the one leaves in memory is not the other's.
    device = conditions[0].device
    environment = on_the_cpu(max(each.num_threads for each in conditions)) if device == "cpu" else {}
    latencies = in_own_process(environment, time_encoders, list(conditions), rounds)
    rows = speed_table_rows(
        shapes_to_time(),
        latencies,
        in_own_process(environment, weigh_encoders, list(conditions)),
        vocabulary_size=VOCABULARY_SIZE,
        max_positions=MAX_POSITIONS,
    )
    return [row | {"name": KNOWN_SHAPES["bort"].title} if row["is_chosen"] else row for row in rows]

"""Nodes that measure speed and size."""

import pandas as pd
from plotly.graph_objects import Figure

from bort_kedro.latency.conditions import CHOSEN, conditions_of, speed_table_rows
from bort_kedro.latency.settings import SpeedSettings


def measure_speed(selected_shape: dict[str, int], speed: SpeedSettings) -> pd.DataFrame:
    """Time and weigh the chosen shape next to known ones, and count each; on the CPU, and on CUDA where there is some.

    Returns:
        One row for each shape and condition, as `latency.conditions.speed_table_rows` says.
    """
    import torch

    from bort_kedro.encoders.shapes import KNOWN_SHAPES, BertShape
    from bort_kedro.latency.memory import peak_memory
    from bort_kedro.latency.shapes import time_conditions

    named = {CHOSEN: BertShape.from_row(selected_shape)} | {key: KNOWN_SHAPES[key].shape for key in speed.compare_with}
    shapes = list(named.values())
    conditions = conditions_of(speed, ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",))
    # Before the weights of all shapes lie in this process.
    memory = peak_memory(shapes, conditions, vocabulary_size=speed.vocabulary_size)
    timings = time_conditions(
        shapes,
        conditions,
        vocabulary_size=speed.vocabulary_size,
        warmup_rounds=speed.warmup_rounds,
        timed_rounds=speed.timed_rounds,
        turn_ms=speed.turn_ms,
    )
    rows = speed_table_rows(
        named, timings, memory, vocabulary_size=speed.vocabulary_size, max_positions=speed.max_positions
    )
    return pd.DataFrame(rows).assign(**speed.model_dump(include={"timed_rounds", "vocabulary_size", "max_positions"}))


def plot_speed(speed_table: pd.DataFrame) -> Figure:
    """Median latency of each encoder."""
    from bort_kedro.reporting.plots import speed_figure

    return speed_figure(speed_table)

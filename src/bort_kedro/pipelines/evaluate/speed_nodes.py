"""Nodes that measure speed and size."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bort_kedro.core.speed import speed_rows
from bort_kedro.params import SpeedParams


def measure_speed(selected_shape: dict[str, int], speed: SpeedParams) -> pd.DataFrame:
    """Time the chosen shape next to known ones, and count each."""
    from bort_kedro.core.shapes import KNOWN_SHAPES, BertShape
    from bort_kedro.training.timing import time_shapes

    named = {"chosen": BertShape.from_row(selected_shape)}
    named |= {key: KNOWN_SHAPES[key].shape for key in speed.compare_with}
    timings = time_shapes(list(named.values()), **speed.model_dump(exclude={"compare_with", "max_positions"}))
    medians = {
        key: (timing.median_ms, timing.lower_quartile_ms, timing.upper_quartile_ms)
        for key, timing in zip(named, timings, strict=True)
    }
    rows = speed_rows(
        named,
        medians,
        vocabulary_size=speed.vocabulary_size,
        max_positions=speed.max_positions,
        sequence_length=speed.sequence_length,
    )
    conditions = (
        "batch_size",
        "sequence_length",
        "num_threads",
        "timed_rounds",
        "vocabulary_size",
        "max_positions",
    )
    return pd.DataFrame(rows).assign(**speed.model_dump(include=set(conditions)))


def plot_speed(speed_table: pd.DataFrame) -> Any:
    """Median latency of each encoder."""
    from bort_kedro.pipelines.plots import speed_figure

    return speed_figure(speed_table)

"""Time a search over many candidates, all but its trainings and timings."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmarks.search.measured_space import bench_parameters
from bort_kedro.encoders.costs import candidate_counts
from bort_kedro.reporting.search_plots import pareto_figure, w_figure
from bort_kedro.search.candidates import order, problem_of
from bort_kedro.search.conclusion import conclude
from bort_kedro.search.growth import check_growth
from bort_kedro.search.loop import run_search
from bort_kedro.search.replay import Recorded
from bort_kedro.search.space import SpaceSettings, enumerate_shapes
from bort_kedro.search.strategies import build_strategy

LISTS: dict[int, dict[str, Sequence[int]]] = {
    300: {
        "num_hidden_layers": [2, 4, 6, 8, 10, 12],
        "num_attention_heads": [4, 8, 12, 16],
        "hidden_size": [512, 768, 1024],
        "intermediate_size": [256, 512, 768, 1024, 3072],
    },
    30_000: {
        "num_hidden_layers": range(1, 26),
        "num_attention_heads": [1, 2, 4, 8],
        "hidden_size": range(64, 64 + 15 * 64, 64),
        "intermediate_size": range(64, 64 + 20 * 64, 64),
    },
}


def overhead_seconds(num_candidates: int) -> float:
    """Wall time of a search over so many candidates with plots; errors follow a made-up law."""
    began = time.perf_counter()
    space = enumerate_shapes(SpaceSettings(**LISTS[num_candidates]))
    if len(space.shapes) != num_candidates:
        raise ValueError(f"the lists give {len(space.shapes)} candidates, expected {num_candidates}")
    sizes = {"vocabulary_size": 50_265, "max_positions": 512, "sequence_length": 128}
    check_growth(space.shapes, **sizes).sentence()
    rows = pd.DataFrame([shape.to_row() for shape in space.shapes])
    candidates = rows.assign(**candidate_counts(space.shapes, **sizes), latency_ms=np.nan)
    candidates["cost"] = candidates["operations"].astype(float)
    ordered = order(candidates).assign(latency_source="modelled")
    errors = 0.3 + (ordered["layer_parameters"] / ordered["layer_parameters"].max()) ** -0.1
    maximum = ordered.iloc[-1].to_dict() | {"error": 1.0, "error_standard_error": 0.0}
    maximum |= {name: 2 * maximum[name] for name in ("parameters", "cost")}
    settings = bench_parameters().search.changed(budget=60, error_measure="error")
    problem = problem_of(ordered, maximum, measure="error", budget=60, trials_per_round=2)
    recorded = Recorded(errors.to_numpy(float), np.full(len(ordered), 0.01), {})
    trace = run_search(build_strategy("surrogate", problem), recorded)
    found = pd.DataFrame(
        {
            "candidate": index,
            "share": 1.0,
            "error": outcome.error,
            "error_standard_error": 0.01,
            "seconds": 0.0,
            "num_tokens": 0,
        }
        for index, outcome in trace.outcomes.items()
    )
    result, selected, _ = conclude(ordered, found, maximum, settings=settings, baseline_errors={})
    pareto_figure(result, selected, maximum, measure="error").to_json()
    w_figure(result, selected).to_json()
    return time.perf_counter() - began

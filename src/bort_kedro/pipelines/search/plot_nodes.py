"""Nodes that draw what the search found."""

import pandas as pd
from plotly.graph_objects import Figure

from bort_kedro.encoders.costs import count_operations, count_parameters
from bort_kedro.encoders.shapes import KNOWN_SHAPES
from bort_kedro.frozen import JsonObject
from bort_kedro.latency.model import Calibration
from bort_kedro.search.report import SearchReport
from bort_kedro.search.settings import SearchSettings


def plot_choice(
    candidate_table: pd.DataFrame,
    selected_shape: dict[str, int],
    maximum_point: JsonObject,
    search_report: SearchReport,
) -> tuple[Figure, Figure]:
    """Error against parameters with the front, the choice and known shapes; W over the space."""
    from bort_kedro.reporting.search_plots import pareto_figure, w_figure

    source, sizes = search_report.error_source, search_report.sizes
    measure = "recorded" if search_report.is_recorded else search_report.error_measure
    known = _known_shapes(**dict(sizes)) if sizes else []
    pareto = pareto_figure(candidate_table, selected_shape, maximum_point, measure=measure, known_shapes=known)
    return pareto, w_figure(candidate_table, selected_shape, error_source=source)


def _known_shapes(*, vocabulary_size: int, max_positions: int, sequence_length: int) -> list[JsonObject]:
    """Encoders people know, counted with this corpus' vocabulary, so that they compare with the candidates."""
    return [
        {
            "title": known.title,
            **known.shape.to_row(),
            "parameters": count_parameters(
                known.shape, vocabulary_size=vocabulary_size, max_positions=max_positions
            ).total,
            "operations": count_operations(known.shape, sequence_length=sequence_length).total,
        }
        for known in KNOWN_SHAPES.values()
    ]


def plot_search_training(
    candidate_history: pd.DataFrame,
    latency_check: pd.DataFrame,
    latency_calibration: Calibration,
    search: SearchSettings,
    maximum_point_history: pd.DataFrame | None = None,
) -> tuple[Figure, Figure]:
    """Error by step of every training, which an opened T has none of; predicted against measured latency."""
    from bort_kedro.reporting.plots import error_by_step_figure, latency_figure

    finished = candidate_history[
        candidate_history["share"] == candidate_history.groupby("shape")["share"].transform("max")
    ]
    of_maximum = [] if maximum_point_history is None else [maximum_point_history.assign(shape="maximum point")]
    history = pd.concat([finished, *of_maximum], ignore_index=True)
    # Trainings follow the loss and the error alone.
    measure = "error" if search.error_measure == "error" else "loss"
    curves = error_by_step_figure(history, measure=measure)
    return curves, latency_figure(latency_check, latency_calibration)


def plot_comparison(strategy_comparison: pd.DataFrame) -> Figure:
    """What each strategy would have found on a recorded table, by number of trainings."""
    from bort_kedro.reporting.comparison_plots import comparison_figure

    return comparison_figure(strategy_comparison, measure="error")

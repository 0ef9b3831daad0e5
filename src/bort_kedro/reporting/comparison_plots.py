"""The figure that compares strategies on errors that are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bort_kedro.reporting.plots import CURVE_COLORS, OTHER_COLOR, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plotly.basedatatypes import BaseTraceType
    from plotly.graph_objects import Figure

# What the title of the comparison holds the best strategy against, and the share that both are to reach.
REFERENCE_STRATEGY, SHARE_TO_REACH = "fptas", 0.95
HALVING = "successive_halving"
STATISTICS = {"hypervolume": "hypervolume of parameters, cost and {measure}", "w": "largest W, by {measure}"}


def comparison_figure(comparison: pd.DataFrame, *, measure: str) -> Figure:
    """What each strategy has found by its budget, the mean over parts of a table in a band, best in the accent colour.

    The best is that of the largest hypervolume. Columns are ``strategy``, ``trainings`` (budget in full trainings),
    ``statistic`` (``hypervolume`` or ``w``), ``mean``, ``lower`` and ``upper``, shares of the best that the whole space
    gives.
    """
    from plotly.subplots import make_subplots

    curves = {
        str(strategy): rows.sort_values("trainings")
        for strategy, rows in comparison[comparison["statistic"] == "hypervolume"].groupby("strategy", sort=False)
    }
    areas = _mean_heights(curves)
    # The best first in the legend, in the accent colour, and drawn on top.
    ranked = sorted(curves, key=lambda name: -areas[name])
    figure = make_subplots(
        cols=2, subplot_titles=[title.format(measure=measure) for title in STATISTICS.values()], horizontal_spacing=0.08
    )
    for number, strategy in reversed(list(enumerate(ranked))):
        for column, statistic in enumerate(STATISTICS, start=1):
            rows = comparison[(comparison["strategy"] == strategy) & (comparison["statistic"] == statistic)]
            if len(rows):
                traces = _band(rows.sort_values("trainings"), strategy, number, shows_legend=column == 1)
                figure.add_traces(traces, rows=1, cols=column)
    figure.add_hline(y=SHARE_TO_REACH, line={"color": OTHER_COLOR, "width": 1, "dash": "dot"}, row=1, col=1)
    budget = {"title": {"text": "budget, full trainings"}}
    figure.update_layout(xaxis2=budget, yaxis2={"tickformat": ".0%"})
    share = {"title": {"text": "share of the best: mean and band over random parts of the table"}, "tickformat": ".0%"}
    styled(figure, title=_comparison_title(curves, ranked), x=budget, y=share)
    # Room for the titles of the panels.
    return figure.update_layout(margin={"t": 90})


def _band(rows: pd.DataFrame, strategy: str, number: int, *, shows_legend: bool) -> list[BaseTraceType]:
    import plotly.graph_objects as go

    color = CURVE_COLORS[number % len(CURVE_COLORS)]
    # The colours come round again with another dash.
    dash = ("solid", "dash", "dot")[number // len(CURVE_COLORS) % 3]
    there_and_back = pd.concat([rows, rows[::-1]])
    edges = [*rows["upper"], *rows["lower"][::-1]]
    # A table has no errors of unfinished trainings, which flatters the strategy that lives on them.
    note = " (sees final errors on every rung here)" if strategy == HALVING else ""
    shared = {"legendgroup": strategy, "name": f"{strategy}{note}"}
    return [
        go.Scatter(
            x=there_and_back["trainings"],
            y=edges,
            mode="lines",
            fill="toself",
            opacity=0.15,
            fillcolor=color,
            line={"width": 0, "color": color},
            showlegend=False,
            hoverinfo="skip",
            **shared,
        ),
        go.Scatter(
            x=rows["trainings"],
            y=rows["mean"],
            mode="lines",
            line={"color": color, "dash": dash, "width": 3 if number == 0 else 2},
            showlegend=shows_legend,
            legendrank=number,
            hovertemplate="%{x:.4g} trainings: %{y:.1%}<extra>" + strategy + "</extra>",
            **shared,
        ),
    ]


def _mean_heights(curves: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Mean of each curve over the budgets that all of them cover: the area under it, by the width."""
    from scipy.integrate import trapezoid

    start = max(float(rows["trainings"].iloc[0]) for rows in curves.values())
    end = min(float(rows["trainings"].iloc[-1]) for rows in curves.values())
    budgets = np.unique(np.concatenate([rows["trainings"].to_numpy(float) for rows in curves.values()]))
    budgets = budgets[(budgets >= start) & (budgets <= end)]
    if len(budgets) < 2:
        return {name: float(rows["mean"].mean()) for name, rows in curves.items()}
    return {
        name: float(trapezoid(np.interp(budgets, rows["trainings"], rows["mean"]), budgets) / (end - start))
        for name, rows in curves.items()
    }


def _comparison_title(curves: Mapping[str, pd.DataFrame], ranked: Sequence[str]) -> str:
    """The best strategy against the reference, or against the next best where the reference itself is best."""
    best, *others = ranked
    rivals = [name for name in others if REFERENCE_STRATEGY in (best, name)][:1]
    reached = [f"{name} {_budget_to_reach(curves[name])}" for name in (best, *rivals)]
    return f"Best by hypervolume: {', '.join(reached)} for {100 * SHARE_TO_REACH:.0f} % of it"


def _budget_to_reach(rows: pd.DataFrame) -> str:
    """The first budget whose mean is high enough, in words."""
    reached = rows.loc[rows["mean"] >= SHARE_TO_REACH, "trainings"]
    if reached.empty:
        return f"needs more than {rows['trainings'].iloc[-1]:,g} trainings"
    return f"needs {reached.iloc[0]:,g} trainings"

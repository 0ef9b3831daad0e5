"""Plotly figures of the stages; every title states what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from bort_kedro.core.markdown import large
from bort_kedro.core.shapes import BertShape

if TYPE_CHECKING:
    from collections.abc import Mapping

CHOSEN_COLOR, FRONT_COLOR, OTHER_COLOR, REFERENCE_COLOR = "#d62728", "#1f77b4", "#9aa0a6", "#2c2c2c"


class Measure(NamedTuple):
    """How an error of the search is shown."""

    scale: float
    title: str


MEASURES = {
    "error": Measure(100.0, "error: hidden tokens guessed wrong, %"),
    "loss": Measure(1.0, "masked-LM loss on held-out text, nats"),
}
CURVE_COLORS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")


def pareto_figure(
    candidate_table: pd.DataFrame,
    selected: Mapping[str, Any],
    maximum_point: Mapping[str, Any],
    *,
    cost: str = "parameters",
    measure: str = "error",
) -> Any:
    """Error of the trained candidates against what they cost, with front, choice and maximum point.

    Args:
        candidate_table: As the search writes it.
        selected: The chosen shape, at least its four values.
        maximum_point: Row of the maximum point.
        cost: ``parameters`` or ``operations``; the horizontal axis, logarithmic.
        measure: ``error`` or ``loss``, whichever W took; the vertical axis.
    """
    import plotly.graph_objects as go

    trained = candidate_table[candidate_table["is_trained"]]
    shape = BertShape.from_row(selected)
    is_chosen = trained["is_selected"].astype(bool)
    is_front = trained["is_pareto"].astype(bool)
    front = trained[is_front].sort_values(cost)
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=front[cost],
            y=MEASURES[measure].scale * front[measure],
            mode="lines",
            name="Pareto front",
            line={"color": FRONT_COLOR, "width": 1.5, "dash": "dot"},
            hoverinfo="skip",
        )
    )
    layers = (
        ("other candidates", trained[~is_front & ~is_chosen], OTHER_COLOR, "circle", 8),
        ("on the front", trained[is_front & ~is_chosen], FRONT_COLOR, "circle", 10),
        ("chosen: largest W", trained[is_chosen], CHOSEN_COLOR, "star", 18),
        ("maximum point", pd.DataFrame([dict(maximum_point)]), REFERENCE_COLOR, "diamond", 11),
    )
    for name, rows, color, symbol, size in layers:
        if len(rows):
            figure.add_trace(
                _points(rows, cost=cost, measure=measure, name=name, color=color, symbol=symbol, size=size)
            )
    chosen_cost = float(trained.loc[is_chosen, cost].iloc[0])
    ratio = maximum_point[cost] / chosen_cost
    return _styled(
        figure,
        title=f"Chosen: {shape}, {ratio:,.0f} times fewer {cost} than the maximum point",
        x={"title": {"text": f"{cost}, logarithmic"}, "type": "log"},
        y={"title": {"text": MEASURES[measure].title}},
    )


def _points(rows: pd.DataFrame, *, cost: str, measure: str, name: str, color: str, symbol: str, size: int) -> Any:
    import plotly.graph_objects as go

    scale = MEASURES[measure].scale
    return go.Scatter(
        x=rows[cost],
        y=scale * rows[measure],
        error_y={"type": "data", "array": scale * rows[f"{measure}_standard_error"], "thickness": 1, "width": 3},
        mode="markers",
        name=name,
        marker={"color": color, "symbol": symbol, "size": size},
        text=[_hover(row) for row in rows.to_dict("records")],
        hovertemplate="%{text}<extra>" + name + "</extra>",
    )


def _hover(row: Mapping[str, Any]) -> str:
    lines = [
        f"<b>{BertShape.from_row(row)}</b>",
        f"{large(row['parameters'])} parameters, {large(row['operations'])} operations",
        f"error {100 * row['error']:.1f} ± {100 * row['error_standard_error']:.1f} %",
    ]
    for column, label in (("w", "W {:.3f}"), ("latency_ms", "{:.2f} ms")):
        if not pd.isna(row.get(column)):
            lines.append(label.format(row[column]))
    return "<br>".join(lines)


def training_curves_figure(history: pd.DataFrame) -> Any:
    """Masked accuracy by step, one line for each training.

    Args:
        history: Columns ``step``, ``masked_accuracy`` and ``model``, the name of the training.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    ends = {}
    for number, (name, rows) in enumerate(history.groupby("model", sort=False)):
        smooth = rows["masked_accuracy"].rolling(_window(len(rows)), min_periods=1).mean()
        ends[name] = float(smooth.iloc[-1])
        color = CURVE_COLORS[number % len(CURVE_COLORS)]
        figure.add_trace(
            go.Scatter(
                x=rows["step"],
                y=100 * rows["masked_accuracy"],
                mode="lines",
                line={"color": color, "width": 1},
                opacity=0.25,
                legendgroup=str(name),
                showlegend=False,
                hoverinfo="skip",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=rows["step"],
                y=100 * smooth,
                mode="lines",
                name=str(name),
                line={"color": color, "width": 2.5},
                legendgroup=str(name),
                hovertemplate="step %{x}: %{y:.1f} %<extra>" + str(name) + "</extra>",
            )
        )
    reached = ", ".join(f"{name} {100 * end:.0f} %" for name, end in ends.items())
    return _styled(
        figure,
        title=f"Masked accuracy at the end of training: {reached}",
        x={"title": {"text": "optimiser step"}},
        y={"title": {"text": "hidden training tokens guessed right, % (thick: running mean)"}},
    )


def _window(count: int) -> int:
    """Rows of the running mean: a tenth of the curve."""
    return max(1, count // 10)


def speed_figure(speed_table: pd.DataFrame) -> Any:
    """Median time of a pass of each encoder, quartiles as error bars, the fastest on top."""
    import plotly.graph_objects as go

    rows = speed_table.sort_values("median_ms", ascending=False)
    labels = [f"{row['name']} {BertShape.from_row(row)}" for row in rows.to_dict("records")]
    figure = go.Figure(
        go.Bar(
            x=rows["median_ms"],
            y=labels,
            orientation="h",
            marker={"color": [CHOSEN_COLOR if chosen else OTHER_COLOR for chosen in rows["is_chosen"]]},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": rows["upper_quartile_ms"] - rows["median_ms"],
                "arrayminus": rows["median_ms"] - rows["lower_quartile_ms"],
            },
            text=[f"{value:.2f} ms" for value in rows["median_ms"]],
            textposition="outside",
            hovertemplate="%{y}: %{x:.2f} ms<extra></extra>",
        )
    )
    chosen = rows[rows["is_chosen"]].iloc[0]
    slowest = rows.iloc[0]
    ratio = slowest["median_ms"] / chosen["median_ms"]
    finding = (
        "The chosen shape is the slowest of those timed"
        if slowest["is_chosen"]
        else f"The chosen shape is {ratio:,.1f} times faster than {slowest['name']}"
    )
    tokens = f"{chosen['batch_size']} x {chosen['sequence_length']} tokens"
    conditions = f"{tokens}, {chosen['num_threads']} thread(s), no head"
    return _styled(
        figure,
        title=f"{finding} ({conditions})",
        x={"title": {"text": "milliseconds a pass, median and quartiles, logarithmic"}, "type": "log"},
        y={"automargin": True},
    )


def _styled(figure: Any, *, title: str, x: dict[str, Any], y: dict[str, Any]) -> Any:
    figure.update_layout(
        template="plotly_white",
        title={"text": title, "font": {"size": 16}},
        xaxis=x,
        yaxis=y,
        legend={"orientation": "h", "y": -0.2},
        margin={"t": 60, "r": 30},
    )
    return figure

"""Plotly figures of curves and timings, and the look all figures share; every title states what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bort_kedro.encoders.shapes import BertShape, shape_text
from bort_kedro.frozen import JsonObject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plotly.basedatatypes import BaseTraceType
    from plotly.graph_objects import Figure

    from bort_kedro.latency.model import Calibration

CHOSEN_COLOR, FRONT_COLOR, OTHER_COLOR, REFERENCE_COLOR = "#d62728", "#1f77b4", "#9aa0a6", "#2c2c2c"
CURVE_COLORS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")
MAXIMUM_POINT = "maximum point"
NO_HEAD, WITH_HEAD = "no head", "masked-LM head over all positions"
# More lines than this are named on hovering only.
MOST_LEGEND_ENTRIES = 12
# The unit of the error of a training, and the title of its axis.
STEP_MEASURES = {
    "loss": ("nats", "training loss, nats (running mean)"),
    "error": ("%", "hidden training tokens guessed wrong, % (running mean)"),
}


def training_curves_figure(history: pd.DataFrame) -> Figure:
    """Masked accuracy by step, one line for each training.

    Columns are ``step``, ``masked_accuracy`` and ``model``, the name of the training. One that predicts nothing has no
    accuracy, and no line.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    ends = {}
    for number, (name, rows) in enumerate(history.dropna(subset="masked_accuracy").groupby("model", sort=False)):
        smooth = running_mean(rows["masked_accuracy"])
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
    return styled(
        figure,
        title=f"Masked accuracy at the end of training: {reached}",
        x={"title": {"text": "optimiser step"}},
        y={"title": {"text": "hidden training tokens guessed right, % (thick: running mean)"}},
    )


def error_by_step_figure(history: pd.DataFrame, *, measure: str = "loss") -> Figure:
    """Training loss or error by step, one line for each short training, darker the lower it ends.

    Columns are ``shape`` (text, ``maximum point`` for T), ``step``, ``loss`` in nats, ``masked_lm_loss``, its part with
    the true tokens where a teacher adds others, and ``masked_accuracy``, which trainings that predict nothing lack;
    these have no line. The measure is ``loss``, or ``error``, the share of hidden training tokens guessed wrong.
    """
    import plotly.graph_objects as go
    from plotly.colors import sample_colorscale

    unit, title = STEP_MEASURES[measure]
    axes = {"x": {"title": {"text": "optimiser step"}}, "y": {"title": {"text": title}}}
    columns = ["shape", "step", "loss", "masked_lm_loss", "masked_accuracy"]
    history = history.reindex(columns=columns).dropna(subset="masked_accuracy")
    if history.empty:
        return styled(go.Figure(), title="No training to show: no error was measured here", **axes)
    losses = history["masked_lm_loss"].fillna(history["loss"])
    values = losses if measure == "loss" else 100 * (1 - history["masked_accuracy"])
    curves = {
        str(shape): rows.assign(shown=running_mean(rows["shown"]))
        for shape, rows in history.assign(shown=values).groupby("shape", sort=False)
    }
    ends = {shape: float(rows["shown"].iloc[-1]) for shape, rows in curves.items()}
    # The lowest are drawn last, hence on top.
    candidates = sorted((shape for shape in curves if shape != MAXIMUM_POINT), key=ends.__getitem__, reverse=True)
    colors = sample_colorscale("Blues", np.linspace(0.3, 1, max(2, len(candidates))).tolist())[-len(candidates) :]
    lines = {shape: {"color": color, "width": 1.5} for shape, color in zip(candidates, colors, strict=False)}
    if MAXIMUM_POINT in curves:
        lines[MAXIMUM_POINT] = {"color": "black", "width": 4}
    figure = go.Figure()
    for shape, line in lines.items():
        figure.add_trace(
            go.Scatter(
                x=curves[shape]["step"],
                y=curves[shape]["shown"],
                mode="lines",
                name=shape,
                line=line,
                showlegend=shape == MAXIMUM_POINT or len(candidates) <= MOST_LEGEND_ENTRIES,
                hovertemplate=f"step %{{x}}: %{{y:.3f}} {unit}<extra>" + shape + "</extra>",
            )
        )
    figure.update_layout(legend={"traceorder": "reversed"}, hovermode="closest")
    return styled(figure, title=f"Training {measure} ends {_ends(candidates, ends, unit)}", **axes)


def _ends(candidates: Sequence[str], ends: Mapping[str, float], unit: str) -> str:
    """Where the lowest and the highest curve end; candidates come highest first."""
    named = [f"{ends[shape]:.2f} {unit} ({shape})" for shape in candidates or [MAXIMUM_POINT]]
    parts = [f"between {named[-1]} and {named[0]}"] if len(named) > 1 else [f"at {name}" for name in named]
    if candidates and MAXIMUM_POINT in ends:
        parts.append(f"maximum point {ends[MAXIMUM_POINT]:.2f}")
    return ", ".join(parts)


def running_mean(values: pd.Series) -> pd.Series:
    """Mean over the last tenth of the curve's rows at each row; over fewer where it begins."""
    return values.rolling(max(1, len(values) // 10), min_periods=1).mean()


def speed_figure(speed_table: pd.DataFrame) -> Figure:
    """Median time of a pass of each encoder, its 95 % interval as error bars, the fastest on top.

    Shown are the rows of the first condition, and beside them the same with a masked-LM head where that was timed.
    """
    import plotly.graph_objects as go

    rows = speed_table[speed_table["is_reference"]].sort_values("median_ms", ascending=False)
    chosen, slowest = rows[rows["is_chosen"]].iloc[0], rows.iloc[0]
    same = [speed_table[name] == chosen[name] for name in ("batch_size", "sequence_length", "num_threads", "device")]
    with_head = speed_table[np.logical_and.reduce([*same, speed_table["has_head"]])]
    # The trace that comes last is drawn on top.
    figure = go.Figure(
        [_speed_bars(each, name) for each, name in ((with_head, WITH_HEAD), (rows, NO_HEAD)) if len(each)]
    )
    ratio = slowest["median_ms"] / chosen["median_ms"]
    finding = (
        "The chosen shape is the slowest of those timed"
        if slowest["is_chosen"]
        else f"The chosen shape is {ratio:,.1f} times faster than {slowest['name']}"
    )
    tokens = f"{chosen['batch_size']} x {chosen['sequence_length']} tokens"
    figure.update_layout(legend={"traceorder": "reversed"})
    return styled(
        figure,
        title=f"{finding} ({tokens}, {chosen['num_threads']} thread(s), no head)",
        x={"title": {"text": "milliseconds a pass, median and its 95 % interval, logarithmic"}, "type": "log"},
        # Slowest first, whichever trace has it.
        y={"automargin": True, "categoryorder": "array", "categoryarray": _speed_labels(rows)},
    )


def _speed_labels(rows: pd.DataFrame) -> list[str]:
    return [f"{row['name']} {BertShape.from_row(row)}" for row in rows.to_dict("records")]


def _speed_bars(rows: pd.DataFrame, name: str) -> BaseTraceType:
    import plotly.graph_objects as go

    return go.Bar(
        name=name,
        x=rows["median_ms"],
        y=_speed_labels(rows),
        orientation="h",
        marker={"color": [CHOSEN_COLOR if chosen else OTHER_COLOR for chosen in rows["is_chosen"]]},
        opacity=1.0 if name == NO_HEAD else 0.45,
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rows["interval_high_ms"] - rows["median_ms"],
            "arrayminus": rows["median_ms"] - rows["interval_low_ms"],
        },
        text=[f"{value:.2f} ms" for value in rows["median_ms"]],
        textposition="outside",
        hovertemplate="%{y}: %{x:.2f} ms<extra>" + name + "</extra>",
    )


def latency_figure(latency_table: pd.DataFrame, calibration: Calibration) -> Figure:
    """Latency predicted from the counts of operations against the one measured, both logarithmic.

    Columns are the four shape values, ``latency_ms`` as measured, and ``latency_leave_one_out_ms``, the prediction of
    the model that did not see the row; rows that lack one of the two are left out.
    """
    import plotly.graph_objects as go

    rows = latency_table.dropna(subset=["latency_ms", "latency_leave_one_out_ms"])
    figure = go.Figure()
    if len(rows):
        both = rows[["latency_ms", "latency_leave_one_out_ms"]].to_numpy(float)
        ends = [both.min(), both.max()]
        figure.add_trace(
            go.Scatter(
                x=ends,
                y=ends,
                mode="lines",
                name="predicted = measured",
                line={"color": REFERENCE_COLOR, "width": 1, "dash": "dot"},
                hoverinfo="skip",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=rows["latency_ms"],
                y=rows["latency_leave_one_out_ms"],
                mode="markers",
                name="measured shapes",
                marker={"color": FRONT_COLOR, "size": 9},
                text=[shape_text(row) for row in rows.to_dict("records")],
                hovertemplate="<b>%{text}</b><br>measured %{x:.3f} ms<br>predicted %{y:.3f} ms<extra></extra>",
            )
        )
    return styled(
        figure,
        title=_latency_title(calibration),
        x={"title": {"text": "measured milliseconds a pass, logarithmic"}, "type": "log"},
        y={"title": {"text": "predicted without that shape, milliseconds, logarithmic"}, "type": "log"},
    )


def _latency_title(calibration: Calibration) -> str:
    count, residual = calibration.num_measured, calibration.median_relative_residual
    if count == 0:
        return "No latency was measured"
    if calibration.rank_correlation is None or residual is None:
        return f"Latency from operations: {count} measured, too few to judge the prediction"
    correlation = f"rank correlation {calibration.rank_correlation:.2f}"
    return f"Latency from operations: {correlation}, median residual {100 * residual:.0f} %"


def styled(figure: Figure, *, title: str, x: JsonObject, y: JsonObject) -> Figure:
    """The figure with the look that all share, its title, and its first two axes."""
    figure.update_layout(
        template="plotly_white",
        title={"text": title, "font": {"size": 16}},
        xaxis=x,
        yaxis=y,
        legend={"orientation": "h", "y": -0.2},
        margin={"t": 60, "r": 30},
    )
    return figure

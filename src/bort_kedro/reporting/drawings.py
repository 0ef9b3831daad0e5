"""A Plotly figure as SVG, for texts whose readers run no scripts.

Plotly itself draws an image only with a browser at hand. Here Matplotlib draws the same figure again: its traces of
points, lines and bars, error bars, axes, title and annotations, all read from the figure, so that nothing about it
is decided twice.
"""

from __future__ import annotations

import io
import re
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_kedro.frozen import JsonObject

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from plotly.basedatatypes import BaseTraceType
    from plotly.graph_objects import Figure

WIDTH, HEIGHT = 9.0, 5.0
# Plotly gives sizes of markers in pixels across, Matplotlib in points; 96 pixels and 72 points are an inch.
POINTS_PER_PIXEL = 0.75
SYMBOLS = {"circle": "o", "diamond": "D", "line-ns": "|", "square": "s", "star": "*", "x": "x"}
BAR_HEIGHT = 0.8
LETTERS_A_LINE = 100
DASHES = {"solid": "-", "dot": ":", "dash": "--"}
OTHER_COLOR = "#9aa0a6"


def draw_svg(figure: Figure) -> str:
    """The figure as SVG; equal figures give equal texts.

    It has `Scatter` and horizontal `Bar` traces on one pair of axes; traces on a second vertical axis are ticks along
    the top edge.

    Raises:
        ValueError: If a trace is of another kind.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "bort_kedro", "text.parse_math": False, "font.size": 9}):
        canvas = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = canvas.add_subplot()
        for trace in figure.data:
            if trace.type not in DRAWN:
                raise ValueError(f"a trace of kind {trace.type} cannot be drawn as SVG, only {', '.join(DRAWN)}")
            DRAWN[trace.type](axes, trace)
        _finish(axes, figure)
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _draw_scatter(axes: Axes, trace: BaseTraceType) -> None:
    x, y = (_numbers(values) for values in (trace.x, trace.y))
    # On the second vertical axis y goes from 0 to 1, over the height of the plot.
    transform = axes.get_xaxis_transform() if trace.yaxis == "y2" else axes.transData
    mode = trace.mode or "lines"
    style: JsonObject = {"transform": transform, "alpha": trace.opacity, "label": _label(trace)}
    if "lines" in mode:
        color, width = trace.line.color or OTHER_COLOR, POINTS_PER_PIXEL * (trace.line.width or 2)
        axes.plot(x, y, DASHES.get(trace.line.dash or "solid", "-"), color=color, linewidth=width, **style)
    if "markers" in mode:
        _draw_error_bars(axes, x, y, trace.error_y, is_vertical=True)
        axes.plot(x, y, linestyle="", clip_on=trace.cliponaxis is not False, zorder=3, **_marker(trace.marker), **style)
    if "text" in mode:
        for place, height, text in zip(x, y, trace.text, strict=True):
            axes.annotate(
                plain(text), (place, height), (0, -12), textcoords="offset points", ha="center", va="top", fontsize=8
            )


def _draw_bars(axes: Axes, trace: BaseTraceType) -> None:
    """Bars from the left edge, those of several traces beside each other."""
    figure = trace.parent
    beside = [each for each in figure.data if each.type == "bar"]
    categories = _categories(figure)
    height = BAR_HEIGHT / len(beside)
    offset = height * (beside.index(trace) - (len(beside) - 1) / 2)
    values, places = _numbers(trace.x), np.array([categories.index(name) + offset for name in trace.y])
    color = trace.marker.color if trace.marker.color is not None else OTHER_COLOR
    colors = [color] * len(values) if isinstance(color, str) else list(color)
    axes.barh(places, values, height=height, color=colors, alpha=trace.opacity, label=_label(trace))
    axes.set_yticks(range(len(categories)), categories)
    _draw_error_bars(axes, values, places, trace.error_x, is_vertical=False)
    ends = values if trace.error_x.array is None else values + np.nan_to_num(_numbers(trace.error_x.array))
    for end, place, text in zip(ends, places, trace.text or (), strict=False):
        axes.annotate(plain(text), (end, place), (4, 0), textcoords="offset points", va="center", fontsize=8)


def _categories(figure: Figure) -> list[str]:
    """Names along the vertical axis, from below."""
    named = [name for trace in figure.data if trace.type == "bar" for name in trace.y]
    return list(figure.layout.yaxis.categoryarray or dict.fromkeys(named))


DRAWN = {"scatter": _draw_scatter, "bar": _draw_bars}


def _draw_error_bars(axes: Axes, x: np.ndarray, y: np.ndarray, bars: Any, *, is_vertical: bool) -> None:
    if bars.array is None:
        return
    above = _numbers(bars.array)
    below = _numbers(bars.arrayminus) if bars.symmetric is False else above
    lengths = {"yerr" if is_vertical else "xerr": np.nan_to_num(np.stack([below, above]))}
    axes.errorbar(x, y, fmt="none", ecolor=bars.color or "black", elinewidth=0.8, capsize=2, **lengths)


def _marker(marker: Any) -> JsonObject:
    symbol = marker.symbol or "circle"
    color = marker.color or OTHER_COLOR
    is_open = symbol.endswith("-open")
    return {
        "marker": SYMBOLS[symbol.removesuffix("-open")],
        "markersize": POINTS_PER_PIXEL * (marker.size or 6),
        "markeredgecolor": color,
        "markerfacecolor": "none" if is_open else color,
    }


def _finish(axes: Axes, figure: Figure) -> None:
    """Title, axes, annotations and legend."""
    from matplotlib.ticker import EngFormatter, NullFormatter

    layout, has_bars = figure.layout, any(trace.type == "bar" for trace in figure.data)
    title = textwrap.fill(plain(layout.title.text or ""), LETTERS_A_LINE)
    axes.figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=11)
    axes.set_xlabel(plain(layout.xaxis.title.text or ""))
    axes.set_ylabel(plain(layout.yaxis.title.text or ""))
    for axis, known in ((axes.xaxis, layout.xaxis), (axes.yaxis, layout.yaxis)):
        if known.type == "log":
            axes.set(**{f"{axis.axis_name}scale": "log"})
            axis.set_major_formatter(EngFormatter(sep=""))
            axis.set_minor_formatter(NullFormatter())
    for note in layout.annotations:
        # Plotly gives places on a logarithmic axis as exponents, and angles clockwise.
        place = 10**note.x if layout.xaxis.type == "log" else note.x
        axes.annotate(
            plain(note.text),
            (place, note.y),
            (0, note.yshift or 0),
            xycoords=("data", "axes fraction" if note.yref == "paper" else "data"),
            textcoords="offset points",
            rotation=-(note.textangle or 0),
            rotation_mode="anchor",
            fontsize=7,
        )
    axes.grid(axis="x" if has_bars else "both", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        if layout.legend.traceorder == "reversed":
            handles, labels = handles[::-1], labels[::-1]
        axes.figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)


def plain(text: str) -> str:
    """Text of Plotly without markup; its ``<br>`` become line ends."""
    return re.sub(r"<[^>]+>", "", re.sub(r"<br\s*/?>", "\n", text))


def _label(trace: BaseTraceType) -> str | None:
    return None if trace.showlegend is False or not trace.name else plain(trace.name)


def _numbers(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=float)

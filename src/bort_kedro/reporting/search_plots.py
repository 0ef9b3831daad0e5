"""Plotly figures of the candidates of a search; every title states what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bort_kedro.encoders.shapes import SHAPE_COLUMNS, shape_text
from bort_kedro.frozen import JsonObject, TableRow
from bort_kedro.reporting.markdown import large, percent, with_noise
from bort_kedro.reporting.plots import CHOSEN_COLOR, FRONT_COLOR, OTHER_COLOR, REFERENCE_COLOR, styled
from bort_kedro.search.measures import BESIDE_ERROR, MEASURES, Measure, guesses_tokens
from bort_kedro.statistics import is_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plotly.basedatatypes import BaseTraceType
    from plotly.graph_objects import Figure


# How an error of the search is shown; those of a table may be losses as well.
AXES = MEASURES | {"recorded": Measure("recorded error", "", "error")}
# Shapes on the rug whose costs differ by less than this share of the axis have one label, one title a line.
SHARED_LABEL_WIDTH = 0.02
# The browser draws more points than this with WebGL only.
MOST_POINTS_WITHOUT_WEBGL = 2000
# More depths than this are shown on a continuous scale of colours.
MOST_DISCRETE_DEPTHS = 8


def pareto_figure(
    candidate_table: pd.DataFrame,
    selected: TableRow,
    maximum_point: TableRow,
    *,
    cost: str = "parameters",
    measure: str = "error",
    known_shapes: Sequence[TableRow] = (),
) -> Any:
    """Error of the trained candidates against what they cost, with front, choice and maximum point.

    Args:
        candidate_table: As the search writes it.
        selected: The four values of the chosen shape.
        maximum_point: ``is_network`` False says that it is a point above a recorded table, so that its shape was not
            trained.
        cost: ``parameters`` or ``operations``; the horizontal axis, logarithmic.
        measure: Of `measures.MEASURES`, whichever W took, or ``recorded`` for the error of a table; the vertical axis.
        known_shapes: Rows with ``title``, the four values, ``parameters`` and ``operations``. Those trained here are
            named at their place; of the others only the cost is known, so they are ticks along the top edge.
    """
    import plotly.graph_objects as go

    shown = AXES[measure]
    is_network = maximum_point.get("is_network", True)
    maximum_name = "maximum point" if is_network else "maximum point, made up: no network"
    trained = candidate_table[candidate_table["is_trained"]]
    maximum_row = pd.DataFrame([dict(maximum_point)])
    is_chosen = trained["is_selected"].astype(bool)
    is_front = trained["is_pareto"].astype(bool)
    figure = go.Figure(_front_line(trained[is_front], cost=cost, measure=measure))
    layers = (
        ("other candidates", trained[~is_front & ~is_chosen], OTHER_COLOR, "circle", 8),
        ("on the front", trained[is_front & ~is_chosen], FRONT_COLOR, "circle", 10),
        ("chosen", trained[is_chosen], CHOSEN_COLOR, "star", 18),
        (maximum_name, maximum_row, REFERENCE_COLOR, "diamond" if is_network else "diamond-open", 11),
    )
    for name, rows, color, symbol, size in layers:
        if len(rows):
            figure.add_trace(
                _points(rows, cost=cost, measure=measure, name=name, color=color, symbol=symbol, size=size)
            )
    ratio = maximum_point[cost] / float(trained.loc[is_chosen, cost].iloc[0])
    styled(
        figure,
        title=f"Chosen: {shape_text(selected)}, {_ratio(ratio)} times fewer {cost} than the maximum point",
        x={"title": {"text": f"{cost}, logarithmic"}, "type": "log"},
        y={"title": {"text": shown.title}},
    )
    if known_shapes:
        columns = [*SHAPE_COLUMNS, cost, shown.column]
        tables = [trained, maximum_row] if is_network else [trained]
        networks = pd.concat([table[columns] for table in tables])
        _add_known_shapes(figure, known_shapes, networks, cost=cost, measure=measure)
    return figure


def _front_line(front: pd.DataFrame, *, cost: str, measure: str) -> list[BaseTraceType]:
    """The members of the front joined; a single one needs no line."""
    import plotly.graph_objects as go

    shown, ordered = AXES[measure], front.sort_values(cost)
    line = go.Scatter(
        x=ordered[cost],
        y=shown.scale * ordered[shown.column],
        mode="lines",
        name="Pareto front",
        line={"color": FRONT_COLOR, "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
    )
    return [line] if len(front) > 1 else []


def _ratio(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"


def _points(rows: pd.DataFrame, *, cost: str, measure: str, name: str, color: str, symbol: str, size: int) -> Any:
    import plotly.graph_objects as go

    shown = AXES[measure]
    return go.Scatter(
        x=rows[cost],
        y=shown.scale * rows[shown.column],
        error_y=_error_bars(rows, shown.column, scale=shown.scale, color=color),
        mode="markers",
        name=name,
        marker={"color": color, "symbol": symbol, "size": size},
        text=[_hover(row, measure) for row in rows.to_dict("records")],
        hovertemplate="%{text}<extra>" + name + "</extra>",
    )


def _error_bars(rows: pd.DataFrame, column: str, *, scale: float = 1.0, color: str) -> JsonObject | None:
    """Bars of one standard error; None where none is known."""
    name = f"{column}_standard_error"
    if name not in rows or rows[name].isna().all():
        return None
    return {"type": "data", "array": scale * rows[name].astype(float), "thickness": 1, "width": 3, "color": color}


def _hover(row: TableRow, measure: str) -> str:
    lines = [f"<b>{shape_text(row) if row.get('is_network', True) else 'no network'}</b>", _costs(row)]
    if not is_missing(row.get("error")):
        write = percent if measure in MEASURES and guesses_tokens(measure) else with_noise
        lines.append(f"error {write(row['error'], row.get('error_standard_error'))}")
    others = {name: f"{name} {{:.3f}}" for name in BESIDE_ERROR}
    for column, label in {**others, "w": "W {:.3f}", "latency_ms": "{:.2f} ms a pass"}.items():
        if not is_missing(row.get(column)):
            lines.append(label.format(row[column]))
    return "<br>".join(lines)


def _costs(row: TableRow) -> str:
    return f"{large(row['parameters'])} parameters, {large(row.get('operations'))} operations"


def _add_known_shapes(
    figure: Figure, known_shapes: Sequence[TableRow], trained: pd.DataFrame, *, cost: str, measure: str
) -> None:
    """Name the known shapes among those trained, maximum point included; put the others on the rug."""
    import plotly.graph_objects as go

    titles = {shape_text(known): known["title"] for known in known_shapes}
    texts = [shape_text(row) for row in trained[list(SHAPE_COLUMNS)].to_dict("records")]
    known_here = trained[[text in titles for text in texts]]
    if len(known_here):
        figure.add_trace(
            go.Scatter(
                x=known_here[cost],
                y=AXES[measure].scale * known_here[AXES[measure].column],
                mode="markers+text",
                name="known shapes, trained here",
                marker={"color": REFERENCE_COLOR, "symbol": "circle-open", "size": 20},
                text=[titles[text] for text in texts if text in titles],
                textposition="bottom center",
                hoverinfo="skip",
            )
        )
    elsewhere = sorted((known for known in known_shapes if shape_text(known) not in texts), key=lambda row: row[cost])
    if elsewhere:
        _add_rug(figure, elsewhere, [*trained[cost], *(known[cost] for known in elsewhere)], cost=cost)


def _add_rug(figure: Figure, known_shapes: Sequence[TableRow], axis: Sequence[float], *, cost: str) -> None:
    """Ticks and slanted titles along the top edge, by rising cost; the axis has all costs."""
    import plotly.graph_objects as go

    name = "known shapes, cost only (not trained here)"
    figure.add_trace(
        go.Scatter(
            x=[known[cost] for known in known_shapes],
            y=[1.0] * len(known_shapes),
            yaxis="y2",
            mode="markers",
            name=name,
            marker={"color": REFERENCE_COLOR, "symbol": "line-ns-open", "size": 14},
            cliponaxis=False,
            text=[f"<b>{known['title']}</b> {shape_text(known)}<br>{_costs(known)}" for known in known_shapes],
            hovertemplate="%{text}<br>error unknown<extra>not trained here</extra>",
        )
    )
    labels: list[tuple[float, list[str]]] = []
    width = SHARED_LABEL_WIDTH * np.log10(max(axis) / min(axis))
    for known in known_shapes:
        place = float(np.log10(known[cost]))
        if labels and place - labels[-1][0] < width:
            labels[-1][1].append(known["title"])
        else:
            labels.append((place, [known["title"]]))
    for place, titles in labels:
        figure.add_annotation(
            x=place,
            y=1,
            yref="paper",
            yshift=6,
            xanchor="left",
            yanchor="bottom",
            text="<br>".join(titles),
            align="left",
            textangle=-45,
            showarrow=False,
            font={"size": 10, "color": REFERENCE_COLOR},
        )
    figure.update_layout(
        title={"y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 16}},
        margin={"t": 170, "r": 110},
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
    )


def w_figure(candidate_table: pd.DataFrame, selected: TableRow, *, error_source: str = "training") -> Figure:
    """W over the whole space: measured where a candidate was trained, predicted elsewhere, coloured by depth.

    Candidates on the unigram plateau or over a cap are not ranked; they are shown at their W, or at the predicted one
    where they have none. Rows with neither are left out.
    """
    import plotly.graph_objects as go

    known = "looked up" if error_source == "table" else "trained"
    table = candidate_table.assign(shown_w=candidate_table["w"].fillna(candidate_table["w_predicted"]))
    table = table[table["shown_w"].notna()]
    trained, meets_caps, chosen = (table[name].astype(bool) for name in ("is_trained", "meets_caps", "is_selected"))
    on_plateau = trained & table["is_on_plateau"].astype(bool)
    over_cap = trained & ~on_plateau & ~meets_caps
    others = trained & ~on_plateau & meets_caps & ~chosen
    color_of, color_axis = _depth_colors(table["num_hidden_layers"])
    by_depth, grey, accent = "depth", OTHER_COLOR, CHOSEN_COLOR
    layers = (
        (f"predicted, not {known}", ~trained, by_depth, "circle-open", 6, 0.4),
        ("over a cap: not ranked", over_cap, grey, "square-open", 9, 1),
        ("no better than guessing: not ranked", on_plateau, grey, "x", 9, 1),
        (known, others, by_depth, "circle", 10, 1),
        ("chosen", chosen, accent, "star", 18, 1),
    )
    # All in one kind: what WebGL draws hides what is drawn without it, whatever the order.
    scatter = go.Scattergl if len(table) > MOST_POINTS_WITHOUT_WEBGL else go.Scatter
    figure = go.Figure()
    for name, is_shown, color, symbol, size, opacity in layers:
        rows = table[is_shown]
        if rows.empty:
            continue
        colors = {"color": color_of(rows), "coloraxis": "coloraxis"} if color == by_depth else {"color": color}
        figure.add_trace(
            scatter(
                x=rows["parameters"],
                y=rows["shown_w"],
                error_y=_error_bars(rows, "w", color=OTHER_COLOR),
                mode="markers",
                name=name,
                marker={**colors, "symbol": symbol, "size": size, "opacity": opacity},
                text=[shape_text(row) for row in rows[list(SHAPE_COLUMNS)].to_dict("records")],
                hovertemplate="<b>%{text}</b><br>%{x:.3s} parameters<br>W %{y:.3f}<extra>" + name + "</extra>",
            )
        )
    figure.update_layout(coloraxis=color_axis)
    return styled(
        figure,
        title=_w_title(table[chosen].iloc[0], selected, table[others]),
        x={"title": {"text": "parameters, logarithmic"}, "type": "log"},
        y={"title": {"text": "W (bars: one standard error)" if table["w_standard_error"].notna().any() else "W"}},
    )


def _w_title(chosen: pd.Series, selected: TableRow, others: pd.DataFrame) -> str:
    title = f"Chosen: {shape_text(selected)} with W {chosen['w']:.3f}"
    if others.empty:
        return f"{title}, the only candidate ranked"
    second = others.loc[others["w"].idxmax()]
    return f"{title}; best of the others: {shape_text(second)} with {second['w']:.3f}"


def _depth_colors(depths: pd.Series) -> tuple[Callable[[pd.DataFrame], list[int]], JsonObject]:
    """How rows are put on the colour axis, and that axis: a step for each depth, or continuous where they are many."""
    from plotly.colors import sample_colorscale

    values = sorted(int(depth) for depth in depths.unique())
    title = {"text": "layers"}
    if len(values) > MOST_DISCRETE_DEPTHS:
        # The yellow end cannot be seen on white.
        scale = sample_colorscale("Viridis", np.linspace(0, 0.9, 10).tolist())
        return lambda rows: rows["num_hidden_layers"].astype(int).tolist(), {
            "colorscale": scale,
            "colorbar": {"title": title},
        }
    count = len(values)
    steps = sample_colorscale("Viridis", np.linspace(0, 0.9, count).tolist())
    colorscale = [(edge / count, color) for number, color in enumerate(steps) for edge in (number, number + 1)]
    number_of = {value: number for number, value in enumerate(values)}
    return lambda rows: [number_of[int(depth)] for depth in rows["num_hidden_layers"]], {
        "colorscale": colorscale,
        "cmin": -0.5,
        "cmax": count - 0.5,
        "colorbar": {"title": title, "tickvals": list(range(count)), "ticktext": [str(value) for value in values]},
    }

"""Plotly figures drawn as SVG."""

import re

import plotly.graph_objects as go
import plotly.io
import pytest

from bort_kedro.reporting.drawings import draw_svg, plain


def texts(svg):
    """The texts of a drawing, which Matplotlib leaves as comments beside their outlines."""
    return [found.strip() for found in re.findall(r"<!--(.*?)-->", svg, re.DOTALL)]


@pytest.mark.slow
def test_a_drawing_is_svg_and_equal_for_equal_figures():
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="a line"), {"title": {"text": "From 3 to 4"}})
    svg = draw_svg(figure)
    assert re.search(r"<svg [^>]*>.*</svg>\s*$", svg, re.DOTALL)
    assert svg == draw_svg(plotly.io.from_json(figure.to_json()))
    assert {"From 3 to 4", "a line"} <= set(texts(svg))


def test_titles_axes_and_annotations_are_those_of_the_figure():
    figure = go.Figure(go.Scatter(x=[10, 1000], y=[1, 2], mode="markers", name="shapes", showlegend=False))
    figure.update_layout(xaxis={"type": "log", "title": {"text": "cost"}}, yaxis={"title": {"text": "error, %"}})
    figure.add_annotation(x=2, y=1, yref="paper", text="BERT<br>base", textangle=-45)
    said = texts(draw_svg(figure))
    assert {"cost", "error, %", "10", "100", "1k", "BERT", "base"} <= set(said)
    assert "shapes" not in said


def bar_lengths(svg):
    """Lengths of the bars in the order drawn: of all patches they alone are clipped by the axes."""
    paths = re.findall(r'<g id="patch_\d+">\s*<path d="([^"]*)" clip-path', svg)
    across = [[float(place) for place in re.findall(r"[ML] ([\d.]+)", path)] for path in paths]
    return [max(places) - min(places) for places in across]


def test_bars_are_as_long_as_their_values_and_named_on_the_axis():
    figure = go.Figure(go.Bar(x=[1.0, 4.0], y=["small", "large"], orientation="h", text=["1 ms", "4 ms"]))
    svg = draw_svg(figure)
    assert {"small", "large", "1 ms", "4 ms"} <= set(texts(svg))
    small, large = bar_lengths(svg)
    assert large == pytest.approx(4 * small, rel=1e-5)


def test_a_second_trace_of_bars_keeps_the_places_of_the_first():
    first = go.Bar(x=[1.0, 4.0], y=["small", "large"], orientation="h")
    second = go.Bar(x=[3.0], y=["large"], orientation="h")
    svg = draw_svg(go.Figure([first, second]))
    assert [text for text in texts(svg) if text in {"small", "large"}] == ["small", "large"]
    small, large, beside = bar_lengths(svg)
    assert (large / small, beside / small) == (pytest.approx(4, rel=1e-5), pytest.approx(3, rel=1e-5))


def test_a_bar_whose_interval_is_unknown_keeps_its_text_and_warns_of_nothing(recwarn):
    bars = {"type": "data", "symmetric": False, "array": [float("nan"), 0.5], "arrayminus": [float("nan"), 0.5]}
    bar = go.Bar(x=[1.0, 4.0], y=["small", "large"], orientation="h", text=["1 ms", "4 ms"], error_x=bars)
    assert {"1 ms", "4 ms"} <= set(texts(draw_svg(go.Figure(bar))))
    assert [str(warning.message) for warning in recwarn] == []


def test_points_have_grid_lines_of_both_axes_also_with_error_bars():
    bars = {"type": "data", "array": [0.1, 0.2]}
    plain_, barred = (
        draw_svg(go.Figure(go.Scatter(x=[1, 2], y=[3, 4], mode="markers", error_y=error))) for error in (None, bars)
    )
    lines = [svg.count("stroke-opacity: 0.3") for svg in (plain_, barred)]
    assert lines[1] > 10
    assert lines[0] > 10


def test_a_trace_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"^a trace of kind pie cannot be drawn as SVG, only scatter, bar$"):
        draw_svg(go.Figure(go.Pie(values=[1])))


def test_plain_text_has_no_markup():
    assert plain("<b>(2, 4)</b><br>3 M") == "(2, 4)\n3 M"

import math

import numpy as np
import pandas as pd
import pytest

from bort_kedro.reporting.search_plots import pareto_figure, w_figure

SHAPE = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 64, "intermediate_size": 128}
MAXIMUM = SHAPE | {
    "hidden_size": 256,
    "parameters": 4000,
    "operations": 80_000,
    "error": 0.5,
    "error_standard_error": 0.01,
}
RUG = "known shapes, cost only (not trained here)"
IN_PLACE = "known shapes, trained here"


@pytest.fixture
def candidate_table():
    """Four depths: on the front, chosen, beaten, and not trained."""
    table = pd.DataFrame([SHAPE | {"num_hidden_layers": depth} for depth in (1, 2, 3, 4)])
    return table.assign(
        parameters=[1000, 2000, 3000, 3500],
        operations=[10_000, 20_000, 30_000, 40_000],
        latency_ms=1.25,
        error=[0.7, 0.6, 0.8, np.nan],
        error_standard_error=[0.01, 0.01, 0.01, np.nan],
        w=[0.5, 0.6, 0.2, np.nan],
        w_standard_error=[0.02, 0.03, 0.04, np.nan],
        w_predicted=[0.51, 0.58, 0.25, 0.1],
        is_trained=[True, True, True, False],
        is_on_plateau=False,
        meets_caps=[True, True, True, False],
        is_pareto=[True, True, False, False],
        is_selected=[False, True, False, False],
    )


SELECTED = SHAPE | {"num_hidden_layers": 2}


def by_name(figure):
    return {trace.name: trace for trace in figure.data}


def test_pareto_figure_places_front_choice_and_maximum_point(candidate_table):
    figure = pareto_figure(candidate_table, SELECTED, MAXIMUM)
    traces = by_name(figure)
    assert list(traces["Pareto front"].x) == [1000, 2000]
    assert list(traces["Pareto front"].y) == pytest.approx([70, 60])
    assert list(traces["chosen"].x) == [2000]
    assert list(traces["chosen"].error_y.array) == pytest.approx([1])
    assert list(traces["on the front"].x) == [1000]
    assert list(traces["other candidates"].x) == [3000]
    assert list(traces["maximum point"].y) == [50]
    assert figure.layout.title.text == "Chosen: (2, 2, 64, 128), 2 times fewer parameters than the maximum point"
    assert figure.layout.xaxis.type == "log"


def test_pareto_hover_names_shape_w_and_latency(candidate_table):
    chosen = by_name(pareto_figure(candidate_table, SELECTED, MAXIMUM, cost="operations"))["chosen"]
    assert list(chosen.x) == [20_000]
    assert chosen.text[0] == (
        "<b>(2, 2, 64, 128)</b><br>2.00 k parameters, 20.0 k operations<br>"
        "error 60.0 ± 1.0 %<br>W 0.600<br>1.25 ms a pass"
    )


def test_pareto_figure_of_the_loss_is_in_nats(candidate_table):
    table = candidate_table.assign(loss=[5.0, 4.0, 6.0, np.nan], loss_standard_error=0.25)
    traces = by_name(pareto_figure(table, SELECTED, MAXIMUM | {"loss": 3.5}, measure="loss"))
    assert list(traces["chosen"].y) == [4]
    assert list(traces["chosen"].error_y.array) == [0.25]
    assert list(traces["maximum point"].y) == [3.5]
    assert "loss 4.000" in traces["chosen"].text[0]


def test_pareto_figure_of_a_table_takes_errors_as_they_are(candidate_table):
    table = candidate_table.assign(error_standard_error=np.nan)
    maximum = MAXIMUM | {"is_network": False, "error_standard_error": None}
    figure = pareto_figure(table, SELECTED, maximum, measure="recorded")
    traces = by_name(figure)
    assert list(traces["Pareto front"].y) == [0.7, 0.6]
    assert list(traces["chosen"].y) == [0.6]
    assert traces["chosen"].error_y.array is None
    assert "<br>error 0.600<br>" in traces["chosen"].text[0]
    assert figure.layout.yaxis.title.text == "recorded error"
    noisy = pareto_figure(candidate_table, SELECTED, maximum, measure="recorded")
    assert list(by_name(noisy)["chosen"].error_y.array) == [0.01]
    assert "<br>error 0.600 ± 0.010<br>" in by_name(noisy)["chosen"].text[0]


def test_a_maximum_point_that_was_made_up_is_shown_as_no_network(candidate_table):
    traces = by_name(pareto_figure(candidate_table, SELECTED, MAXIMUM | {"is_network": False}))
    made_up = traces["maximum point, made up: no network"]
    assert "maximum point" not in traces
    assert made_up.marker.symbol == "diamond-open"
    assert made_up.text[0].startswith("<b>no network</b><br>4.00 k parameters")
    assert by_name(pareto_figure(candidate_table, SELECTED, MAXIMUM))["maximum point"].marker.symbol == "diamond"


def test_pareto_figure_of_a_single_candidate_draws_no_front_line(candidate_table):
    figure = pareto_figure(candidate_table[candidate_table["is_selected"]], SELECTED, MAXIMUM)
    assert [trace.name for trace in figure.data] == ["chosen", "maximum point"]


def test_pareto_figure_with_nothing_on_the_front_but_the_choice(candidate_table):
    figure = pareto_figure(candidate_table.assign(is_pareto=candidate_table["is_selected"]), SELECTED, MAXIMUM)
    traces = by_name(figure)
    assert list(traces) == ["other candidates", "chosen", "maximum point"]
    assert list(traces["other candidates"].x) == [1000, 3000]


def test_pareto_figure_takes_a_maximum_point_without_a_standard_error(candidate_table):
    maximum = {name: value for name, value in MAXIMUM.items() if name != "error_standard_error"}
    point = by_name(pareto_figure(candidate_table, SELECTED, maximum))["maximum point"]
    assert point.error_y.array is None
    assert "error 50.0 %" in point.text[0]


def test_pareto_figure_draws_shapes_that_cannot_be_built(candidate_table):
    table = candidate_table.assign(num_attention_heads=7)
    figure = pareto_figure(table, SELECTED | {"num_attention_heads": 7}, MAXIMUM)
    assert figure.layout.title.text.startswith("Chosen: (2, 7, 64, 128), ")


@pytest.mark.parametrize(("maximum", "ratio"), [(3000, "1.5"), (2000, "1"), (25_000, "12"), (4_000_000, "2,000")])
def test_pareto_title_rounds_the_ratio_to_what_can_be_read(candidate_table, maximum, ratio):
    figure = pareto_figure(candidate_table, SELECTED, MAXIMUM | {"parameters": maximum})
    assert f", {ratio} times fewer parameters" in figure.layout.title.text


def known(title, parameters, **changes):
    return SHAPE | {"title": title, "parameters": parameters, "operations": 10 * parameters} | changes


def test_known_shape_that_was_trained_is_named_at_its_place(candidate_table):
    shapes = [known("Small", 999, num_hidden_layers=3), known("Teacher", 4000, hidden_size=256)]
    traces = by_name(pareto_figure(candidate_table, SELECTED, MAXIMUM, known_shapes=shapes))
    assert list(traces[IN_PLACE].x) == [3000, 4000]
    assert list(traces[IN_PLACE].y) == pytest.approx([80, 50])
    assert list(traces[IN_PLACE].text) == ["Small", "Teacher"]
    assert RUG not in traces


def test_known_shapes_that_were_not_trained_are_ticks_along_the_top_edge(candidate_table):
    # The candidate of four layers was never trained, and depth 9 is no candidate.
    shapes = [known("Deep", 9000, num_hidden_layers=9), known("Four", 3500, num_hidden_layers=4)]
    figure = pareto_figure(candidate_table, SELECTED, MAXIMUM, known_shapes=shapes)
    rug = by_name(figure)[RUG]
    assert list(rug.x) == [3500, 9000]
    assert list(rug.y) == [1, 1]
    assert rug.yaxis == "y2"
    assert list(figure.layout.yaxis2.range) == [0, 1]
    assert rug.text[1] == "<b>Deep</b> (9, 2, 64, 128)<br>9.00 k parameters, 90.0 k operations"
    assert [label.text for label in figure.layout.annotations] == ["Four", "Deep"]
    # Annotations on a logarithmic axis are placed by the exponent.
    assert [label.x for label in figure.layout.annotations] == pytest.approx([math.log10(3500), math.log10(9000)])
    assert IN_PLACE not in by_name(figure)


def test_known_shapes_of_nearly_equal_cost_share_a_label(candidate_table):
    shapes = [known(f"Depth {depth}", 9000 + depth, num_hidden_layers=depth) for depth in (6, 5)]
    figure = pareto_figure(candidate_table, SELECTED, MAXIMUM, known_shapes=shapes)
    assert [label.text for label in figure.layout.annotations] == ["Depth 5<br>Depth 6"]
    assert list(by_name(figure)[RUG].x) == [9005, 9006]


def test_known_shape_is_not_named_at_a_maximum_point_that_is_no_network(candidate_table):
    shapes = [known("Teacher", 3900, hidden_size=256)]
    traces = by_name(pareto_figure(candidate_table, SELECTED, MAXIMUM | {"is_network": False}, known_shapes=shapes))
    assert list(traces[RUG].x) == [3900]
    assert IN_PLACE not in traces


def test_without_known_shapes_nothing_is_drawn_along_the_edge(candidate_table):
    figure = pareto_figure(candidate_table, SELECTED, MAXIMUM)
    assert not {RUG, IN_PLACE} & set(by_name(figure))
    assert len(figure.layout.annotations) == 0


def test_w_figure_shows_w_where_trained_and_the_prediction_elsewhere(candidate_table):
    figure = w_figure(candidate_table, SELECTED)
    traces = by_name(figure)
    assert list(traces) == ["predicted, not trained", "trained", "chosen"]
    assert (list(traces["chosen"].x), list(traces["chosen"].y)) == ([2000], [0.6])
    assert traces["chosen"].marker.symbol == "star"
    assert list(traces["trained"].x) == [1000, 3000]
    assert list(traces["trained"].y) == [0.5, 0.2]
    assert list(traces["trained"].error_y.array) == [0.02, 0.04]
    assert (list(traces["predicted, not trained"].x), list(traces["predicted, not trained"].y)) == ([3500], [0.1])
    assert traces["predicted, not trained"].marker.symbol == "circle-open"
    assert traces["predicted, not trained"].error_y.array is None
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.title.text == (
        "Chosen: (2, 2, 64, 128) with W 0.600; best of the others: (1, 2, 64, 128) with 0.500"
    )


def test_w_figure_of_a_table_speaks_of_no_training_and_of_no_noise_it_does_not_know(candidate_table):
    figure = w_figure(candidate_table.assign(w_standard_error=np.nan), SELECTED, error_source="table")
    assert list(by_name(figure)) == ["predicted, not looked up", "looked up", "chosen"]
    assert all(trace.error_y.array is None for trace in figure.data)
    assert figure.layout.yaxis.title.text == "W"
    assert w_figure(candidate_table, SELECTED).layout.yaxis.title.text == "W (bars: one standard error)"


def test_w_figure_does_not_rank_plateau_and_capped_candidates(candidate_table):
    table = candidate_table.assign(
        is_on_plateau=[True, False, False, False],
        w=[np.nan, 0.6, 0.9, np.nan],
        meets_caps=[False, True, False, False],
    )
    figure = w_figure(table, SELECTED)
    traces = by_name(figure)
    plateau, capped = traces["no better than guessing: not ranked"], traces["over a cap: not ranked"]
    # Without a W of its own, the plateau candidate stands at the predicted one.
    assert (list(plateau.x), list(plateau.y), plateau.marker.symbol) == ([1000], [0.51], "x")
    assert (list(capped.x), list(capped.y)) == ([3000], [0.9])
    assert "trained" not in traces
    assert figure.layout.title.text == "Chosen: (2, 2, 64, 128) with W 0.600, the only candidate ranked"


def test_w_figure_with_all_candidates_trained_predicts_none(candidate_table):
    traces = by_name(w_figure(candidate_table[candidate_table["is_trained"]], SELECTED))
    assert list(traces) == ["trained", "chosen"]


def test_w_figure_leaves_out_candidates_that_nothing_is_known_of(candidate_table):
    figure = w_figure(candidate_table.assign(w_predicted=np.nan), SELECTED)
    assert list(by_name(figure)) == ["trained", "chosen"]


def test_w_figure_of_a_single_candidate(candidate_table):
    figure = w_figure(candidate_table[candidate_table["is_selected"]], SELECTED)
    assert [trace.name for trace in figure.data] == ["chosen"]
    assert figure.layout.title.text == "Chosen: (2, 2, 64, 128) with W 0.600, the only candidate ranked"


def test_w_figure_has_a_step_of_colour_for_each_of_few_depths(candidate_table):
    figure = w_figure(candidate_table, SELECTED)
    axis = figure.layout.coloraxis
    assert list(axis.colorbar.ticktext) == ["1", "2", "3", "4"]
    assert list(axis.colorbar.tickvals) == [0, 1, 2, 3]
    assert list(by_name(figure)["trained"].marker.color) == [0, 2]
    assert list(by_name(figure)["predicted, not trained"].marker.color) == [3]
    assert [edge for edge, _ in axis.colorscale] == [0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1]


def many_candidates(candidate_table, count):
    """The four, and untrained ones of nine depths."""
    row = candidate_table.iloc[3].to_dict()
    more = pd.DataFrame(
        [row | {"num_hidden_layers": 1 + number % 9, "parameters": 100 + number} for number in range(count)]
    )
    return pd.concat([candidate_table, more], ignore_index=True)


def test_w_figure_has_a_continuous_scale_for_many_depths(candidate_table):
    figure = w_figure(many_candidates(candidate_table, 9), SELECTED)
    assert figure.layout.coloraxis.colorbar.ticktext is None
    assert list(by_name(figure)["trained"].marker.color) == [1, 3]


@pytest.mark.parametrize(("count", "kind"), [(1996, "scatter"), (1997, "scattergl"), (30_000, "scattergl")])
def test_w_figure_draws_all_with_webgl_for_more_than_two_thousand_points(candidate_table, count, kind):
    figure = w_figure(many_candidates(candidate_table, count), SELECTED)
    assert {trace.type for trace in figure.data} == {kind}
    assert len(by_name(figure)["predicted, not trained"].x) == count + 1
    # The choice is drawn last, hence on top.
    assert figure.data[-1].name == "chosen"

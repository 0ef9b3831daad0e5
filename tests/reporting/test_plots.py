import pandas as pd
import pytest

from bort_kedro.latency.model import Calibration
from bort_kedro.reporting.comparison_plots import comparison_figure
from bort_kedro.reporting.plots import (
    error_by_step_figure,
    latency_figure,
    running_mean,
    speed_figure,
    training_curves_figure,
)

SHAPE = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 64, "intermediate_size": 128}


def test_training_curves_have_a_running_mean_for_each_model_and_say_where_it_ends():
    history = pd.DataFrame(
        {
            "model": ["student"] * 20 + ["teacher"] * 2,
            "step": [*range(20), 0, 1],
            "masked_accuracy": [0.0] * 18 + [0.2, 0.4] + [0.1, 0.5],
        }
    )
    figure = training_curves_figure(history)
    assert figure.layout.title.text == "Masked accuracy at the end of training: student 30 %, teacher 50 %"
    means = {trace.name: list(trace.y) for trace in figure.data if trace.name}
    # A tenth of 20 rows: a mean over two.
    assert means["student"][-2:] == pytest.approx([10, 30])
    assert means["teacher"] == pytest.approx([10, 50])


def test_a_training_that_predicts_nothing_has_no_curve():
    history = pd.DataFrame(
        {"model": ["student"] * 2 + ["its twin"] * 2, "step": [0, 1] * 2, "masked_accuracy": [None, None, 0.1, 0.5]}
    )
    figure = training_curves_figure(history)
    assert [trace.name for trace in figure.data if trace.name] == ["its twin"]
    assert figure.layout.title.text == "Masked accuracy at the end of training: its twin 50 %"


def test_running_mean_of_a_short_curve_is_the_curve():
    assert list(running_mean(pd.Series([3.0, 1.0, 2.0]))) == [3, 1, 2]


def speed_table(*, has_head=False, **medians):
    rows = [
        SHAPE | {"name": name, "median_ms": median, "is_chosen": name == "chosen"} for name, median in medians.items()
    ]
    conditions = {"batch_size": 1, "sequence_length": 128, "num_threads": 1, "device": "cpu", "has_head": has_head}
    table = pd.DataFrame(rows).assign(**conditions, is_reference=not has_head)
    return table.assign(interval_low_ms=table["median_ms"] - 0.5, interval_high_ms=table["median_ms"] + 1)


def test_speed_figure_puts_the_fastest_on_top_and_names_the_ratio():
    figure = speed_figure(speed_table(chosen=2.0, other=4.0, slow=50.0))
    (bars,) = figure.data
    assert list(bars.x) == [50, 4, 2]
    assert [label.split()[0] for label in figure.layout.yaxis.categoryarray] == ["slow", "other", "chosen"]
    assert list(bars.error_x.array) == [1, 1, 1]
    assert list(bars.error_x.arrayminus) == [0.5, 0.5, 0.5]
    assert figure.layout.title.text.startswith("The chosen shape is 25.0 times faster than slow")


def test_speed_figure_shows_the_same_with_a_head_and_leaves_other_conditions_out():
    plain, head = speed_table(chosen=2.0, slow=50.0), speed_table(has_head=True, chosen=7.0, slow=60.0)
    longer = head.assign(sequence_length=512)
    figure = speed_figure(pd.concat([plain, head, longer, longer.assign(has_head=False)]))
    assert [(bars.name, list(bars.x)) for bars in figure.data] == [
        ("masked-LM head over all positions", [7, 60]),
        ("no head", [50, 2]),
    ]
    assert figure.layout.title.text.startswith("The chosen shape is 25.0 times faster than slow (1 x 128 tokens")


def test_speed_figure_says_so_when_the_chosen_shape_is_slowest():
    assert speed_figure(speed_table(chosen=9.0, other=4.0)).layout.title.text.startswith(
        "The chosen shape is the slowest of those timed (1 x 128 tokens"
    )


def history_of(**losses):
    """Curves of two rows, by a name with spaces for underscores."""
    return pd.DataFrame(
        {"shape": name.replace("_", " "), "step": step, "loss": loss, "masked_accuracy": 0.0}
        for name, curve in losses.items()
        for step, loss in zip((5, 10), curve, strict=True)
    )


def test_error_by_step_orders_lines_by_their_end_with_the_maximum_point_on_top():
    figure = error_by_step_figure(history_of(maximum_point=[9, 3], low=[9, 4], high=[9, 6], middle=[8, 5]))
    assert [trace.name for trace in figure.data] == ["high", "middle", "low", "maximum point"]
    assert list(figure.data[2].x) == [5, 10]
    assert list(figure.data[2].y) == [9, 4]
    assert figure.data[3].line.color == "black"
    assert figure.data[3].line.width > figure.data[2].line.width
    assert figure.layout.title.text == (
        "Training loss ends between 4.00 nats (low) and 6.00 nats (high), maximum point 3.00"
    )


def test_error_by_step_is_the_loss_of_the_true_tokens_where_a_teacher_adds_others():
    history = history_of(taught=[9, 4], alone=[9, 6], layers=[1, 1])
    history["masked_lm_loss"] = [8, 3, None, None, None, None]
    history.loc[history["shape"] == "layers", "masked_accuracy"] = None
    figure = error_by_step_figure(history)
    assert {trace.name: list(trace.y) for trace in figure.data} == {"taught": [8, 3], "alone": [9, 6]}
    nothing = error_by_step_figure(history_of(layers=[1, 1]).drop(columns="masked_accuracy"))
    assert nothing.layout.title.text == "No training to show: no error was measured here"


def lightness(color):
    return sum(int(part) for part in color.removeprefix("rgb(").removesuffix(")").split(","))


def test_error_by_step_is_darker_the_lower_a_training_ends():
    figure = error_by_step_figure(history_of(a=[9, 4], b=[9, 6], c=[8, 5]))
    shades = [lightness(trace.line.color) for trace in figure.data]
    assert shades == sorted(shades, reverse=True)
    assert len(set(shades)) == 3


def test_error_by_step_lists_up_to_twelve_trainings_and_of_more_only_the_maximum_point():
    curves = {f"shape{number}": [9, number] for number in range(13)}
    few = error_by_step_figure(history_of(**dict(list(curves.items())[:12]), maximum_point=[9, 1]))
    assert [trace.showlegend for trace in few.data] == [True] * 13
    many = error_by_step_figure(history_of(**curves, maximum_point=[9, 1]))
    assert [trace.name for trace in many.data if trace.showlegend] == ["maximum point"]
    assert "shape12" in many.data[0].hovertemplate


def test_error_by_step_takes_a_running_mean_over_a_tenth():
    history = pd.DataFrame({"shape": "a", "step": range(20), "loss": [8.0] * 18 + [6.0, 4.0]}).assign(
        masked_accuracy=0.0
    )
    figure = error_by_step_figure(history)
    assert list(figure.data[0].y[-2:]) == [7, 5]
    assert figure.layout.title.text == "Training loss ends at 5.00 nats (a)"


def test_error_by_step_of_the_maximum_point_alone_and_of_nothing():
    alone = error_by_step_figure(history_of(maximum_point=[9, 3]))
    assert alone.layout.title.text == "Training loss ends at 3.00 nats (maximum point)"
    nothing = error_by_step_figure(pd.DataFrame(columns=["shape", "step", "loss"]))
    assert nothing.layout.title.text == "No training to show: no error was measured here"
    assert len(nothing.data) == 0


def test_error_by_step_draws_what_w_takes():
    history = pd.DataFrame(
        {
            "shape": ["a", "a", "maximum point"],
            "step": [5, 10, 10],
            "loss": 1.0,
            "masked_accuracy": [0.1, 0.25, 0.6],
        }
    )
    figure = error_by_step_figure(history, measure="error")
    assert list(figure.data[0].y) == pytest.approx([90, 75])
    assert figure.data[0].hovertemplate == "step %{x}: %{y:.3f} %<extra>a</extra>"
    assert figure.layout.title.text == "Training error ends at 75.00 % (a), maximum point 40.00"
    assert figure.layout.yaxis.title.text == "hidden training tokens guessed wrong, % (running mean)"
    assert error_by_step_figure(history).layout.yaxis.title.text == "training loss, nats (running mean)"


CALIBRATION = Calibration(
    rank_correlation=0.984,
    median_relative_residual=0.041,
    largest_relative_residual=0.2,
    num_measured=3,
    coefficients={},
)
UNKNOWN = CALIBRATION.changed(
    rank_correlation=None, median_relative_residual=None, largest_relative_residual=None, num_measured=2
)


def latency_table(measured, predicted):
    return pd.DataFrame([SHAPE] * len(measured)).assign(latency_ms=measured, latency_leave_one_out_ms=predicted)


def test_latency_figure_places_predictions_over_measurements_with_the_identity():
    figure = latency_figure(latency_table([2.0, 4.0, 8.0], [1.5, 5.0, 9.0]), CALIBRATION)
    identity, shapes = figure.data
    assert list(identity.x) == list(identity.y) == [1.5, 9]
    assert list(shapes.x) == [2, 4, 8]
    assert list(shapes.y) == [1.5, 5, 9]
    assert shapes.text[0] == "(1, 2, 64, 128)"
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "log")
    assert figure.layout.title.text == "Latency from operations: rank correlation 0.98, median residual 4 %"


def test_latency_figure_leaves_out_rows_without_a_prediction():
    figure = latency_figure(latency_table([2.0, None, 8.0], [1.5, 5.0, None]), CALIBRATION)
    assert list(figure.data[1].x) == [2]


def test_latency_figure_says_when_too_few_were_measured():
    figure = latency_figure(latency_table([2.0, 4.0], [None, None]), UNKNOWN)
    assert figure.layout.title.text == "Latency from operations: 2 measured, too few to judge the prediction"
    assert len(figure.data) == 0


def test_latency_figure_says_when_none_was_measured():
    assert (
        latency_figure(latency_table([], []), UNKNOWN.changed(num_measured=0)).layout.title.text
        == "No latency was measured"
    )


def comparison_of(**hypervolumes):
    """Means at 10, 20 and 40 trainings; W lies a tenth below, the bands are a twentieth wide on either side."""
    rows = [
        {"strategy": name, "trainings": trainings, "statistic": statistic, "mean": mean - lower}
        for statistic, lower in (("hypervolume", 0), ("w", 0.1))
        for name, means in hypervolumes.items()
        for trainings, mean in zip((10, 20, 40), means, strict=True)
    ]
    table = pd.DataFrame(rows)
    return table.assign(lower=table["mean"] - 0.05, upper=table["mean"] + 0.05)


def test_comparison_figure_draws_a_line_in_a_band_for_each_strategy_in_both_panels():
    figure = comparison_figure(comparison_of(fptas=[0.2, 0.5, 0.96], bayes=[0.5, 0.95, 1.0]), measure="loss")
    assert len(figure.data) == 8
    bands = [trace for trace in figure.data if trace.fill == "toself"]
    lines = [trace for trace in figure.data if trace.fill is None]
    assert [(line.name, line.xaxis) for line in lines] == [
        ("fptas", "x"),
        ("fptas", "x2"),
        ("bayes", "x"),
        ("bayes", "x2"),
    ]
    assert list(lines[0].x) == [10, 20, 40]
    assert list(lines[0].y) == pytest.approx([0.2, 0.5, 0.96])
    assert list(lines[3].y) == pytest.approx([0.4, 0.85, 0.9])
    assert list(bands[0].x) == [10, 20, 40, 40, 20, 10]
    assert list(bands[0].y) == pytest.approx([0.25, 0.55, 1.01, 0.91, 0.45, 0.15])
    assert [line.name for line in lines if line.showlegend] == ["fptas", "bayes"]
    assert not any(band.showlegend for band in bands)
    for name in ("fptas", "bayes"):
        assert len({trace.line.color for trace in figure.data if trace.name == name}) == 1
    assert [title.text for title in figure.layout.annotations] == [
        "hypervolume of parameters, cost and loss",
        "largest W, by loss",
    ]


def test_comparison_says_what_its_band_is_over_and_what_flatters_halving():
    figure = comparison_figure(comparison_of(successive_halving=[0.2, 0.5, 0.96], random=[0, 0, 0]), measure="error")
    assert figure.layout.yaxis.title.text == "share of the best: mean and band over random parts of the table"
    assert {trace.name for trace in figure.data} == {
        "random",
        "successive_halving (sees final errors on every rung here)",
    }
    assert figure.layout.title.text == "Best by hypervolume: successive_halving needs 40 trainings for 95 % of it"


def comparison_title(**hypervolumes):
    return comparison_figure(comparison_of(**hypervolumes), measure="error").layout.title.text


def test_comparison_title_holds_the_largest_area_against_fptas():
    # By area: random (0.4 + 0.7) / 2 * 10 + (0.7 + 0.8) / 2 * 20 = 20.5 of 30 is least, bayes most.
    title = comparison_title(fptas=[0.2, 0.9, 0.96], random=[0.4, 0.7, 0.8], bayes=[0.5, 0.95, 1.0])
    assert title == "Best by hypervolume: bayes needs 20 trainings, fptas needs 40 trainings for 95 % of it"


def test_comparison_title_holds_fptas_against_the_next_best_where_it_leads():
    title = comparison_title(random=[0.4, 0.5, 0.6], bayes=[0.5, 0.8, 0.9], fptas=[0.96, 1.0, 1.0])
    assert title == "Best by hypervolume: fptas needs 10 trainings, bayes needs more than 40 trainings for 95 % of it"


def test_comparison_title_of_one_strategy():
    assert comparison_title(random=[0.4, 0.5, 0.96]) == "Best by hypervolume: random needs 40 trainings for 95 % of it"


def test_comparison_areas_are_taken_over_the_budgets_that_all_strategies_cover():
    table = comparison_of(early=[0.5, 0.6, 0.7], late=[0.0, 0.65, 0.8])
    # Without its first budget, late is better throughout.
    table = table[(table["strategy"] != "late") | (table["trainings"] > 10)]
    assert comparison_figure(table, measure="error").layout.title.text.startswith("Best by hypervolume: late ")


def test_comparison_with_a_single_budget_ranks_by_the_mean_there():
    table = comparison_of(low=[0.5, 0, 0], high=[0.6, 0, 0])
    figure = comparison_figure(table[table["trainings"] == 10], measure="error")
    assert figure.layout.title.text.startswith("Best by hypervolume: high needs more than 10 trainings")

import pandas as pd
import pytest

from bort_kedro.pipelines.plots import pareto_figure, speed_figure, training_curves_figure

SHAPE = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 64, "intermediate_size": 128}
MAXIMUM = SHAPE | {
    "hidden_size": 256,
    "parameters": 4000,
    "operations": 80_000,
    "error": 0.5,
    "error_standard_error": 0.01,
}


@pytest.fixture
def candidate_table():
    rows = [
        SHAPE | {"parameters": 1000, "operations": 10_000, "error": 0.7, "is_pareto": True, "w": 0.5},
        SHAPE
        | {
            "num_hidden_layers": 2,
            "parameters": 2000,
            "operations": 20_000,
            "error": 0.6,
            "is_pareto": True,
            "w": 0.6,
        },
        SHAPE
        | {
            "num_hidden_layers": 3,
            "parameters": 3000,
            "operations": 30_000,
            "error": 0.8,
            "is_pareto": False,
            "w": 0.2,
        },
        SHAPE | {"num_hidden_layers": 4, "parameters": 3500, "operations": 40_000, "is_pareto": False},
    ]
    table = pd.DataFrame(rows).assign(error_standard_error=0.01, latency_ms=1.25)
    return table.assign(is_trained=table["error"].notna(), is_selected=[False, True, False, False])


def test_pareto_figure_places_front_choice_and_maximum_point(candidate_table):
    figure = pareto_figure(candidate_table, SHAPE | {"num_hidden_layers": 2}, MAXIMUM)
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces["Pareto front"].x) == [1000, 2000]
    assert list(traces["Pareto front"].y) == pytest.approx([70, 60])
    assert list(traces["chosen: largest W"].x) == [2000]
    assert list(traces["on the front"].x) == [1000]
    assert list(traces["other candidates"].x) == [3000]
    assert list(traces["maximum point"].y) == [50]
    assert figure.layout.title.text == "Chosen: (2, 2, 64, 128), 2 times fewer parameters than the maximum point"
    assert figure.layout.xaxis.type == "log"


def test_pareto_hover_names_shape_w_and_latency(candidate_table):
    figure = pareto_figure(candidate_table, SHAPE | {"num_hidden_layers": 2}, MAXIMUM, cost="operations")
    chosen = next(trace for trace in figure.data if trace.name == "chosen: largest W")
    assert list(chosen.x) == [20_000]
    for words in ("(2, 2, 64, 128)", "error 60.0 ± 1.0 %", "W 0.600", "1.25 ms"):
        assert words in chosen.text[0]


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


def speed_table(**medians):
    rows = [
        SHAPE | {"name": name, "median_ms": median, "is_chosen": name == "chosen"} for name, median in medians.items()
    ]
    table = pd.DataFrame(rows).assign(batch_size=1, sequence_length=128, num_threads=1)
    return table.assign(lower_quartile_ms=table["median_ms"] - 0.5, upper_quartile_ms=table["median_ms"] + 1)


def test_speed_figure_puts_the_fastest_on_top_and_names_the_ratio():
    figure = speed_figure(speed_table(chosen=2.0, other=4.0, slow=50.0))
    assert list(figure.data[0].x) == [50, 4, 2]
    assert list(figure.data[0].error_x.array) == [1, 1, 1]
    assert list(figure.data[0].error_x.arrayminus) == [0.5, 0.5, 0.5]
    assert figure.layout.title.text.startswith("The chosen shape is 25.0 times faster than slow")


def test_speed_figure_says_so_when_the_chosen_shape_is_slowest():
    assert speed_figure(speed_table(chosen=9.0, other=4.0)).layout.title.text.startswith(
        "The chosen shape is the slowest of those timed (1 x 128 tokens"
    )

"""The search stage as a table of nodes, one for each source of errors."""

from collections.abc import Mapping

from kedro.pipeline import Node, Pipeline

from bort_kedro.pipelines.namespaces import FINETUNE, across_namespaces, by_name, in_stage, node_of
from bort_kedro.pipelines.search import nodes, plot_nodes, recorded_nodes, training_nodes

SEARCH = "params:search"
POSITIONS = "params:corpus.max_positions"
# What both searches end with.
CHOSEN = ["candidate_table", "selected_shape", "search_report"]


@across_namespaces()
def create_pipeline(
    error_source: str = "training",
    *,
    opens_maximum_point: bool = False,
    takes_latency: bool = False,
    task: str | None = None,
    takes_errors: bool = False,
) -> Pipeline:
    """From a space of shapes to the selected one.

    Args:
        error_source: ``training``, or ``table`` to replay recorded errors.
        opens_maximum_point: Whether T is an encoder of the hub or of a folder rather than a shape to train.
        takes_latency: Whether somebody brings what was timed.
        task: Whose error trainings end with, and whose examples that takes.
        takes_errors: Whether somebody brings results of earlier searches.
    """
    if error_source == "table":
        return _table()
    learned = {} if task is None else {"examples": f"{task}.examples", "finetune": FINETUNE}
    earlier = ["earlier_candidates"] if takes_errors else []
    return _training(learned, earlier, opens_maximum_point=opens_maximum_point, takes_latency=takes_latency)


def _latency(is_taken: bool) -> Node:
    if is_taken:
        return node_of(nodes.take_latency, ["recorded_latencies", "maximum_point_costs"], "candidate_latency")
    inputs = ["candidate_costs", "maximum_point_costs", "tokens", "training_states", SEARCH]
    return node_of(nodes.measure_latency, inputs, "candidate_latency")


def _maximum_point(learned: Mapping[str, str], *, is_opened: bool) -> list[Node]:
    """T and its error."""
    inputs = _for_training("maximum_point_size", **learned)
    if not is_opened:
        made = ["maximum_point_encoder", "maximum_point", "maximum_point_history"]
        return [node_of(training_nodes.train_maximum_point, inputs, made)]
    return [
        node_of(training_nodes.open_maximum_point, [SEARCH, POSITIONS], "maximum_point_encoder"),
        node_of(training_nodes.score_maximum_point, inputs | by_name(["maximum_point_encoder"]), "maximum_point"),
    ]


def _for_training(*names: str, **others: str) -> dict[str, str]:
    """Inputs of a node that trains, those that all such have among them."""
    shared = ("tokens", "tokenizer", "training_states")
    return by_name((*shared, *names), search=SEARCH, max_positions=POSITIONS, **others)


def _training(
    learned: dict[str, str], earlier: list[str], *, opens_maximum_point: bool, takes_latency: bool
) -> Pipeline:
    opened = ["maximum_point_encoder"] if opens_maximum_point else []
    found = ("search_space", "maximum_point", "baseline_errors")
    return in_stage(
        "search",
        [
            *_maximum_point(learned, is_opened=opens_maximum_point),
            node_of(
                nodes.enumerate_candidates,
                [SEARCH, *opened],
                ["candidate_shapes", "invalid_shapes", "maximum_point_shape"],
            ),
            node_of(
                nodes.estimate_costs,
                ["candidate_shapes", "maximum_point_shape", "tokens", SEARCH, POSITIONS],
                ["candidate_costs", "maximum_point_costs", "growth_check"],
            ),
            _latency(takes_latency),
            node_of(
                nodes.model_latency,
                ["candidate_shapes", "candidate_latency", SEARCH],
                ["modelled_latency", "latency_check", "latency_calibration"],
            ),
            node_of(
                nodes.order_candidates,
                ["candidate_costs", "modelled_latency", "latency_check", "maximum_point_costs", SEARCH],
                ["search_space", "maximum_point_size"],
            ),
            node_of(
                training_nodes.measure_errors,
                _for_training(*found, "maximum_point_encoder", *earlier, **learned),
                ["candidate_errors", "candidate_history", "worker_restarts"],
            ),
            node_of(nodes.score_baselines, by_name(["tokens"], search=SEARCH, **learned), "baseline_errors"),
            *_choice(opens_maximum_point=opens_maximum_point),
        ],
    )


def _choice(*, opens_maximum_point: bool) -> list[Node]:
    """The selected shape, its encoder, and what is drawn of all."""
    found = ("search_space", "candidate_errors", "worker_restarts", "maximum_point", "baseline_errors")
    told = ("tokens", "invalid_shapes", "candidate_shapes", "growth_check", "latency_calibration")
    drawn = ["candidate_history", "latency_check", "latency_calibration"]
    drawn += [] if opens_maximum_point else ["maximum_point_history"]
    return [
        node_of(nodes.select_shape, by_name((*found, *told), search=SEARCH, max_positions=POSITIONS), CHOSEN),
        node_of(
            training_nodes.hand_on_candidate,
            _for_training("candidate_errors", "selected_shape", "maximum_point_encoder"),
            "selected_encoder",
        ),
        node_of(plot_nodes.plot_search_training, by_name(drawn, search=SEARCH), ["error_by_step_plot", "latency_plot"]),
        _plot_choice(),
    ]


def _table() -> Pipeline:
    known = ["search_space", "maximum_point", SEARCH]
    return in_stage(
        "search",
        [
            node_of(
                recorded_nodes.order_recorded,
                ["recorded_candidates", SEARCH],
                ["search_space", "maximum_point", "recorded_counts"],
            ),
            node_of(recorded_nodes.replay_errors, known, "candidate_errors"),
            node_of(
                recorded_nodes.select_recorded,
                ["search_space", "candidate_errors", "maximum_point", "recorded_counts", SEARCH],
                CHOSEN,
            ),
            node_of(recorded_nodes.compare_strategies, known, "strategy_comparison"),
            node_of(plot_nodes.plot_comparison, "strategy_comparison", "strategy_plot"),
            _plot_choice(),
        ],
    )


def _plot_choice() -> Node:
    told = ["candidate_table", "selected_shape", "maximum_point", "search_report"]
    return node_of(plot_nodes.plot_choice, told, ["pareto_plot", "w_plot"])

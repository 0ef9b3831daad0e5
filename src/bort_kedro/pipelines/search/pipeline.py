"""The search stage as a table of nodes, one for each source of errors."""

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from bort_kedro.pipelines.namespaces import FINETUNE, across_namespaces, in_stage
from bort_kedro.pipelines.search import nodes, plot_nodes, recorded_nodes, training_nodes

SEARCH = "params:search"
POSITIONS = "params:corpus.max_positions"


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
        return Node(
            nodes.take_latency,
            ["recorded_latencies", "maximum_point_costs"],
            "candidate_latency",
            name="take_latency_node",
        )
    return Node(
        nodes.measure_latency,
        ["candidate_costs", "maximum_point_costs", "tokens", "training_states", SEARCH],
        "candidate_latency",
        name="measure_latency_node",
    )


def _maximum_point(learned: Iterable[str], *, is_opened: bool) -> list[Node]:
    """T and its error."""
    if not is_opened:
        return [
            Node(
                training_nodes.train_maximum_point,
                ["tokens", "tokenizer", "training_states", "maximum_point_size", SEARCH, POSITIONS, *learned],
                ["maximum_point_encoder", "maximum_point", "maximum_point_history"],
                name="train_maximum_point_node",
            )
        ]
    return [
        Node(
            training_nodes.open_maximum_point,
            [SEARCH, POSITIONS],
            "maximum_point_encoder",
            name="open_maximum_point_node",
        ),
        Node(
            training_nodes.score_maximum_point,
            [
                "maximum_point_encoder",
                "tokens",
                "tokenizer",
                "training_states",
                "maximum_point_size",
                SEARCH,
                POSITIONS,
                *learned,
            ],
            "maximum_point",
            name="score_maximum_point_node",
        ),
    ]


def _training(
    learned: dict[str, str], earlier: list[str], *, opens_maximum_point: bool, takes_latency: bool
) -> Pipeline:
    made = (
        *("search_space", "maximum_point", "maximum_point_encoder", "baseline_errors"),
        *("tokens", "tokenizer", "training_states", *earlier),
    )
    return in_stage(
        "search",
        [
            *_maximum_point(learned.values(), is_opened=opens_maximum_point),
            Node(
                nodes.enumerate_candidates,
                [SEARCH, *(["maximum_point_encoder"] if opens_maximum_point else [])],
                ["candidate_shapes", "invalid_shapes", "maximum_point_shape"],
                name="enumerate_candidates_node",
            ),
            Node(
                nodes.estimate_costs,
                ["candidate_shapes", "maximum_point_shape", "tokens", SEARCH, POSITIONS],
                ["candidate_costs", "maximum_point_costs", "growth_check"],
                name="estimate_costs_node",
            ),
            _latency(takes_latency),
            Node(
                nodes.model_latency,
                ["candidate_shapes", "candidate_latency", SEARCH],
                ["modelled_latency", "latency_check", "latency_calibration"],
                name="model_latency_node",
            ),
            Node(
                nodes.order_candidates,
                ["candidate_costs", "modelled_latency", "latency_check", "maximum_point_costs", SEARCH],
                ["search_space", "maximum_point_size"],
                name="order_candidates_node",
            ),
            Node(
                training_nodes.measure_errors,
                {**dict(zip(made, made, strict=True)), "search": SEARCH, "max_positions": POSITIONS, **learned},
                ["candidate_errors", "candidate_history", "worker_restarts"],
                name="measure_errors_node",
            ),
            Node(
                nodes.score_baselines,
                {"tokens": "tokens", "search": SEARCH, **learned},
                "baseline_errors",
                name="score_baselines_node",
            ),
            Node(
                nodes.select_shape,
                [
                    "tokens",
                    "search_space",
                    "candidate_errors",
                    "worker_restarts",
                    "maximum_point",
                    "baseline_errors",
                    "invalid_shapes",
                    "candidate_shapes",
                    "growth_check",
                    "latency_calibration",
                    SEARCH,
                    POSITIONS,
                ],
                ["candidate_table", "selected_shape", "search_report"],
                name="select_shape_node",
            ),
            Node(
                training_nodes.hand_on_candidate,
                [
                    "candidate_errors",
                    "selected_shape",
                    "maximum_point_encoder",
                    "tokens",
                    "tokenizer",
                    "training_states",
                    SEARCH,
                    POSITIONS,
                ],
                "selected_encoder",
                name="hand_on_candidate_node",
            ),
            Node(
                plot_nodes.plot_search_training,
                [
                    "candidate_history",
                    "latency_check",
                    "latency_calibration",
                    SEARCH,
                    *([] if opens_maximum_point else ["maximum_point_history"]),
                ],
                ["error_by_step_plot", "latency_plot"],
                name="plot_search_training_node",
            ),
            _plot_choice(),
        ],
    )


def _table() -> Pipeline:
    return in_stage(
        "search",
        [
            Node(
                recorded_nodes.order_recorded,
                ["recorded_candidates", SEARCH],
                ["search_space", "maximum_point", "recorded_counts"],
                name="order_recorded_node",
            ),
            Node(
                recorded_nodes.replay_errors,
                ["search_space", "maximum_point", SEARCH],
                "candidate_errors",
                name="replay_errors_node",
            ),
            Node(
                recorded_nodes.select_recorded,
                ["search_space", "candidate_errors", "maximum_point", "recorded_counts", SEARCH],
                ["candidate_table", "selected_shape", "search_report"],
                name="select_recorded_node",
            ),
            Node(
                recorded_nodes.compare_strategies,
                ["search_space", "maximum_point", SEARCH],
                "strategy_comparison",
                name="compare_strategies_node",
            ),
            Node(
                plot_nodes.plot_comparison,
                "strategy_comparison",
                "strategy_plot",
                name="plot_comparison_node",
            ),
            _plot_choice(),
        ],
    )


def _plot_choice() -> Node:
    return Node(
        plot_nodes.plot_choice,
        ["candidate_table", "selected_shape", "maximum_point", "search_report"],
        ["pareto_plot", "w_plot"],
        name="plot_choice_node",
    )

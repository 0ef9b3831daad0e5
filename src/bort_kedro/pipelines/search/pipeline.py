"""The search stage as a table of nodes."""

from kedro.pipeline import Node, Pipeline

from bort_kedro.pipelines.search.nodes import (
    enumerate_candidates,
    estimate_costs,
    measure_errors,
    measure_latency,
    plot_pareto,
    select_shape,
    train_maximum_point,
)

POSITIONS = "params:corpus.max_positions"


def create_pipeline() -> Pipeline:
    """From a space of shapes to the selected one."""
    return Pipeline(
        [
            Node(
                enumerate_candidates,
                "params:search",
                ["candidate_shapes", "invalid_shapes"],
                name="enumerate_candidates_node",
            ),
            Node(
                estimate_costs,
                ["candidate_shapes", "tokens", "params:search", POSITIONS],
                "candidate_costs",
                name="estimate_costs_node",
            ),
            Node(
                measure_latency,
                ["candidate_costs", "tokens", "params:search"],
                "candidate_latency",
                name="measure_latency_node",
            ),
            Node(
                train_maximum_point,
                ["tokens", "tokenizer", "training_states", "params:search", POSITIONS],
                ["maximum_point_encoder", "maximum_point", "maximum_point_history"],
                name="train_maximum_point_node",
            ),
            Node(
                measure_errors,
                ["candidate_costs", "tokens", "training_states", "params:search", POSITIONS],
                ["candidate_errors", "candidate_history"],
                name="measure_errors_node",
            ),
            Node(
                select_shape,
                [
                    "candidate_costs",
                    "candidate_latency",
                    "candidate_errors",
                    "maximum_point",
                    "invalid_shapes",
                    "tokens",
                    "params:search",
                ],
                ["candidate_table", "selected_shape", "search_report"],
                name="select_shape_node",
            ),
            Node(
                plot_pareto,
                ["candidate_table", "selected_shape", "maximum_point", "search_report"],
                "pareto_plot",
                name="plot_pareto_node",
            ),
        ],
        tags="search",
    )

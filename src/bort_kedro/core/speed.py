"""The speed table: sizes, operations and measured times of encoders, against BERT-base and BERT-large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bort_kedro.core.costs import count_operations, count_parameters
from bort_kedro.core.shapes import KNOWN_SHAPES, BertShape

if TYPE_CHECKING:
    from collections.abc import Mapping

CHOSEN = "chosen"
REFERENCES = ("bert_base", "bert_large")


def speed_rows(
    shapes: Mapping[str, BertShape],
    times_ms: Mapping[str, tuple[float, float, float]],
    *,
    vocabulary_size: int,
    max_positions: int,
    sequence_length: int,
) -> list[dict[str, Any]]:
    """One row for each encoder, without a head.

    A ratio says how many times longer the reference takes, or how many times more operations it does.

    Args:
        shapes: By key: ``chosen``, and keys of `KNOWN_SHAPES`.
        times_ms: By the same keys: median, lower and upper quartile, in milliseconds.
        vocabulary_size: V of every row.
        max_positions: Position embeddings of every row.
        sequence_length: L, for the operations.

    Returns:
        Rows in the order of ``shapes``; a ratio to a reference that was not timed is NaN.
    """
    rows = []
    for key, shape in shapes.items():
        parameters = count_parameters(shape, vocabulary_size=vocabulary_size, max_positions=max_positions)
        operations = count_operations(shape, sequence_length=sequence_length).total
        median, lower, upper = times_ms[key]
        row: dict[str, Any] = {
            "name": "chosen shape" if key == CHOSEN else KNOWN_SHAPES[key].title,
            **shape.to_row(),
            "parameters": parameters.embeddings + parameters.encoder,
            "parameters_without_embeddings": parameters.encoder,
            "operations": operations,
            "median_ms": median,
            "lower_quartile_ms": lower,
            "upper_quartile_ms": upper,
        }
        for reference in REFERENCES:
            reference_ms = times_ms[reference][0] if reference in times_ms else float("nan")
            row[f"measured_vs_{reference}"] = reference_ms / median
            reference_operations = count_operations(
                KNOWN_SHAPES[reference].shape, sequence_length=sequence_length
            ).total
            row[f"operations_vs_{reference}"] = reference_operations / operations
        rows.append(row | {"is_chosen": key == CHOSEN})
    return rows

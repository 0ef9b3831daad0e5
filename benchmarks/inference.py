"""Time the encoders people know side by side on this machine; writes docs/benchmarks/inference.{md,json}."""

from __future__ import annotations

from page import figure, write_page

from bort_kedro.core.markdown import number, table, times
from bort_kedro.core.shapes import BORT, KNOWN_SHAPES
from bort_kedro.core.speed import speed_rows
from bort_kedro.training.timing import time_shapes

CONDITIONS = {"batch_size": 1, "sequence_length": 128, "vocabulary_size": 50265, "num_threads": 1}
# Medians of interleaved rounds may stray this far from the ratio of the operation counts.
TOLERANCE = 0.15


def measure() -> list[dict]:
    """Rows of `core.speed.speed_rows`, with Bort in the place of the chosen shape."""
    shapes = {"chosen": BORT} | {key: known.shape for key, known in KNOWN_SHAPES.items() if known.shape != BORT}
    timings = time_shapes(list(shapes.values()), warmup_rounds=1, timed_rounds=9, turn_ms=100.0, **CONDITIONS)
    medians = {
        key: (timing.median_ms, timing.lower_quartile_ms, timing.upper_quartile_ms)
        for key, timing in zip(shapes, timings, strict=True)
    }
    rows = speed_rows(
        shapes,
        medians,
        vocabulary_size=CONDITIONS["vocabulary_size"],
        max_positions=512,
        sequence_length=CONDITIONS["sequence_length"],
    )
    rows[0]["name"] = "Bort, as released"
    return rows


def figures_of(row: dict) -> list[dict]:
    """Latency, and how many times faster than BERT-large, held against the ratio of operations."""
    measured, counted = row["measured_vs_bert_large"], row["operations_vs_bert_large"]
    return [
        figure(f"{row['name']}: latency", row["median_ms"], "ms"),
        figure(
            f"{row['name']}: times faster than BERT-large",
            measured,
            "x",
            target=counted,
            met=abs(measured / counted - 1) <= TOLERANCE,
        ),
    ]


def main() -> None:
    """Measure, then write the page and its figures."""
    rows = measure()
    body = table(
        ["encoder, no head", "median ms", "quartiles", "x BERT-large", "by operations", "x BERT-base", "by operations"],
        [
            [
                row["name"],
                number(row["median_ms"], 1),
                f"{number(row['lower_quartile_ms'], 1)} to {number(row['upper_quartile_ms'], 1)}",
                times(row["measured_vs_bert_large"]),
                times(row["operations_vs_bert_large"]),
                times(row["measured_vs_bert_base"]),
                times(row["operations_vs_bert_base"]),
            ]
            for row in rows
        ],
    )
    write_page(
        "inference",
        "Inference",
        body,
        [each for row in rows for each in figures_of(row)],
        CONDITIONS,
        command="make bench",
        setting="fp32, batch 1, 128 tokens, one thread, interleaved rounds. The limit by operations counts every "
        "scalar operation of the layers",
    )


if __name__ == "__main__":
    main()

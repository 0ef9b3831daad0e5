"""Time the encoders people know side by side on this machine; writes docs/benchmarks/inference.{md,json}."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
from pathlib import Path

from bort_kedro.core.markdown import number, table, times
from bort_kedro.core.shapes import BORT, KNOWN_SHAPES
from bort_kedro.core.speed import speed_rows
from bort_kedro.hooks import describe_device
from bort_kedro.training.timing import time_shapes

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks" / "inference"
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


def main() -> None:
    """Measure, then write the page and its figures."""
    rows = measure()
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": describe_device(),
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers")},
        "conditions": CONDITIONS,
    }
    figures = []
    for row in rows:
        figures.append(
            {"name": f"{row['name']}: latency", "value": row["median_ms"], "unit": "ms", "target": None, "met": None}
        )
        measured, counted = row["measured_vs_bert_large"], row["operations_vs_bert_large"]
        figures.append(
            {
                "name": f"{row['name']}: times faster than BERT-large",
                "value": measured,
                "unit": "x",
                "target": counted,
                "met": abs(measured / counted - 1) <= TOLERANCE,
            }
        )
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.with_suffix(".json").write_text(json.dumps({"about": about, "figures": figures}, indent=2) + "\n")
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
    page = (
        f"# Inference\n\nWritten by `make bench` on {about['date']}: {about['device']['processor']}, torch "
        f"{about['versions']['torch']}, fp32, batch 1, 128 tokens, one thread, interleaved rounds. The limit by "
        f"operations counts every scalar operation of the layers.\n\n{body}\n"
    )
    PAGE.with_suffix(".md").write_text(page)
    print(page)  # noqa: T201


if __name__ == "__main__":
    main()

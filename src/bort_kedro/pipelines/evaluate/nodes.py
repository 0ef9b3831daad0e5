"""Nodes of the evaluate stage."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bort_kedro.core.speed import speed_rows
from bort_kedro.errors import TaskError
from bort_kedro.params import SpeedParams

PREDICTION_COLUMNS = ("split", "label", "prediction")


def score_task(predictions: pd.DataFrame) -> dict[str, Any]:
    """Score the test split, which fine-tuning never saw, and the dev split beside it."""
    from bort_kedro.core.scores import score_labels

    missing = [column for column in PREDICTION_COLUMNS if column not in predictions.columns]
    if missing:
        raise TaskError(
            f"The predictions have columns {list(predictions.columns)} and lack {', '.join(missing)}. "
            f"Expected {', '.join(PREDICTION_COLUMNS)}; `kedro run --pipelines finetune` writes them."
        )
    scores = {}
    for split in ("test", "dev"):
        rows = predictions[predictions["split"] == split]
        if rows.empty:
            raise TaskError(
                f"The predictions hold no example of split `{split}`, only of "
                f"{sorted(predictions['split'].unique())}. Give the task's examples a `{split}` split."
            )
        score = score_labels(rows["label"].tolist(), rows["prediction"].tolist())
        scores[split] = vars(score) | {"beats_majority": score.beats_majority}
    return scores["test"] | {"dev": scores["dev"]}


def summarise_tasks(**of_tasks: dict[str, Any]) -> pd.DataFrame:
    """One row a task, from ``<task>.metrics`` and ``<task>.finetuning_report``."""
    tasks = [name.removesuffix(".metrics") for name in of_tasks if name.endswith(".metrics")]
    rows = []
    for task in tasks:
        metrics, cost = of_tasks[f"{task}.metrics"], of_tasks[f"{task}.finetuning_report"]
        rows.append(
            {
                "task": task,
                "num_labels": len(cost["labels"]),
                **{name: value for name, value in metrics.items() if name != "dev"},
                "dev_accuracy": metrics["dev"]["accuracy"],
                "dev_standard_error": metrics["dev"]["standard_error"],
                "num_dev_examples": metrics["dev"]["num_examples"],
                "num_trials": len(cost["trials"]),
                "seconds": cost["seconds"],
                "truncated_share": cost["truncated_share"],
            }
        )
    return pd.DataFrame(rows)


def measure_speed(selected_shape: dict[str, int], speed: SpeedParams) -> pd.DataFrame:
    """Time the chosen shape next to known ones, and count each."""
    from bort_kedro.core.shapes import KNOWN_SHAPES, BertShape
    from bort_kedro.training.timing import time_shapes

    named = {"chosen": BertShape.from_row(selected_shape)}
    named |= {key: KNOWN_SHAPES[key].shape for key in speed.compare_with}
    timings = time_shapes(list(named.values()), **speed.model_dump(exclude={"compare_with", "max_positions"}))
    medians = {
        key: (timing.median_ms, timing.lower_quartile_ms, timing.upper_quartile_ms)
        for key, timing in zip(named, timings, strict=True)
    }
    rows = speed_rows(
        named,
        medians,
        vocabulary_size=speed.vocabulary_size,
        max_positions=speed.max_positions,
        sequence_length=speed.sequence_length,
    )
    conditions = (
        "batch_size",
        "sequence_length",
        "num_threads",
        "timed_rounds",
        "vocabulary_size",
        "max_positions",
    )
    return pd.DataFrame(rows).assign(**speed.model_dump(include=set(conditions)))


def plot_speed(speed_table: pd.DataFrame) -> Any:
    """Median latency of each encoder."""
    from bort_kedro.pipelines.plots import speed_figure

    return speed_figure(speed_table)


def write_report(
    corpus_manifest: dict[str, Any],
    search_report: dict[str, Any],
    candidate_table: pd.DataFrame,
    pretraining_metrics: dict[str, Any],
    task_scores: pd.DataFrame,
    speed_table: pd.DataFrame,
) -> str:
    """All that was found, for a reader who was not there."""
    from bort_kedro.core.report import build_report

    return build_report(
        corpus=corpus_manifest,
        search=search_report,
        candidates=candidate_table.to_dict("records"),
        pretraining=pretraining_metrics,
        tasks=task_scores.to_dict("records"),
        speed=speed_table.to_dict("records"),
    )

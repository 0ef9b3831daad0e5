"""The node that writes the report."""

from __future__ import annotations

from typing import Any

import pandas as pd


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

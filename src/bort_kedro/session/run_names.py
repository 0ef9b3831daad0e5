"""What an MLflow run is called: by its stages while it runs, and by what it found when it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten
from typing import TYPE_CHECKING

from bort_kedro.encoders.shapes import shape_text
from bort_kedro.frozen import JsonObject
from bort_kedro.pipelines.namespaces import STAGES, stage_of
from bort_kedro.pretraining.report import PretrainingMetrics
from bort_kedro.reporting.task_rows import TaskRow

if TYPE_CHECKING:
    import pandas as pd
    from kedro.pipeline import Pipeline

    from bort_kedro.search.report import SearchReport

# What databases keep of a run's name.
LONGEST = 250
SHAPE, SEARCH = "selected_shape", "search.search_report"
PRETRAINING, SCORES = "pretrain_distill.pretraining_metrics", "evaluate.task_scores"
# Datasets that a name is made of.
NAMING = frozenset({SHAPE, SEARCH, PRETRAINING, SCORES})


def name_of_stages(pipeline: Pipeline, pipeline_names: Sequence[str]) -> str:
    """The stages that a run has nodes of; the names of its pipelines where they are a user's own."""
    run = {stage_of(node) for node in pipeline.nodes}
    stages = [stage for stage in STAGES if stage in run]
    return "all stages" if len(stages) == len(STAGES) else ", ".join(stages or pipeline_names)


def name_of_results(stages: str, made: JsonObject) -> str:
    """The stages, the chosen shape and the scores, as far as they were made: ``search: (2, 4, 64, 128), W 0.538``."""
    found = "; ".join(
        text
        for text in (
            _search(made[SEARCH]) if SEARCH in made else shape_text(made[SHAPE]) if SHAPE in made else "",
            _pretraining(PretrainingMetrics.from_json(made[PRETRAINING])) if PRETRAINING in made else "",
            _tasks(made[SCORES]) if SCORES in made else "",
        )
        if text
    )
    return shorten(f"{stages}: {found}" if found else stages, LONGEST, placeholder=" ...")


def _search(report: SearchReport) -> str:
    return f"{report.selected}, W {report.selected.w:.3f}"


def _pretraining(metrics: PretrainingMetrics) -> str:
    student = metrics.student
    if student.accuracy is None:
        return f"distance {student.distance:.3f}"
    return f"masked accuracy {student.accuracy:.3f}"


def _tasks(scores: pd.DataFrame) -> str:
    rows = (TaskRow.from_row(row) for row in scores.to_dict("records"))
    return ", ".join(f"{row.task} {row.score:.3f}" for row in rows)

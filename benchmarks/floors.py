"""The floors of a built-in task, which every benchmark's scores stand beside."""

from __future__ import annotations

import pandas as pd

from bort_kedro.params import FinetuneParams
from bort_kedro.pipelines.evaluate.score_nodes import floors_of


def floor_accuracies(task: str, examples: pd.DataFrame, finetune: FinetuneParams) -> dict[str, float]:
    """Accuracy on test of each of `evaluation.floors.FLOORS`."""
    answers = floors_of(task, task)(examples, finetune)[0].query("split == 'test'")
    return {floor: float((rows["label"] == rows["prediction"]).mean()) for floor, rows in answers.groupby("method")}

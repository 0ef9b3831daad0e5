"""The bar that a teacher must be over before it may label new points.

Published is an accuracy above 2/3 for tasks of two labels, where guessing is right half the time: a third of the way
from chance to perfect. Ours, for all other tasks, is the same third of the way, from what guessing reaches there:
1/C with C labels, the share of right options in multiple choice, and for regressions an R squared of 0, which the mean
of the labels has, so 1/3.

Where one label is frequent the published bar says nothing: on CoLA always answering "acceptable" is right in 69 % of
dev. So a teacher must also be above the best constant answer (our addition).

References:
    de Wynter 2020, arXiv 2010.07990, for the bar of binary tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bort_kedro.finetuning.report import FinetuningReport
from bort_kedro.tasks.description import RIGHT, Form, Task
from bort_kedro.tasks.metrics import score_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


@dataclass(frozen=True)
class TeacherCheck:
    """How good a teacher is on dev, and how good it must be.

    Args:
        score: Its accuracy, by question for multiple choice; R squared for regression.
        bar: To be over, see `teacher_bar`.
        chance: Score of guessing.
        majority: Score on this same split of the best constant answer: the most frequent label, the place where most
            questions have a right option, the mean.
        is_over: True if the score is above both the bar and the majority's.
    """

    score: float
    bar: float
    chance: float
    majority: float
    is_over: bool


class TeacherReport(FinetuningReport):
    """How a teacher of a task was trained, and whether it may teach."""

    check: TeacherCheck


def teacher_bar(chance: float) -> float:
    """A third of the way from guessing to perfect, chance + (1 - chance) / 3."""
    # In this form the bar of two labels is the very number 2/3, and being right on 2 of 3 is not over it.
    return (1.0 + 2.0 * chance) / 3.0


def check_teacher(task: Task, labels: Sequence[str], predictions: pd.DataFrame) -> TeacherCheck:
    """Whether a teacher may label new points.

    Args:
        task: Its form counts.
        labels: That a classifier chooses from; not looked at for other forms.
        predictions: Columns ``group``, ``option``, ``label`` and ``prediction`` of every row of dev.

    Raises:
        ValueError: If there is no row.
    """
    if task.form == Form.REGRESSION:
        score, chance, majority = _explained_share(predictions), 0.0, 0.0
    else:
        score = score_rows(task, "accuracy", predictions, predictions["prediction"])
        chance, majority = (
            _guessing_options(predictions)
            if task.form == Form.MULTIPLE_CHOICE
            else _guessing_labels(labels, predictions)
        )
    bar = teacher_bar(chance)
    return TeacherCheck(score, bar, chance, majority, is_over=score > bar and score > majority)


def _explained_share(predictions: pd.DataFrame) -> float:
    """R squared; NaN, which is over no bar, of fewer than two rows."""
    from sklearn.metrics import r2_score

    if len(predictions) < 2:
        return float("nan")
    return float(r2_score(predictions["label"].astype(float), predictions["prediction"].astype(float)))


def _guessing_labels(labels: Sequence[str], predictions: pd.DataFrame) -> tuple[float, float]:
    """Chance, and the share of the most frequent label."""
    return 1.0 / len(labels), float(predictions["label"].value_counts(normalize=True).iloc[0])


def _guessing_options(predictions: pd.DataFrame) -> tuple[float, float]:
    """Chance, by question the share of right options, and the best that always choosing the same place can do."""
    is_right = predictions["label"] == RIGHT
    by_question = is_right.groupby(predictions["group"], sort=False)
    right_at_place = np.bincount(by_question.cumcount(), weights=is_right)
    return float(by_question.mean().mean()), float(right_at_place.max() / by_question.ngroups)

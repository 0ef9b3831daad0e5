"""The bar that a teacher must be over before it may label new points.

Published is an accuracy above 2/3 for tasks of two labels, where guessing is right half the time: a third of the way
from chance to perfect. Ours, for all other tasks, is the same third of the way, from what guessing reaches there:
1/C with C labels, the share of right options in multiple choice, and for regressions an R squared of 0, which the mean
of the labels has, so 1/3. Of tagged words it is an F1 of whole spans over 1/3: one that is guessed is hardly ever right
in type, first and last word.

Where one label is frequent the published bar says nothing: on CoLA always answering "acceptable" is right in 69 % of
dev. So a teacher must also be above the best constant answer (our addition), and above either by a standard error: of
28 rows one that is just at a bar of 5/9 answers 16 or more every other time.

References:
    de Wynter 2020, arXiv 2010.07990, for the bar of binary tasks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bort_kedro.evaluation.scores import Estimate, constant_answers, estimate, score_answers
from bort_kedro.finetuning.report import FinetuningReport
from bort_kedro.tasks.description import RIGHT, Form, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


# The method of a teacher that is a file.
RECORDED = "recorded"


@dataclass(frozen=True)
class TeacherCheck:
    """How good a teacher is on dev, and how good it must be.

    Args:
        score: Its accuracy, by question for multiple choice; R squared for regression; F1 of spans for tagged words.
        error: Standard error of the score, for other examples; rows of one group, such as the answers to a question,
            count as drawn together. NaN of a single group.
        majority: Score on this same split of the best constant answer: the most frequent label, the place where most
            questions have a right option, the mean, a tag for all words.
        lead_error: Standard error of the score's lead over the majority's, paired by group.
        is_over: True if the score is above the bar by more than ``error``, and above the majority's by more than
            ``lead_error``.
    """

    score: float
    error: float
    bar: float
    chance: float
    majority: float
    lead_error: float
    is_over: bool


class TeacherReport(FinetuningReport):
    """How a teacher of a task was trained, or what is recorded of which split, and whether it may teach."""

    check: TeacherCheck


def teacher_bar(chance: float) -> float:
    """A third of the way from guessing to perfect, chance + (1 - chance) / 3."""
    # In this form the bar of two labels is the very number 2/3, and being right on 2 of 3 is not over it.
    return (1.0 + 2.0 * chance) / 3.0


def check_teacher(task: Task, labels: Sequence[str], predictions: pd.DataFrame) -> TeacherCheck:
    """Whether a teacher may label new points, by its answers to every row of dev.

    Columns are ``part``, ``group``, ``option``, ``label`` and ``prediction``.

    Raises:
        ValueError: If there is no row.
    """
    if predictions.empty:
        raise ValueError("a teacher is held against the rows of dev, and there is none: at least one is needed")
    if task.form == Form.REGRESSION:
        score = lead = estimate(lambda rows: _explained_share(predictions.iloc[rows]), predictions)
        chance, majority = 0.0, 0.0
    else:
        asked = replace(task, metrics=("span_f1" if task.form == Form.TOKENS else "accuracy",))
        constant = {"constant": constant_answers(asked, predictions)}
        found = score_answers(asked, predictions, predictions["prediction"].tolist(), floors=constant)
        score, floor = found.score, found.floors["constant"]
        lead, majority = Estimate(floor.lead, floor.lead_standard_error), floor.score
        chance = _chance(task.form, labels, predictions)
    bar = teacher_bar(chance)
    return TeacherCheck(
        score=score.value,
        error=score.standard_error,
        bar=bar,
        chance=chance,
        majority=majority,
        lead_error=lead.standard_error,
        is_over=score.value - score.standard_error > bar and lead.value > lead.standard_error,
    )


def _explained_share(predictions: pd.DataFrame) -> float:
    """R squared; NaN, which is over no bar, of fewer than two rows."""
    from sklearn.metrics import r2_score

    if len(predictions) < 2:
        return float("nan")
    return float(r2_score(predictions["label"].astype(float), predictions["prediction"].astype(float)))


def _chance(form: Form, labels: Sequence[str], predictions: pd.DataFrame) -> float:
    """What guessing scores: that of whole spans next to nothing."""
    if form == Form.TOKENS:
        return 0.0
    if form == Form.MULTIPLE_CHOICE:
        is_right = predictions["label"] == RIGHT
        return float(is_right.groupby(predictions["group"], sort=False).mean().mean())
    return 1.0 / len(labels)

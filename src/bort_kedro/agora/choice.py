"""Which method of fine-tuning a task gains by, asked of train alone.

Agora makes new points of mistakes on dev, so that dev flatters it. Each fold of train is answered by students that
have learned of the others by every method; all answers together are scored.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from bort_kedro.agora.rivals import ScheduledRound, run_rival
from bort_kedro.agora.run import run_agora
from bort_kedro.evaluation.scores import rival_score
from bort_kedro.finetuning.finetune import conclude, learn_dev_too, student_task, train_plainly
from bort_kedro.finetuning.report import MethodScore
from bort_kedro.tasks.splits import folds_of
from bort_kedro.training.observer import SilentObserver, TrainingObserver

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from bort_kedro.agora.points import Teaching
    from bort_kedro.agora.teaching import Teaches
    from bort_kedro.finetuning.data import TaskData
    from bort_kedro.finetuning.methods import MethodResult, StudentTask
    from bort_kedro.frozen import JsonObject
    from bort_kedro.training.saved_state import States, StateStore

LOGGER = logging.getLogger(__name__)
PLAIN = "plain"


def fine_tune_by(method: str, task: StudentTask, teaching: Teaching | None, *, ends_with_dev: bool) -> MethodResult:
    """Fine-tune a student by one of `Teaching.methods`, alone; without a teacher every method is `plain`.

    Raises:
        TrainingError: If every trial of the first round diverges.
    """
    if method == PLAIN or teaching is None:
        result = train_plainly(task)
    elif method == "agora":
        result = run_agora(task, teaching.teacher)
    else:
        result = run_rival(method, task, [ScheduledRound.first(len(task.theta))], teaching)
    return learn_dev_too(task, result) if ends_with_dev else result


class Comparison(NamedTuple):
    """What cross-validation says.

    Attributes:
        scores: By method, of its answers to all of train.
        num_trials: Trainings that it took, of the ``teacher`` and of the ``student``.
    """

    scores: dict[str, MethodScore]
    num_trials: dict[str, int]


def compare_methods(
    task: StudentTask, teaches: Teaches, methods: Sequence[str], *, ends_with_dev: bool, num_folds: int, seed: int
) -> Comparison:
    """Cross-validate every method that may be chosen, `plain` among them; the student's test split is not touched.

    The teacher is made anew for each fold, whose rows neither it nor any point has seen; labels that were recorded for
    other texts are learned with each fold, and never answered.

    Raises:
        TrainingError: If every trial of a method diverges on a fold.
    """
    folds = folds_of(task.data.tables["train"], form=task.data.task.form, num_folds=num_folds, seed=seed)
    answers: dict[str, list[pd.DataFrame]] = {method: [] for method in methods}
    taught, learned = Unheard(task.states), Unheard(task.states)
    for fold in range(num_folds):
        LOGGER.info("Task `%s`: every method on fold %d of %d of train.", task.data.task.name, fold + 1, num_folds)
        data = without_fold(task.data, folds == fold)
        own = student_task(task.student, data, task.theta, task.settings, learned)
        teaching = teaches(replace(own, states=taught))
        for method in methods:
            result = fine_tune_by(method, own, teaching, ends_with_dev=ends_with_dev)
            predictions = conclude(own, result).predictions
            answers[method].append(predictions[predictions["split"] == "test"])
    tables = {method: pd.concat(parts, ignore_index=True) for method, parts in answers.items()}
    plain = tables[PLAIN]["prediction"].tolist()
    scores = {}
    for method, table in tables.items():
        found = rival_score(task.data.task, table, plain, table["prediction"].tolist())
        scores[method] = MethodScore(score=found.score, lead=-found.lead, lead_error=found.lead_standard_error)
    return Comparison(scores, {"teacher": len(taught.trainings), "student": len(learned.trainings)})


def best_method(scores: Mapping[str, MethodScore]) -> str:
    """The highest score of those that are ahead of plain fine-tuning by a standard error; else `plain`."""
    ahead = [method for method, score in scores.items() if score.lead > score.lead_error]
    return max(ahead, key=lambda method: scores[method].score, default=PLAIN)


def told(scores: Mapping[str, MethodScore], chosen: str) -> str:
    """Every method's score, and what follows, as a sentence."""
    of_each = ", ".join(
        f"{method} {score.score:.3f}" + ("" if method == PLAIN else f" ({score.lead:+.3f} ± {score.lead_error:.3f})")
        for method, score in scores.items()
    )
    return (
        f"on the folds of train {of_each}; it is fine-tuned by {chosen}, the best of those ahead by an error or plain."
    )


def without_fold(data: TaskData, is_held: NDArray[np.bool_]) -> TaskData:
    """The same with some rows of train as its test split; what was test is gone."""
    train = data.tables["train"]
    held = train[is_held].assign(split="test").reset_index(drop=True)
    return replace(
        data, tables={"train": train[~is_held].reset_index(drop=True), "dev": data.tables["dev"], "test": held}
    )


@dataclass(frozen=True)
class Unheard:
    """States whose trainings nobody is told of, and which of them were asked for."""

    states: States
    observer: TrainingObserver = field(default_factory=SilentObserver)
    trainings: set[str] = field(default_factory=set)

    def of(self, name: str, identity: JsonObject) -> StateStore:
        """As the states it hides."""
        if "optimization" in identity:  # points are kept there, too
            self.trainings.add(json.dumps([name, identity], sort_keys=True))
        return self.states.of(name, identity)

    def names(self, folder: str) -> set[str]:
        """Likewise."""
        return self.states.names(folder)

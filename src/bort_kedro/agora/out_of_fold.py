"""What teachers believe of labelled examples that they were not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from accelerate import PartialState

from bort_kedro.errors import TrainingError
from bort_kedro.finetuning.finetune import PREDICTION_TOKENS
from bort_kedro.finetuning.methods import best_of
from bort_kedro.finetuning.objectives import predict
from bort_kedro.tasks.splits import folds_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bort_kedro.finetuning.methods import StudentTask


def out_of_fold_beliefs(task: StudentTask, *, num_folds: int, seed: int) -> NDArray[np.float64]:
    """(T, C) what encoders that were fine-tuned on the other folds of train say of the targets of each fold.

    A teacher that has seen a row says little more of it than its label; one that has not says what it would of a new
    text, which is what its beliefs are worth (Wolpert 1992, stacked generalization). Dev chooses out of the teacher's
    Theta in every fold.

    Raises:
        TrainingError: If every fine-tuning of a fold diverges.
    """
    train = task.encoded.splits["train"]
    folds = unit_folds(task, num_folds=num_folds, seed=seed)
    beliefs = np.zeros(train.targets.shape)
    for fold in range(num_folds):
        rest, held = np.flatnonzero(folds != fold).tolist(), np.flatnonzero(folds == fold).tolist()
        method = f"teacher without fold {fold + 1}"
        trials = [task.train(train.taken(rest), place, method=method, number=0) for place in range(len(task.theta))]
        model = best_of(trials).model
        if model is None:
            raise TrainingError(
                f"Task `{task.data.task.name}`: every training of the {method} diverged. Lower learning_rates in "
                "params:finetune.teacher.training."
            )
        model.to(PartialState().device)
        form = task.data.task.form
        beliefs[train.targets_of(held)] = predict(model, form, train.taken(held), batch_tokens=PREDICTION_TOKENS)
    return beliefs


def unit_folds(task: StudentTask, *, num_folds: int, seed: int) -> NDArray[np.intp]:
    """(U,) the fold of each unit of train."""
    rows = folds_of(task.data.tables["train"], form=task.data.task.form, num_folds=num_folds, seed=seed)
    firsts = np.cumsum([0, *(len(unit.rows) for unit in task.data.units["train"][:-1])])
    folds: NDArray[np.intp] = rows[firsts]
    return folds

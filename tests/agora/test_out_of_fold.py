"""Beliefs of teachers that have not seen what they are asked of."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from bort_kedro.agora.out_of_fold import out_of_fold_beliefs, unit_folds
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.errors import TrainingError
from bort_kedro.finetuning.methods import StudentTask
from bort_kedro.finetuning.objectives import predict
from bort_kedro.finetuning.theta import HyperparameterSet
from bort_kedro.finetuning.trials import DIVERGED
from bort_kedro.tasks.table import Form
from toy_tasks import SETTINGS, data_of, encoder_of

THETA = [HyperparameterSet(1e-2, 0.01, 0.1, 256, 0)]


@pytest.fixture(scope="module")
def task_of(tiny_tokenizer, tmp_path_factory):
    student, states = encoder_of(tiny_tokenizer), TrainingStates(tmp_path_factory.mktemp("states"), keep=1)

    def make(form=Form.CLASSIFICATION, **sizes):
        data = data_of(form, **sizes)
        return StudentTask(student, data, data.encoded(student, max_tokens=48), THETA, SETTINGS, states)

    return make


def test_each_fold_is_answered_by_the_one_that_was_trained_on_the_others(task_of):
    task = task_of(num_train=24)
    beliefs = out_of_fold_beliefs(task, num_folds=3, seed=1)
    folds, train = unit_folds(task, num_folds=3, seed=1), task.encoded.splits["train"]
    assert sorted(np.bincount(folds)) == [8, 8, 8]
    assert beliefs.sum(axis=1) == pytest.approx(1.0)
    rest, held = np.flatnonzero(folds != 2), np.flatnonzero(folds == 2)
    alone = task.train(train.taken(rest.tolist()), 0, method="", number=0)
    said = predict(alone.model, Form.CLASSIFICATION, train.taken(held.tolist()), batch_tokens=64)
    assert beliefs[held] == pytest.approx(said, abs=1e-6)


def test_all_options_of_a_question_are_in_one_fold(task_of):
    task = task_of(Form.MULTIPLE_CHOICE, num_train=9)
    train = task.encoded.splits["train"]
    beliefs = out_of_fold_beliefs(task, num_folds=3, seed=0)
    assert beliefs.shape == (27, 1)
    part = train.taken([4, 1])
    assert part.targets.tolist() == train.targets[[12, 13, 14, 3, 4, 5]].tolist()
    assert (part.starts.tolist(), part.num_units) == ([0, 3, 6], 2)
    assert all(np.array_equal(*pair) for pair in zip(part.input_ids[:3], train.input_ids[12:15], strict=True))


class Diverging(StudentTask):
    """Every training of it diverges."""

    def train(self, *arguments, **keywords):
        return SimpleNamespace(score=DIVERGED, model=None)


def test_a_fold_whose_every_training_diverges_says_what_to_change(task_of):
    task = Diverging(**vars(task_of(num_train=12)))
    expected = (
        "Task `toy`: every training of the teacher without fold 1 diverged. Lower learning_rates in "
        "params:finetune.teacher.training."
    )
    with pytest.raises(TrainingError, match=f"^{re.escape(expected)}$"):
        out_of_fold_beliefs(task, num_folds=2, seed=0)

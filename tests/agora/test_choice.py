"""Which method of fine-tuning is chosen, and what it is chosen by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bort_kedro.agora.choice import CANDIDATES, best_method, compare_methods, fine_tune_by, told, without_fold
from bort_kedro.agora.points import Teaching
from bort_kedro.agora.settings import AgoraSettings, TransformationSettings
from bort_kedro.agora.teaching import EncoderTeaches
from bort_kedro.evaluation.scores import rival_score
from bort_kedro.finetuning.finetune import conclude, student_task, train_plainly
from bort_kedro.finetuning.report import MethodScore
from bort_kedro.finetuning.settings import FinetuningSettings
from bort_kedro.finetuning.theta import HyperparameterSet
from bort_kedro.tasks.splits import folds_of
from memory_states import DictStates, NotingObserver
from toy_tasks import SETTINGS, data_of, encoder_of

THETA = [HyperparameterSet(1e-2, 0.01, 0.1, 256, 0)]


def scores(**leads):
    found = {method: MethodScore(score=0.5 + lead, lead=lead, lead_error=0.02) for method, lead in leads.items()}
    return {"plain": MethodScore(score=0.5, lead=0.0, lead_error=0.0)} | found


@pytest.mark.parametrize(
    ("leads", "chosen"),
    [
        ({"agora": 0.05, "distilled": 0.03}, "agora"),
        ({"agora": 0.05, "distilled": 0.06}, "distilled"),
        # Ahead by less than its error.
        ({"agora": 0.019, "distilled": -0.1}, "plain"),
        ({}, "plain"),
    ],
)
def test_the_best_of_those_ahead_of_plain_by_an_error_is_chosen(leads, chosen):
    assert best_method(scores(**leads)) == chosen


def test_scores_and_what_follows_are_told_in_a_sentence():
    assert told(scores(agora=0.05), "agora") == (
        "on the folds of train plain 0.500, agora 0.550 (+0.050 ± 0.020); it is fine-tuned by agora, the best of those "
        "ahead by an error or plain."
    )


def test_a_fold_of_train_takes_the_place_of_test():
    data = data_of(num_train=8, num_dev=4, num_test=6)
    held = without_fold(data, np.arange(8) % 4 == 1)
    train = data.tables["train"]["text"].tolist()
    assert held.tables["test"]["text"].tolist() == [train[1], train[5]]
    assert held.tables["test"]["split"].tolist() == ["test", "test"]
    assert held.tables["train"]["text"].tolist() == [text for place, text in enumerate(train) if place % 4 != 1]
    assert held.tables["dev"] is data.tables["dev"]
    assert not set(held.tables["test"]["text"]) & set(data.tables["test"]["text"])


@pytest.fixture(scope="module")
def student(tiny_tokenizer):
    return encoder_of(tiny_tokenizer)


def test_each_method_answers_all_of_train_and_nobody_is_told_of_the_trainings(student):
    data, observer = data_of(num_train=24, num_dev=12, num_test=4), NotingObserver()
    task = student_task(student, data, THETA, SETTINGS, DictStates(observer))
    found = compare_methods(task, None, num_folds=3, seed=0)
    assert list(found) == list(CANDIDATES)
    assert observer.trials == []
    # Without a teacher those that need one are plain fine-tuning.
    assert found["agora"] == found["distilled"] == found["plain"]
    assert found["plain"].lead == 0.0
    folds = folds_of(data.tables["train"], form=data.task.form, num_folds=3, seed=0)
    right = []
    for fold in range(3):
        own = student_task(student, without_fold(data, folds == fold), THETA, SETTINGS, DictStates())
        predictions = conclude(own, train_plainly(own)).predictions.query("split == 'test'")
        right += (predictions["label"] == predictions["prediction"]).tolist()
    assert (len(right), found["plain"].score) == (24, np.mean(right))


def test_a_lead_is_paired_with_plain(student):
    data = data_of(num_train=24, num_dev=12, num_test=4)
    found = compare_methods(student_task(student, data, THETA, SETTINGS, DictStates()), None, num_folds=2, seed=0)
    with_dev = found["plain_with_dev"]
    assert with_dev.lead == pytest.approx(with_dev.score - found["plain"].score)
    folds = folds_of(data.tables["train"], form=data.task.form, num_folds=2, seed=0)
    answers = {"plain": [], "plain_with_dev": []}
    tables = []
    for fold in range(2):
        own = student_task(student, without_fold(data, folds == fold), THETA, SETTINGS, DictStates())
        tables.append(own.data.tables["test"])
        for method in answers:
            predictions = conclude(own, fine_tune_by(method, own, None)).predictions
            answers[method] += predictions.query("split == 'test'")["prediction"].tolist()
    table = pd.concat(tables, ignore_index=True)
    expected = rival_score(data.task, table, answers["plain_with_dev"], answers["plain"])
    assert (with_dev.lead, with_dev.lead_error) == pytest.approx((expected.lead, expected.lead_standard_error))


def test_every_method_that_may_be_chosen_is_fine_tuned_by(student):
    data = data_of(num_train=24, num_dev=12, num_test=4)
    task = student_task(student, data, [*THETA, HyperparameterSet(3e-3, 0.01, 0.1, 256, 1)], SETTINGS, DictStates())
    transformation = TransformationSettings(
        weights={"swap_words": 1}, changed_share=0.3, temperature=1.0, top_k=5, batch_tokens=256, max_tokens=32
    )
    settings = AgoraSettings(
        seed=0,
        max_replays=0,
        points_per_mistake=2,
        max_points_share=1.0,
        max_overlap=1.0,
        ngram_words=3,
        teacher_labels="soft",
        distillation_share=0.5,
        transformation=transformation,
    )
    teaching = EncoderTeaches(student, teacher_training(), settings, num_folds=2, seed=0)(
        task, student_classifier(task)
    )
    assert isinstance(teaching, Teaching)
    assert [fine_tune_by(method, task, teaching).method for method in CANDIDATES] == list(CANDIDATES)


def student_classifier(task):
    """Some model for the task."""
    return conclude(task, train_plainly(task)).model


def teacher_training():
    return FinetuningSettings(
        **dict(SETTINGS),
        learning_rates=(1e-2,),
        weight_decays=(0.01,),
        warmup_shares=(0.1,),
        batch_tokens=(256,),
        seeds=(0,),
        max_sets=None,
    )

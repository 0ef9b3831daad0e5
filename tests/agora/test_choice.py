"""Which method of fine-tuning is chosen, and what it is chosen by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from bort_kedro.agora import choice
from bort_kedro.agora.choice import best_method, compare_methods, fine_tune_by, told, without_fold
from bort_kedro.agora.teaching import EncoderTeaches, FileTeaches
from bort_kedro.evaluation.scores import rival_score
from bort_kedro.finetuning.finetune import conclude, student_task, train_plainly
from bort_kedro.finetuning.report import MethodScore
from bort_kedro.finetuning.settings import FinetuningSettings
from bort_kedro.finetuning.theta import HyperparameterSet
from bort_kedro.tasks.splits import folds_of
from memory_states import DictStates, NotingObserver
from toy_tasks import AGORA, SETTINGS, data_of, encoder_of

METHODS = ("plain", "distilled", "agora")
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
    # Of no fold is the teacher over its bar.
    found, counts = compare_methods(task, lambda own: None, METHODS, ends_with_dev=False, num_folds=3, seed=0)
    # Plain fine-tuning of each fold is found finished by the other methods.
    assert counts == {"teacher": 0, "student": 3}
    assert list(found) == list(METHODS)
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


def test_recorded_labels_are_learned_with_the_rest_of_each_fold_and_never_answered(student, monkeypatch):
    data = data_of(num_train=24, num_dev=12, num_test=4)
    texts = [*data.tables["train"]["text"], *data.tables["dev"]["text"], "one recorded text", "another text"]
    table = pd.DataFrame({"group": map(str, range(38)), "text": texts, "text_pair": None, "option": None})
    table = table.drop_duplicates("text").assign(probability_array=0.25, probability_row=0.75)
    learned = []

    def noting(method, task, teaching, *, ends_with_dev):
        if method == "weak_supervision":
            recorded = [unit.rows[0][0] for unit in teaching.recorded().units]
            learned.append((recorded, task.data.tables["train"]["text"].tolist()))
        return train_plainly(task)

    monkeypatch.setattr(choice, "fine_tune_by", noting)
    task = student_task(student, data, THETA, SETTINGS, DictStates())
    teaches = FileTeaches(table, agora_settings())
    assert teaches(task).methods == ("plain", "distilled", "weak_supervision", "agora")
    methods = ("plain", "weak_supervision")
    found, _ = compare_methods(task, teaches, methods, ends_with_dev=False, num_folds=3, seed=0)
    assert list(found) == list(methods)
    folds = folds_of(data.tables["train"], form=data.task.form, num_folds=3, seed=0)
    # The file has all of train, and none of a fold that is answered is learned by it.
    train = data.tables["train"]["text"]
    assert learned == [(["one recorded text", "another text"], train[folds != fold].tolist()) for fold in range(3)]


def test_a_lead_is_paired_with_plain(student):
    data = data_of(num_train=40, num_dev=20, num_test=4)
    task = student_task(student, data, THETA, SETTINGS, DictStates())
    teaches = EncoderTeaches(student, teacher_training(), agora_settings(), num_folds=2, seed=1)
    states = DictStates()
    task = replace(task, states=states)
    found, counts = compare_methods(task, Always(teaches), METHODS, ends_with_dev=True, num_folds=2, seed=0)
    # For each fold a teacher and two that answer parts of what it has learned; plain and distilled, each with dev too,
    # and of Agora, whose Theta has one set, nothing more.
    assert counts == {"teacher": 2 * 3, "student": 2 * 4}
    # The teacher is plain fine-tuning here.
    assert sum("optimization" in identity for identity in states.identities) == 6 + 8 - 2
    agora = found["agora"]
    assert agora.lead == pytest.approx(agora.score - found["plain"].score)
    folds = folds_of(data.tables["train"], form=data.task.form, num_folds=2, seed=0)
    answers, tables = {"plain": [], "agora": []}, []
    for fold in range(2):
        own = student_task(student, without_fold(data, folds == fold), THETA, SETTINGS, DictStates())
        tables.append(own.data.tables["test"])
        for method in answers:
            result = fine_tune_by(method, own, Always(teaches)(own), ends_with_dev=True)
            predictions = conclude(own, result).predictions.query("split == 'test'")
            answers[method] += predictions["prediction"].tolist()
    table = pd.concat(tables, ignore_index=True)
    expected = rival_score(data.task, table, answers["agora"], answers["plain"])
    assert (agora.lead, agora.lead_error) == pytest.approx((expected.lead, expected.lead_standard_error))


@dataclass
class Always:
    """Makes a teacher whatever its bar says."""

    teaches: EncoderTeaches

    def __call__(self, task):
        return self.teaches(task, student_classifier(task))


def test_every_method_that_may_be_chosen_is_fine_tuned_by(student):
    data = data_of(num_train=24, num_dev=12, num_test=4)
    task = student_task(student, data, [*THETA, HyperparameterSet(3e-3, 0.01, 0.1, 256, 1)], SETTINGS, DictStates())
    teaching = EncoderTeaches(student, teacher_training(), agora_settings(), num_folds=2, seed=0)(
        task, student_classifier(task)
    )
    assert teaching.methods == METHODS
    for ends_with_dev in (False, True):
        found = [fine_tune_by(method, task, teaching, ends_with_dev=ends_with_dev) for method in METHODS]
        assert [result.method for result in found] == list(METHODS)
        assert [result.last is not None for result in found] == [ends_with_dev] * len(METHODS)


def test_what_is_said_of_dev_is_of_the_trial_that_had_not_learned_it(student):
    data = data_of(num_train=24, num_dev=12, num_test=4)
    task = student_task(student, data, THETA, SETTINGS, DictStates())
    before = conclude(task, fine_tune_by("plain", task, None, ends_with_dev=False))
    after = conclude(task, fine_tune_by("plain", task, None, ends_with_dev=True))
    dev, test = (before.predictions["split"] == split for split in ("dev", "test"))
    columns = ["probability_array", "probability_row"]
    assert after.predictions[dev].equals(before.predictions[dev])
    assert not np.allclose(after.predictions.loc[test, columns], before.predictions.loc[test, columns])
    assert after.report.last.num_steps == round(before.report.best.num_steps * 36 / 24)
    assert [row["round"] for row in after.history] == [0] * len(before.history) + [1] * (
        len(after.history) - len(before.history)
    )


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


def agora_settings():
    transformation = AGORA.transformation.changed(weights={"swap_words": 1}, changed_share=0.3, top_k=5, max_tokens=32)
    return AGORA.changed(max_replays=0, max_points_share=1.0, max_overlap=1.0, transformation=transformation)

"""A task from beginning to end: teachers of several families, every form through Agora, diagnostics."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import RobertaConfig, RobertaForMaskedLM

from agora_bounds import max_trials
from bort_kedro.agora.out_of_fold import out_of_fold_beliefs
from bort_kedro.agora.points import Teaching
from bort_kedro.agora.rivals import ScheduledRound, run_rival
from bort_kedro.agora.run import run_agora
from bort_kedro.agora.teacher import (
    BETTER_ENCODER,
    TaskTeacher,
    fine_tune_teacher,
    require_strong_teacher,
    weakness,
)
from bort_kedro.agora.teacher_bar import TeacherCheck
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.encoders.teachers import TeacherPlace, open_teacher
from bort_kedro.errors import TaskError, TeacherError, TrainingError
from bort_kedro.finetuning.data import COLUMNS, check_examples
from bort_kedro.finetuning.finetune import answer_diagnostic, conclude, student_task, train_plainly
from bort_kedro.finetuning.settings import ThetaSettings
from bort_kedro.finetuning.theta import HyperparameterSet, build_theta
from bort_kedro.tasks.table import TASKS, Form
from bort_kedro.tasks.units import Unit
from disturbed_encoders import with_trained_head
from memory_states import NotingObserver
from toy_tasks import AGORA as TOY_AGORA
from toy_tasks import NOISE, SETTINGS, WORDS, data_of, encoder_of, sentence

PLACE = TeacherPlace("params:finetune.teacher.encoder", "params:finetune.teacher.training.max_tokens")
LARGER = BertShape(num_hidden_layers=1, num_attention_heads=4, hidden_size=64, intermediate_size=64)
TEACHER_SETTINGS = SETTINGS.changed(num_epochs=8)
THETA = tuple(HyperparameterSet(rate, 0.01, 0.1, 512, 0) for rate in (1e-3, 3e-3))
TEACHER_THETA = (HyperparameterSet(1e-2, 0.01, 0.1, 512, 0),)
AGORA = TOY_AGORA.changed(
    max_overlap=0.8,
    ngram_words=2,
    teacher_labels="hard",
    transformation=TOY_AGORA.transformation.changed(
        weights={"masked_lm": 1.0, "swap_words": 1.0}, changed_share=0.3, top_k=20, batch_tokens=512
    ),
)


@pytest.fixture
def states(tmp_path):
    return TrainingStates(tmp_path / "states", keep=2)


def task_for(pretrained, data, states, *, theta=THETA, settings=SETTINGS):
    return student_task(pretrained, data, theta, settings, states)


def roberta(tokenizer, folder):
    """The folder of an encoder of another family than the student's, opened as a user's teacher is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        config = RobertaConfig(
            vocab_size=300,
            hidden_size=64,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=52,
            type_vocab_size=1,
            pad_token_id=1,
            initializer_range=0.1,
        )
        with_trained_head(RobertaForMaskedLM(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return open_teacher(str(folder), sequence_length=48, place=PLACE)


@pytest.mark.parametrize("form", Form)
def test_every_form_goes_through_agora_and_its_rivals(tiny_tokenizer, states, form):
    data = data_of(form, num_train=24, num_dev=12, num_test=12)
    larger = encoder_of(tiny_tokenizer, seed=1, shape=LARGER)
    # As taught as it comes: whether the teacher is over its bar is asked elsewhere.
    tuned, taught = fine_tune_teacher(
        task_for(larger, data, states, theta=TEACHER_THETA, settings=TEACHER_SETTINGS.changed(num_epochs=2))
    )
    teacher = TaskTeacher(tuned.model, larger, data, AGORA, 48)
    states.observer = NotingObserver()
    task = task_for(encoder_of(tiny_tokenizer), data, states)
    result = run_agora(task, teacher)
    found = conclude(task, result)
    report = found.report
    assert (report.task, report.form, report.method) == ("toy", form.value, "agora")
    assert report.num_units == {"train": 24, "dev": 12, "test": 12}
    assert len(THETA) <= report.num_trials <= max_trials(len(THETA), AGORA.max_replays)
    drawn = [each.points for each in report.rounds[1:]]
    assert all(points.num_kept <= 12 for points in drawn)
    assert sum(points.num_kept for points in drawn) > 0
    rows = {"train": 24, "dev": 12, "test": 12}
    if form == Form.MULTIPLE_CHOICE:
        rows = {split: 3 * count for split, count in rows.items()}
    assert report.num_examples == rows
    predictions = found.predictions
    assert predictions["split"].value_counts().to_dict() == {"dev": rows["dev"], "test": rows["test"]}
    outputs = [name for name in predictions.columns if name.startswith("probability_") or name == "output"]
    assert outputs == {
        Form.CLASSIFICATION: ["probability_array", "probability_row"],
        Form.TOKENS: [],
    }.get(form, ["output"])
    assert np.isfinite(predictions[outputs].to_numpy()).all()
    if form == Form.MULTIPLE_CHOICE:
        chosen = predictions.groupby(["split", "group"])["prediction"].apply(lambda answers: (answers == "right").sum())
        assert (chosen == 1).all()
    assert set(taught.to_json()["check"]) == {*("score", "error", "bar", "chance", "majority", "lead_error", "is_over")}
    assert len(states.observer.trials) == report.num_trials
    schedule = [ScheduledRound.of(each) for each in report.rounds]
    beliefs = partial(out_of_fold_beliefs, task, num_folds=2, seed=0)
    teaching = Teaching(teacher, beliefs)
    for rival in ("plain", "distilled", "random_augmentation"):
        its = run_rival(rival, task, schedule, teaching).report()
        assert its.method == rival
        assert (its.num_trials, its.num_steps) == (report.num_trials, report.num_steps)
        assert [trial.num_steps for each in its.rounds for trial in each.trials] == [
            trial.num_steps for each in report.rounds for trial in each.trials
        ]


def test_plain_fine_tuning_trains_each_setting_once_and_keeps_the_best(tiny_tokenizer, states):
    states.observer = NotingObserver()
    task = task_for(encoder_of(tiny_tokenizer), data_of(num_train=24, num_dev=12, num_test=8), states)
    result = train_plainly(task)
    trials = states.observer.trials
    assert [(each.method, each.round, each.setting) for each in trials] == [("plain", 0, 0), ("plain", 0, 1)]
    scores = [each.row["dev_score"] for each in trials]
    assert result.best.score == max(scores)
    assert result.best.hyperparameters == THETA[scores.index(max(scores))]
    found = conclude(task, result)
    assert {row["setting"] for row in found.history} == {0, 1}
    assert {row["method"] for row in found.history} == {"plain"}
    assert found.report.rounds[0].points is None
    assert found.report.labels == ("array", "row")
    assert not found.model.model.training


def test_a_pretrained_student_is_left_as_it_was(tiny_tokenizer, states):
    student = encoder_of(tiny_tokenizer)
    before = {name: value.clone() for name, value in student.model.named_parameters()}
    train_plainly(task_for(student, data_of(num_train=12, num_dev=4, num_test=4), states))
    assert all(torch.equal(value, before[name]) for name, value in student.model.named_parameters())


def test_plain_fine_tuning_of_which_every_training_diverges_says_what_to_change(tiny_tokenizer, states, caplog):
    theta = (HyperparameterSet(1e20, 0.0, 0.0, 256, 0),)
    data = data_of(num_train=24, num_dev=4, num_test=4)
    with caplog.at_level(logging.WARNING), pytest.raises(TrainingError) as caught:
        train_plainly(task_for(encoder_of(tiny_tokenizer), data, states, theta=theta, settings=TEACHER_SETTINGS))
    assert str(caught.value) == (
        "Task `toy`: every training diverged. Lower learning_rates or max_gradient_norm, or set mixed_precision to "
        "`no`, in params:finetune.training."
    )
    assert "It counts as the worst of its round." in caplog.text


def test_a_teacher_of_another_family_is_fine_tuned_checked_and_teaches(tiny_tokenizer, states, tmp_path):
    larger = roberta(tiny_tokenizer, tmp_path / "roberta")
    before = larger.fingerprint
    data = data_of(num_train=96, num_dev=24, num_test=12)
    theta = tuple(HyperparameterSet(rate, 0.01, 0.1, 256, 0) for rate in (3e-3, 1e-2))
    task = task_for(larger, data, states, theta=theta, settings=TEACHER_SETTINGS)
    tuned, taught = fine_tune_teacher(task)
    check = taught.check
    assert tuned.model.model.config.model_type == "roberta"
    assert tuned.report.method == "teacher"
    assert type(larger)(larger.model, larger.tokenizer).fingerprint == before
    dev = tuned.predictions[tuned.predictions["split"] == "dev"]
    assert check.score == (dev["label"] == dev["prediction"]).mean()
    assert (check.bar, check.chance, check.majority) == (pytest.approx(2 / 3), 0.5, 0.5)
    assert check.is_over
    require_strong_teacher(check, "toy", BETTER_ENCODER)
    teacher = TaskTeacher(tuned.model, larger, data, AGORA, 48)
    said = teacher.says(data.units["dev"])
    assert said == pytest.approx(dev[["probability_array", "probability_row"]].to_numpy(), abs=1e-6)
    student = task_for(encoder_of(tiny_tokenizer), data, states)
    result = run_agora(student, teacher)
    points = result.rounds[1].draw
    assert points.units
    # What the teacher calls likeliest is what the points are labelled as.
    assert points.targets.tolist() == np.eye(2)[teacher.says(points.units).argmax(1)].tolist()


def test_points_of_a_teacher_come_near_neither_dev_nor_test(tiny_tokenizer, states):
    data = data_of(num_train=12, num_dev=6, num_test=6)
    larger = encoder_of(tiny_tokenizer, shape=LARGER)
    tuned, _ = fine_tune_teacher(task_for(larger, data, states, theta=TEACHER_THETA))
    weights = {"swap_words": 1.0}
    settings = AGORA.changed(transformation=AGORA.transformation.changed(weights=weights, changed_share=0.01))
    points = TaskTeacher(tuned.model, larger, data, settings, 48).points(states)
    # One pair of words is swapped: of six pairs of neighbours three stay at least.
    strict = settings.changed(max_overlap=0.2)
    of_test = (
        TaskTeacher(tuned.model, larger, data, strict, 48)
        .points(states)
        .make(data.units["test"], seed=1, max_points=99)
    )
    assert (len(of_test.units), of_test.num_copies + of_test.num_repeated) == (0, 12)
    unseen = [Unit(((" ".join(f"{word}{place}" for place, word in enumerate(NOISE)), None),))]
    assert len(points.make(unseen, seed=1, max_points=99).units) > 0


@pytest.mark.parametrize(("name", "protects"), [("wic", True), ("wsc", True), ("cola", False), ("boolq", False)])
def test_a_teacher_protects_marked_spans_in_tasks_that_have_some(tiny_tokenizer, states, monkeypatch, name, protects):
    asked = []
    monkeypatch.setattr(
        "bort_kedro.agora.teacher.Transformation", lambda *given, protects_spans: asked.append(protects_spans)
    )
    data, encoder = data_of(num_train=6, num_dev=6, num_test=6), encoder_of(tiny_tokenizer)
    data = replace(data, task=replace(data.task, layout=TASKS[name].layout))
    TaskTeacher(encoder, encoder, data, AGORA, 48).points(states)
    assert asked == [protects]


def test_examples_that_were_saved_are_those_that_were_read(tiny_tokenizer, tmp_path):
    hidden = nli_examples([("submission", 5, False)], TASKS["mnli"].labels)
    labelled = nli_examples([("train", 6, True), ("dev", 3, True), ("test", 3, True)], TASKS["mnli"].labels)
    examples = pd.concat([labelled.assign(text_pair=None), hidden.assign(text_pair=None)], ignore_index=True)
    examples.to_parquet(tmp_path / "examples.parquet")
    # A missing label comes back as NaN.
    before, after = (
        check_examples(table, TASKS["mnli"]) for table in (examples, pd.read_parquet(tmp_path / "examples.parquet"))
    )
    assert after.units == before.units
    for split, table in before.tables.items():
        assert table.equals(after.tables[split])
    encoded = [data.encoded(encoder_of(tiny_tokenizer), max_tokens=48).splits for data in (before, after)]
    assert [rows.fingerprint for rows in encoded[0].values()] == [rows.fingerprint for rows in encoded[1].values()]
    assert not encoded[1]["submission"].targets.any()


WEAK = TeacherCheck(score=0.5, error=0.05, bar=2 / 3, chance=0.5, majority=0.5, lead_error=0.07, is_over=False)


def test_a_weak_teacher_is_refused_with_what_it_lacks_and_the_ways_out():
    with pytest.raises(TeacherError) as caught:
        require_strong_teacher(WEAK, "toy", BETTER_ENCODER)
    assert str(caught.value) == (
        "Task `toy`: the teacher reaches 50.0% ± 5.0% on dev and must be over 66.7% by that standard error to label "
        "new points (chance 50.0%), and ahead of the best constant answer, 50.0%, by 7.0%, the standard error of the "
        "lead. Give it more examples or epochs (params:finetune.teacher.training), name a stronger "
        "one (params:finetune.teacher.encoder), or set params:finetune.weak_teacher to `plain`, which fine-tunes "
        "such tasks without Agora."
    )


def test_only_a_teacher_that_is_not_over_its_bar_stops_the_run():
    assert require_strong_teacher(replace(WEAK, score=0.7, is_over=True), "toy", BETTER_ENCODER) is None
    with pytest.raises(TeacherError, match=r"reaches 66.7% ± 5.0% on dev and must be over 66.7%"):
        require_strong_teacher(replace(WEAK, score=2 / 3), "toy", BETTER_ENCODER)


def test_a_teacher_above_the_bar_that_is_below_the_majority_is_told_both():
    assert weakness(replace(WEAK, score=0.8, majority=0.8)) == (
        "the teacher reaches 80.0% ± 5.0% on dev and must be over 66.7% by that standard error to label new points "
        "(chance 50.0%), and ahead of the best constant answer, 80.0%, by 7.0%, the standard error of the lead."
    )


def test_theta_is_every_combination_or_a_part_of_it():
    settings = ThetaSettings(
        learning_rates=(1e-3, 2e-3),
        weight_decays=(0.0,),
        warmup_shares=(0.1,),
        batch_tokens=(256, 512),
        seeds=(0, 1),
        max_sets=None,
    )
    every = build_theta(settings, draw_seed=0)
    assert len(every) == 8
    drawn = build_theta(settings.changed(max_sets=3), draw_seed=0)
    assert len(drawn) == 3
    assert set(drawn) <= set(every)
    assert build_theta(settings.changed(max_sets=3), draw_seed=0) == drawn


def nli_examples(splits, labels, *, seed=0):
    """Pairs whose second sentence tells the label, in the columns of the table of examples."""
    generator = np.random.default_rng(seed)
    rows = []
    words = [*WORDS["array"], *WORDS["row"]]
    for split, count, is_labelled in splits:
        for number in range(count):
            place = number % len(labels)
            text, pair = sentence(generator), sentence(generator, words[place])
            label = labels[place] if is_labelled else None
            rows.append((split, "", str(number), str(number), text, pair, None, label))
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)


@pytest.fixture
def mnli_model(tiny_tokenizer, states):
    """A model of MNLI's three labels, however good."""
    examples = nli_examples([("train", 12, True), ("dev", 6, True), ("test", 6, True)], TASKS["mnli"].labels)
    data = check_examples(examples, TASKS["mnli"])
    task = task_for(encoder_of(tiny_tokenizer), data, states, theta=THETA[:1])
    return conclude(task, train_plainly(task)).model


def test_a_diagnostic_is_answered_with_the_model_of_another_task(mnli_model):
    ax = TASKS["ax"]
    examples = nli_examples([("test", 9, True)], ax.labels, seed=1)
    predictions, report = answer_diagnostic(mnli_model, ax, examples, max_tokens=48)
    names = [f"probability_{label}" for label in ax.labels]
    assert set(names) <= set(predictions.columns)
    shares = predictions[names].to_numpy()
    assert shares.sum(axis=1) == pytest.approx(1.0)
    assert predictions["prediction"].tolist() == [ax.labels[place] for place in shares.argmax(1)]
    assert predictions["label"].tolist() == examples["label"].tolist()
    assert report.num_examples == report.num_units == {"test": 9}
    assert {
        name: getattr(report, name)
        for name in ("task", "form", "metrics", "labels", "method", "num_trials", "seconds", "num_tokens")
    } == {
        "task": "ax",
        "form": "classification",
        "metrics": ("matthews",),
        "labels": TASKS["mnli"].labels,
        "method": "diagnostic",
        "num_trials": 0,
        "seconds": 0.0,
        "num_tokens": 0,
    }


def test_a_diagnostic_without_labels_is_answered_too(mnli_model):
    examples = nli_examples([("submission", 5, False)], TASKS["ax"].labels)
    predictions, report = answer_diagnostic(mnli_model, TASKS["ax"], examples, max_tokens=48)
    assert predictions["split"].tolist() == ["submission"] * 5
    assert predictions["label"].isna().all()
    assert set(predictions["prediction"]) <= set(TASKS["ax"].labels)
    assert report.num_examples == {"submission": 5}


def test_a_diagnostic_with_other_labels_than_the_model_is_refused(mnli_model):
    with pytest.raises(TaskError) as caught:
        answer_diagnostic(
            mnli_model, TASKS["axb"], nli_examples([("test", 2, True)], TASKS["axb"].labels), max_tokens=48
        )
    assert str(caught.value) == (
        "Task `axb` has the labels entailment, not_entailment, and the model that is to answer it entailment, neutral, "
        "contradiction. Fine-tune one of superglue_rte or rte in the same run."
    )

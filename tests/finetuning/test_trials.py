"""Whole fine-tunings of a tiny encoder on tasks that can be learned."""

import json
import logging
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch

from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.finetuning.data import COLUMNS, check_examples
from bort_kedro.finetuning.objectives import predict
from bort_kedro.finetuning.theta import HyperparameterSet
from bort_kedro.finetuning.trials import DIVERGED, output_names, train_trial, trial_optimization
from bort_kedro.tasks.table import RIGHT, WRONG, own_task
from bort_kedro.training.threads import resolve_precision
from memory_states import DictStates
from toy_tasks import SETTINGS as TOY_SETTINGS

HYPERPARAMETERS = HyperparameterSet(learning_rate=5e-3, weight_decay=0.01, warmup_share=0.1, batch_tokens=256, seed=0)
SETTINGS = TOY_SETTINGS.changed(max_tokens=24, num_epochs=8, looks_per_epoch=2, dropout=0.1)
# For what needs no learning.
SHORT = SETTINGS.changed(num_epochs=1, looks_per_epoch=1)
FILES = {split: f"{split}.csv" for split in ("train", "dev", "test")}
TEXT_AND_LABEL = {"text": "text", "label": "label"}
TOY = own_task("toy", files=FILES, columns=TEXT_AND_LABEL, metrics=("accuracy", "macro_f1"))
CLOSENESS = own_task("closeness", files=FILES, columns=TEXT_AND_LABEL, form="regression")
CHOICE = own_task(
    "choice",
    files=FILES,
    columns={"text": "text", "label": "label", "options": ["a", "b", "c"]},
    form="multiple_choice",
)


class Interrupted(Exception):
    """Stands for a kill."""


def sentence(generator, word):
    around = generator.choice(["the", "mean", "given", "values", "test"], 4)
    return " ".join([*around[:2], word, *around[2:]])


def separable(sizes, *, words=("array", "missing"), labels=("arrays", "rows"), seed=0):
    """Texts that a single word among others tells apart."""
    generator = np.random.default_rng(seed)
    rows = [
        (split, "", f"{split}-{number}", "", sentence(generator, words[number % 2]), None, None, labels[number % 2])
        for split, size in sizes.items()
        for number in range(size)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def questions(sizes, seed=0):
    """Two or three options each, of which the right one names the array."""
    generator = np.random.default_rng(seed)
    rows = []
    for split, size in sizes.items():
        for number in range(size):
            count = 2 + number % 2
            right = int(generator.integers(count))
            for place in range(count):
                option = sentence(generator, "array" if place == right else "missing")
                label = RIGHT if place == right else WRONG
                rows.append((split, "", f"{split}-{number}", "", "the mean", option, option, label))
    return pd.DataFrame(rows, columns=list(COLUMNS))


SIZES = {"train": 32, "dev": 16, "test": 4}


@pytest.fixture(scope="module")
def pretrained(tiny_tokenizer):
    from bort_kedro.encoders.shapes import BertShape

    shape = BertShape(num_hidden_layers=2, num_attention_heads=2, hidden_size=16, intermediate_size=24)
    config = bert_config(shape, vocabulary_size=len(tiny_tokenizer), max_positions=32, dropout=0.0)
    return Pretrained(build_masked_lm(config, seed=0), tiny_tokenizer)


@pytest.fixture(scope="module")
def toy(pretrained):
    return check_examples(separable(SIZES), TOY).encoded(pretrained, max_tokens=24)


def trial_of(pretrained, task, hyperparameters=HYPERPARAMETERS, settings=SETTINGS, **options):
    options = {"states": DictStates(), "train_examples": task.splits["train"]} | options
    train_examples = options.pop("train_examples")
    return train_trial(pretrained, task, train_examples, hyperparameters, settings, **options)


def weights(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def are_equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_separable_task_is_learned(pretrained):
    examples = separable({"train": 160, "dev": 30, "test": 50})
    task = check_examples(examples, TOY).encoded(pretrained, max_tokens=24)
    trial = trial_of(pretrained, task)
    assert trial.score == 1.0
    outputs = predict(trial.model, TOY.form, task.splits["test"], batch_tokens=256)
    # The first of equal looks is kept, which may be one that is less sure of itself than the last.
    assert task.score("test", outputs) >= 0.9
    assert trial.model.config.id2label == {0: "arrays", 1: "rows"}
    assert set(trial.history[0]) == {"step", "loss", "accuracy", "learning_rate", "gradient_norm"}
    assert trial.num_steps == trial.num_steps_done == trial.history[-1]["step"]
    assert trial.seconds > 0
    batches = task.splits["train"].training_batches(
        batch_tokens=HYPERPARAMETERS.batch_tokens, seed=HYPERPARAMETERS.seed
    )
    assert trial.num_tokens == sum(int(batches(step)["attention_mask"].sum()) for step in range(trial.num_steps))


def test_a_regression_is_learned(pretrained):
    examples = separable({"train": 160, "dev": 30, "test": 4}, labels=("0.0", "2.5"))
    task = check_examples(examples, CLOSENESS).encoded(pretrained, max_tokens=24)
    trial = trial_of(pretrained, task)
    assert trial.score > 0.95
    assert trial.dev_outputs.shape == (30, 1)
    assert np.abs(trial.dev_outputs - task.splits["dev"].targets).max() < 1.25
    assert trial.model.config.id2label == {0: "score"}


def test_multiple_choice_with_two_and_three_options_is_learned(pretrained):
    task = check_examples(questions({"train": 120, "dev": 20, "test": 2}), CHOICE).encoded(pretrained, max_tokens=24)
    trial = trial_of(pretrained, task)
    assert trial.score == 1.0
    starts = task.splits["dev"].starts
    np.testing.assert_allclose(np.add.reduceat(trial.dev_outputs[:, 0], starts[:-1]), 1.0)
    assert output_names(task) == ["score"]


def test_the_model_kept_is_the_one_with_the_score_told(pretrained, toy):
    trial = trial_of(pretrained, toy)
    outputs = predict(trial.model, TOY.form, toy.splits["dev"], batch_tokens=256)
    np.testing.assert_array_equal(outputs, trial.dev_outputs)
    assert trial.score == toy.score("dev", outputs) == max(look["score"] for look in trial.looks)
    assert not trial.model.training


def test_a_finished_trial_is_found_and_not_trained_again(pretrained, toy, monkeypatch):
    states = DictStates()
    first = trial_of(pretrained, toy, states=states)
    monkeypatch.setattr("bort_kedro.finetuning.trials.objective_of", lambda form, class_weights: None)
    again = trial_of(pretrained, toy, states=states)
    assert len(states.stores) == 1
    assert [name for name, _ in states.stores] == ["finetune/toy"]
    assert are_equal(weights(again.model), weights(first.model))
    np.testing.assert_array_equal(again.dev_outputs, first.dev_outputs)
    assert again.report() == first.report()
    assert (again.history, again.looks) == (first.history, first.looks)


def test_a_trial_killed_on_its_way_ends_as_an_uninterrupted_one(pretrained, toy):
    settings = SETTINGS.changed(checkpoint_every_steps=2)
    whole = trial_of(pretrained, toy, settings=settings)
    states, steps = DictStates(), iter(range(5))
    examples = toy.splits["train"]

    class Killed(type(examples)):
        def batch(self, units):
            if next(steps, None) is None:
                raise Interrupted
            return super().batch(units)

    killed = Killed(**{name: getattr(examples, name) for name in examples.__dataclass_fields__})
    with pytest.raises(Interrupted):
        trial_of(pretrained, toy, settings=settings, states=states, train_examples=killed)
    assert [max(store.states) for store in states.stores.values()] == [4]
    resumed = trial_of(pretrained, toy, settings=settings, states=states)
    assert len(states.stores) == 1
    assert are_equal(weights(resumed.model), weights(whole.model))
    assert resumed.looks == whole.looks
    assert resumed.history == whole.history


def identity_of(pretrained, task, hyperparameters=HYPERPARAMETERS, settings=SHORT, **options):
    states = DictStates()
    trial_of(pretrained, task, hyperparameters, settings, states=states, **options)
    return states.identities[0]


@pytest.fixture(scope="module")
def identity(pretrained, toy):
    return identity_of(pretrained, toy)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 1e-3},
        {"weight_decay": 0.1},
        {"warmup_share": 0.5},
        {"batch_tokens": 128},
        {"seed": 3},
    ],
    ids=str,
)
def test_each_hyperparameter_is_part_of_the_identity(pretrained, toy, change):
    # As many steps in both, since smaller batches make more of an epoch.
    changed = identity_of(pretrained, toy, replace(HYPERPARAMETERS, **change), num_steps=2)
    assert changed != identity_of(pretrained, toy, num_steps=2)


@pytest.mark.parametrize(
    "change",
    [
        {"num_epochs": 2},
        {"looks_per_epoch": 2},
        {"patience": 3},
        {"class_weights": "balanced"},
        {"adam_beta2": 0.99},
        {"adam_epsilon": 1e-8},
        {"max_gradient_norm": 2.0},
        {"dropout": 0.2},
        {"mixed_precision": "bf16"},
        {"num_threads": 2},
    ],
    ids=str,
)
def test_each_setting_that_matters_is_part_of_the_identity(pretrained, toy, identity, change):
    assert identity_of(pretrained, toy, settings=SHORT.changed(**change)) != identity


def test_what_changes_no_result_is_no_part_of_the_identity(pretrained, toy, identity):
    assert identity_of(pretrained, toy, settings=SHORT.changed(checkpoint_every_steps=7)) == identity
    assert identity_of(pretrained, toy, num_steps=2) != identity
    assert identity_of(pretrained, toy, num_steps=identity["optimization"]["num_steps"]) == identity
    # Nothing is that long, so that no id differs.
    longer = check_examples(separable(SIZES), TOY).encoded(pretrained, max_tokens=30)
    assert identity_of(pretrained, longer) == identity
    tested_elsewhere = separable(SIZES)
    tested_elsewhere.loc[tested_elsewhere["split"] == "test", "text"] = "values"
    assert identity_of(pretrained, check_examples(tested_elsewhere, TOY).encoded(pretrained, max_tokens=24)) == identity


def test_encoder_examples_metric_and_answers_are_part_of_the_identity(pretrained, toy, identity):
    other_encoder = Pretrained(build_masked_lm(pretrained.model.config, seed=1), pretrained.tokenizer)
    other_metric = replace(toy, task=replace(TOY, metrics=("macro_f1",)))
    train = toy.splits["train"]
    fewer_on_dev = separable({**SIZES, "dev": 14})
    identities = [
        identity,
        identity_of(other_encoder, toy),
        identity_of(pretrained, other_metric),
        identity_of(pretrained, toy, train_examples=train.joined(train)),
        identity_of(pretrained, toy, train_examples=train.answered(0.9 * train.targets + 0.05)),
        identity_of(pretrained, check_examples(fewer_on_dev, TOY).encoded(pretrained, max_tokens=24)),
    ]
    assert len({json.dumps(each, sort_keys=True) for each in identities}) == len(identities)


def test_as_many_steps_as_epochs_or_as_told(pretrained, toy):
    train = toy.splits["train"]
    per_epoch = train.steps_per_epoch(batch_tokens=256, seed=0)
    trial = trial_of(pretrained, toy, settings=SHORT.changed(num_epochs=2.5))
    assert (trial.num_steps, per_epoch > 1) == (round(2.5 * per_epoch), True)
    assert trial_of(pretrained, toy, settings=SHORT, num_steps=3).num_steps == 3
    # Fewer than one step is one.
    assert trial_of(pretrained, toy, settings=SHORT.changed(num_epochs=0.001)).num_steps == 1


def test_looks_are_spread_over_an_epoch_and_end_with_the_last_step(pretrained, toy):
    examples = toy.splits["train"]
    per_epoch = examples.steps_per_epoch(batch_tokens=64, seed=0)
    small = replace(HYPERPARAMETERS, batch_tokens=64)
    trial = trial_of(pretrained, toy, small, SHORT.changed(looks_per_epoch=3), num_steps=per_epoch + 1)
    every = per_epoch // 3
    assert every > 1
    assert [look["step"] for look in trial.looks] == [*range(every, per_epoch + 1, every), per_epoch + 1]


def test_looks_are_at_the_steps_that_are_given(pretrained, toy):
    trial = trial_of(pretrained, toy, settings=SHORT, num_steps=8, look_every=3)
    assert [look["step"] for look in trial.looks] == [3, 6, 8]
    assert trial.look_every == trial.report().look_every == 3


def test_patience_counts_the_looks_that_are_given(pretrained, toy):
    still = replace(HYPERPARAMETERS, learning_rate=1e-12)
    trial = trial_of(pretrained, toy, still, SETTINGS.changed(patience=2), num_steps=20, look_every=4)
    assert [look["step"] for look in trial.looks] == [4, 8, 12]
    assert trial.num_steps_done == 12


@pytest.mark.parametrize(("warmup_share", "ended_at"), [(0.0, 8), (0.5, 16), (0.49, 12)])
def test_a_flat_start_ends_no_trial_within_its_warmup(pretrained, toy, warmup_share, ended_at):
    still = replace(HYPERPARAMETERS, learning_rate=1e-12, warmup_share=warmup_share)
    trial = trial_of(pretrained, toy, still, SETTINGS.changed(patience=1), num_steps=24, look_every=4)
    assert trial.num_steps_done == ended_at


def test_steps_between_looks_are_part_of_the_identity_where_they_are_not_the_trials_own(pretrained, toy, identity):
    own = toy.splits["train"].steps_per_epoch(batch_tokens=256, seed=0)
    assert identity_of(pretrained, toy, look_every=own) == identity
    assert identity_of(pretrained, toy, look_every=own + 1) == identity | {"look_every": own + 1}


@pytest.mark.parametrize("wanted", ["no", "bf16", "auto"])
def test_dev_is_looked_at_in_the_precision_of_the_training(pretrained, toy, monkeypatch, wanted):
    asked, precision = [], resolve_precision(wanted)

    def noted(*arguments, **options):
        asked.append(options["precision"])
        return predict(*arguments, **options)

    monkeypatch.setattr("bort_kedro.finetuning.trials.predict", noted)
    settings = SHORT.changed(mixed_precision=wanted)
    trial = trial_of(pretrained, toy, settings=settings, num_steps=2, look_every=1)
    assert asked == [precision] * 3
    own = predict(trial.model, toy.task.form, toy.splits["dev"], batch_tokens=256, precision=precision)
    np.testing.assert_array_equal(trial.dev_outputs, own)
    assert trial_optimization(HYPERPARAMETERS, settings, 2).mixed_precision == precision


def test_patience_ends_a_trial_early(pretrained, toy):
    # A rate this low changes no answer, so that no look is better than the first.
    still = replace(HYPERPARAMETERS, learning_rate=1e-12, warmup_share=0.0)
    trial = trial_of(pretrained, toy, still, SETTINGS.changed(patience=2))
    assert len(trial.looks) == 3
    assert trial.num_steps_done == trial.looks[-1]["step"] < trial.num_steps
    assert trial.report().num_steps_done == trial.num_steps_done


def test_class_weights_matter_where_labels_are_unequal_and_only_for_classification(pretrained):
    examples = separable({"train": 40, "dev": 8, "test": 2})
    # Of forty examples four are about rows.
    kept = (examples["split"] != "train") | (examples["label"] == "arrays") | (examples.index < 8)
    task = check_examples(examples[kept], TOY).encoded(pretrained, max_tokens=24)
    plain, balanced = (
        trial_of(pretrained, task, settings=SHORT.changed(class_weights=kind)) for kind in ("none", "balanced")
    )
    assert not are_equal(weights(plain.model), weights(balanced.model))
    choice = check_examples(questions({"train": 8, "dev": 2, "test": 2}), CHOICE).encoded(pretrained, max_tokens=24)
    same, alike = (
        trial_of(pretrained, choice, settings=SHORT.changed(class_weights=kind)) for kind in ("none", "balanced")
    )
    assert are_equal(weights(same.model), weights(alike.model))


def test_the_targets_given_are_learned(pretrained, toy):
    train, turned = toy.splits["train"], separable(SIZES)
    is_train = turned["split"] == "train"
    turned.loc[is_train, "label"] = turned["label"].map({"arrays": "rows", "rows": "arrays"})
    other = check_examples(turned, TOY).encoded(pretrained, max_tokens=24)
    told = trial_of(pretrained, toy, settings=SHORT, train_examples=train.answered(1 - train.targets))
    found = trial_of(pretrained, other, settings=SHORT)
    assert are_equal(weights(told.model), weights(found.model))
    assert not are_equal(weights(told.model), weights(trial_of(pretrained, toy, settings=SHORT).model))


def test_the_encoder_and_the_callers_generator_are_left_unchanged(pretrained, toy):
    before, is_training = weights(pretrained.model), pretrained.model.training
    torch.manual_seed(99)
    expected = torch.rand(3)
    torch.manual_seed(99)
    trial = trial_of(pretrained, toy, settings=SHORT)
    assert torch.equal(torch.rand(3), expected)
    assert are_equal(weights(pretrained.model), before)
    assert pretrained.model.training == is_training
    assert Pretrained(pretrained.model, pretrained.tokenizer).fingerprint == pretrained.fingerprint
    words = trial.model.bert.embeddings.word_embeddings.weight
    assert not torch.equal(words, pretrained.model.bert.embeddings.word_embeddings.weight)


def test_no_split_but_train_and_dev_is_touched(pretrained, toy):
    with_others = trial_of(pretrained, toy, settings=SHORT)
    alone = replace(toy, splits={split: toy.splits[split] for split in ("train", "dev")})
    assert are_equal(weights(trial_of(pretrained, alone, settings=SHORT).model), weights(with_others.model))


def is_diverged(trial, task):
    row = trial.report().to_json()
    assert (trial.score, trial.model, row["has_diverged"], row["dev_score"]) == (DIVERGED, None, True, -1.0)
    assert trial.dev_outputs.shape == task.splits["dev"].targets.shape
    assert (trial.history, trial.looks, trial.num_steps_done) == ([], [], 0)
    return True


def broken_after(step, monkeypatch):
    """The loss is no number from this step on."""
    from bort_kedro.finetuning import trials

    objective_of, steps = trials.objective_of, iter(range(step))

    def broken_objective_of(form, class_weights):
        loss = objective_of(form, class_weights)

        def broken(model, batch):
            parts = loss(model, batch)
            return parts if next(steps, None) is not None else parts | {"loss": parts["loss"] * float("nan")}

        return broken

    monkeypatch.setattr(trials, "objective_of", broken_objective_of)


@pytest.mark.parametrize("step", [0, 5])
def test_a_loss_that_is_no_number_counts_as_the_worst_and_is_told(pretrained, toy, monkeypatch, caplog, step):
    broken_after(step, monkeypatch)
    with caplog.at_level(logging.WARNING):
        trial = trial_of(pretrained, toy, description="toy: plain, round 1, setting 1")
    assert is_diverged(trial, toy)
    assert [record.getMessage() for record in caplog.records] == [
        f"toy: plain, round 1, setting 1: loss, gradient_norm is not finite at step {step + 1}. It counts as the worst "
        "of its round."
    ]
    assert trial.report().to_json() == {
        **asdict(HYPERPARAMETERS),
        "num_steps": trial.num_steps,
        "num_steps_done": 0,
        # Two looks an epoch.
        "look_every": toy.splits["train"].steps_per_epoch(batch_tokens=256, seed=0) // 2,
        "dev_score": -1.0,
        "has_diverged": True,
        "seconds": 0.0,
        "num_tokens": 0,
    }


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_a_dev_score_that_is_no_finite_number_counts_as_the_worst_and_is_told(
    pretrained, toy, monkeypatch, caplog, score
):
    monkeypatch.setattr(type(toy), "score", lambda self, split, outputs: score)
    with caplog.at_level(logging.WARNING):
        trial = trial_of(pretrained, toy, settings=SHORT, num_steps=2, look_every=2, description="toy: setting 1")
    assert is_diverged(trial, toy)
    assert (trial.num_steps, trial.look_every) == (2, 2)
    assert caplog.messages == ["toy: setting 1: no look at dev gave a number. It counts as the worst of its round."]


def test_a_learning_rate_that_is_far_too_high_does_not_stop_the_others(pretrained):
    examples = separable(SIZES, labels=("0.0", "2.5"))
    task = check_examples(examples, CLOSENESS).encoded(pretrained, max_tokens=24)
    wild = replace(HYPERPARAMETERS, learning_rate=1e6)
    trial = trial_of(pretrained, task, wild, SHORT.changed(looks_per_epoch=1), num_steps=150)
    assert is_diverged(trial, task)

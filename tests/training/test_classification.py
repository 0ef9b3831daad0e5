from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch

from bort_kedro.errors import ConfigurationError, TaskError
from bort_kedro.models.encoder import bert_config, build_classifier, build_masked_lm
from bort_kedro.models.pretrained import Pretrained
from bort_kedro.training.classification import (
    FinetuningSettings,
    accuracy_of,
    classification_objective,
    finetune,
    predict_probabilities,
    predictions_table,
    train_classifier,
    trial_identity,
)
from bort_kedro.training.task_encoding import encode_task, label_names

if TYPE_CHECKING:
    from bort_kedro.core.saved_state import SavedState

SETTINGS = FinetuningSettings(
    max_tokens=24,
    batch_tokens=256,
    num_epochs=4,
    learning_rates=(5e-3,),
    seeds=(0,),
    warmup_share=0.1,
    weight_decay=0.01,
    adam_beta2=0.98,
    adam_epsilon=1e-6,
    max_gradient_norm=1.0,
    dropout=0.1,
    mixed_precision="no",
    checkpoint_every_steps=1000,
    num_threads=1,
)


class FakeStates:
    """Keeps states in a dict under the name and identity of each training."""

    def __init__(self) -> None:
        self.stores: dict[str, FakeStore] = {}

    def of(self, name: str, identity: dict) -> FakeStore:
        return self.stores.setdefault(f"{name} {sorted(identity.items())}", FakeStore())


class FakeStore:
    def __init__(self) -> None:
        self.kept: list[SavedState] = []

    def latest(self) -> SavedState | None:
        return self.kept[-1] if self.kept else None

    def put(self, state: SavedState) -> None:
        self.kept.append(state)


def _examples(sizes: dict[str, int], seed: int = 0) -> pd.DataFrame:
    """Separable: texts about arrays against texts about rows, a few other words around."""
    generator = np.random.default_rng(seed)
    rows = []
    for split, size in sizes.items():
        for index in range(size):
            label, word = [("arrays", "array"), ("rows", "missing")][index % 2]
            around = generator.choice(["the", "mean", "given", "values", "test"], 4)
            rows.append((split, " ".join([*around[:2], word, *around[2:]]), None, label))
    return pd.DataFrame(rows, columns=["split", "text", "text_pair", "label"])


@pytest.fixture
def pretrained(tiny_shape, tiny_tokenizer):
    config = bert_config(tiny_shape, vocabulary_size=len(tiny_tokenizer), max_positions=32, dropout=0.0)
    return Pretrained(build_masked_lm(config, seed=0), tiny_tokenizer)


@pytest.fixture
def encoded(tiny_tokenizer):
    examples = _examples({"train": 32, "dev": 16, "test": 16})
    return encode_task(examples, tiny_tokenizer, task="toy", max_tokens=24, max_positions=32)


def test_classifier_learns_a_separable_task_and_says_so(pretrained):
    examples = _examples({"train": 160, "dev": 30, "test": 50})
    settings = replace(SETTINGS, num_epochs=8)
    result = finetune(pretrained, examples, settings, states=FakeStates(), task="toy")
    predictions = result.predictions
    test = predictions[predictions["split"] == "test"]
    assert (test["label"] == test["prediction"]).mean() == 1.0
    assert test["label"].tolist() == examples.loc[examples["split"] == "test", "label"].tolist()
    assert list(predictions.columns) == [
        "split",
        "label",
        "prediction",
        "probability_arrays",
        "probability_rows",
    ]
    assert result.report["labels"] == ["arrays", "rows"]
    assert result.report["num_examples"] == {"train": 160, "dev": 30, "test": 50}
    assert result.report["trials"][0]["dev_accuracy"] == 1.0
    assert result.report["truncated_share"] == 0.0
    assert result.model.config.id2label == {0: "arrays", 1: "rows"}
    assert set(result.history[0]) == {"trial", "step", "loss", "accuracy", "learning_rate", "gradient_norm"}
    assert result.history[-1]["step"] == result.report["trials"][0]["num_steps"]


def test_finished_trials_are_taken_from_their_states(pretrained):
    examples, states = _examples({"train": 32, "dev": 8, "test": 8}), FakeStates()
    settings = replace(SETTINGS, num_epochs=1)
    first = finetune(pretrained, examples, settings, states=states, task="toy")
    again = finetune(pretrained, examples, settings, states=states, task="toy")
    pd.testing.assert_frame_equal(first.predictions, again.predictions)
    assert first.report == again.report
    assert [len(store.kept) for store in states.stores.values()] == [1]


@pytest.mark.parametrize(
    "change", [{"batch_tokens": 128}, {"dropout": 0.2}, {"learning_rates": (1e-3,)}, {"seeds": (3,)}]
)
def test_each_setting_is_part_of_the_identity(pretrained, encoded, change):
    def identity(settings):
        return trial_identity(pretrained, encoded, settings, settings.grid(encoded.splits["train"])[0])

    assert identity(replace(SETTINGS, **change)) != identity(SETTINGS)
    assert identity(replace(SETTINGS, checkpoint_every_steps=7)) == identity(SETTINGS)


def test_encoder_is_left_unchanged(pretrained):
    before = Pretrained(pretrained.model, pretrained.tokenizer).fingerprint
    examples = _examples({"train": 16, "dev": 8, "test": 8})
    finetune(pretrained, examples, replace(SETTINGS, num_epochs=1), states=FakeStates(), task="toy")
    assert Pretrained(pretrained.model, pretrained.tokenizer).fingerprint == before


def test_grid_is_rates_times_seeds_with_epochs_as_steps(encoded):
    grid = replace(SETTINGS, learning_rates=(1e-3, 2e-3), seeds=(5, 6), num_epochs=2.5).grid(encoded.splits["train"])
    assert [(trial.learning_rate, trial.seed) for trial in grid] == [
        (1e-3, 5),
        (1e-3, 6),
        (2e-3, 5),
        (2e-3, 6),
    ]
    steps = encoded.splits["train"].steps(num_epochs=1, batch_tokens=256, seed=5)
    assert grid[0].num_steps == round(2.5 * steps)


def test_best_trial_is_the_first_with_the_highest_dev_accuracy(pretrained, encoded, monkeypatch):
    scores = iter([0.5, 0.75, 0.75, 0.25])
    monkeypatch.setattr("bort_kedro.training.classification.accuracy_of", lambda probabilities, labels: next(scores))
    grid = replace(SETTINGS, learning_rates=(1e-4, 1e-3, 2e-3, 3e-3), num_epochs=1).grid(encoded.splits["train"])
    trained = train_classifier(pretrained.model, encoded, grid, batch_tokens=256, dropout=0.0)
    assert (trained.best.index, trained.best.settings.learning_rate) == (1, 1e-3)
    assert [trial.dev_accuracy for trial in trained.trials] == [0.5, 0.75, 0.75, 0.25]
    assert {row["trial"] for row in trained.history} == {0, 1, 2, 3}


def test_model_kept_is_the_best_trials(pretrained, encoded):
    grid = replace(SETTINGS, learning_rates=(1e-9, 1e-2), num_epochs=4).grid(encoded.splits["train"])
    trained = train_classifier(pretrained.model, encoded, grid, batch_tokens=256, dropout=0.0)
    dev = encoded.splits["dev"]
    score = accuracy_of(predict_probabilities(trained.model, dev, batch_tokens=256), dev.labels)
    assert trained.best.dev_accuracy == score == max(trial.dev_accuracy for trial in trained.trials)


def test_ids_are_those_of_the_tokenizer_with_the_longer_text_cut_first(tiny_tokenizer):
    examples = pd.DataFrame(
        [(split, "the mean", "the " * 30, label) for split in ("train", "dev", "test") for label in "ab"],
        columns=["split", "text", "text_pair", "label"],
    )
    encoded = encode_task(examples, tiny_tokenizer, task="toy", max_tokens=16, max_positions=16)
    ids = encoded.splits["dev"].input_ids[0].tolist()
    first = tiny_tokenizer("the mean", add_special_tokens=False)["input_ids"]
    assert len(ids) == 16
    assert ids[: len(first) + 3] == [0, *first, 2, 2]
    assert ids[-1] == 2
    assert encoded.truncated_share == 1.0


def test_truncated_share_counts_examples_of_all_splits(tiny_tokenizer):
    rows = [(split, "mean", None, label) for split in ("train", "dev", "test") for label in "ab"]
    rows += [("train", "mean " * 50, None, "a"), ("test", "mean " * 50, None, "b")]
    examples = pd.DataFrame(rows, columns=["split", "text", "text_pair", "label"])
    encoded = encode_task(examples, tiny_tokenizer, task="toy", max_tokens=16, max_positions=16)
    assert encoded.truncated_share == 2 / 8
    assert encoded.splits["train"].lengths.tolist()[-1] == 16


def test_batch_pads_to_its_longest_example(encoded):
    train = encoded.splits["train"]
    order = np.argsort(train.lengths)
    batch = train.batch([int(order[0]), int(order[-1])])
    longest, shortest = int(train.lengths.max()), int(train.lengths.min())
    assert batch["input_ids"].shape == (2, longest)
    assert batch["attention_mask"].sum(dim=1).tolist() == [shortest, longest]
    assert batch["input_ids"][0, shortest:].tolist() == [1] * (longest - shortest)
    assert batch["labels"].tolist() == [train.labels[order[0]], train.labels[order[-1]]]


def test_objective_equals_hand_value():
    class Fixed(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            logits = torch.log(torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
            return type("Output", (), {"logits": logits})

    batch = {
        "input_ids": torch.zeros(2, 1),
        "attention_mask": torch.ones(2, 1),
        "labels": torch.tensor([0, 1]),
    }
    parts = classification_objective(Fixed(), batch)
    torch.testing.assert_close(parts["loss"], -(torch.tensor(0.75).log() + torch.tensor(0.5).log()) / 2)
    assert parts["accuracy"].item() == 0.5  # the tie of the second row goes to label 0


def test_probabilities_do_not_depend_on_how_examples_are_batched(pretrained, encoded):
    model = build_classifier(pretrained.model, labels=["arrays", "rows"], seed=0, dropout=0.1)
    examples = encoded.splits["test"]
    whole = predict_probabilities(model, examples, batch_tokens=10_000)
    single = predict_probabilities(model, examples, batch_tokens=1)
    np.testing.assert_allclose(whole, single, atol=1e-6)
    np.testing.assert_allclose(whole.sum(axis=1), 1.0)


def test_predictions_are_the_likeliest_labels(pretrained, encoded):
    model = build_classifier(pretrained.model, labels=["arrays", "rows"], seed=0, dropout=0.1)
    table = predictions_table(model, encoded, batch_tokens=256)
    likelier = np.where(table["probability_rows"] > table["probability_arrays"], "rows", "arrays")
    assert table["prediction"].tolist() == likelier.tolist()
    assert table["split"].tolist() == ["dev"] * 16 + ["test"] * 16


def test_fingerprint_changes_with_text_label_and_split(tiny_tokenizer):
    examples = _examples({"train": 8, "dev": 4, "test": 4})

    def fingerprint(table):
        return encode_task(table, tiny_tokenizer, task="toy", max_tokens=24, max_positions=24).fingerprint

    relabelled, rewritten = examples.copy(), examples.copy()
    relabelled.loc[0, "label"] = "rows"
    rewritten.loc[0, "text"] = "mean"
    prints = [fingerprint(table) for table in (examples, examples.copy(), relabelled, rewritten)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_more_tokens_than_positions_are_refused_before_training(pretrained):
    with pytest.raises(ConfigurationError, match="max_tokens is 64, but the encoder has 32 positions"):
        finetune(
            pretrained,
            _examples({"train": 4, "dev": 2, "test": 2}),
            replace(SETTINGS, max_tokens=64),
            states=FakeStates(),
            task="toy",
        )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.drop(columns="label"), "no column label. Columns found: split, text, text_pair"),
        (lambda t: t[t["split"] != "dev"], "split `dev` has no example"),
        (lambda t: t.assign(label="same"), "split `train` has one label only, same"),
        (lambda t: t.replace({"split": {"test": "exam"}}), "unknown split 'exam'; allowed: train, dev, test"),
        (
            lambda t: t.assign(label=np.where(t["split"] == "dev", "new", t["label"])),
            "split `dev` has the label new, known from train: arrays, rows",
        ),
        (
            lambda t: t.assign(text=np.where(t["split"] == "dev", None, t["text"])),
            r"`text` is empty in 2 rows \(first: row 4\)",
        ),
    ],
)
def test_examples_that_cannot_be_used_are_refused(change, expected):
    with pytest.raises(TaskError, match=expected) as caught:
        label_names(change(_examples({"train": 4, "dev": 2, "test": 2})), task="toy")
    assert "Change the catalog entry `toy.examples`" in str(caught.value)

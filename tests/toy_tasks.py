"""Tiny tasks of each form that a tiny encoder learns in a second, for tests of fine-tuning."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bort_kedro.agora.settings import AgoraSettings
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.finetuning.data import COLUMNS, check_examples
from bort_kedro.finetuning.settings import TrialSettings
from bort_kedro.tasks.table import RIGHT, WRONG, Form, own_task
from bort_kedro.tasks.tags import as_iob2

SPLITS = ("train", "dev", "test")
FILES = {split: f"{split}.csv" for split in SPLITS}
TAGGED_FILES = {split: f"{split}.conll" for split in SPLITS}
SHAPE = BertShape(num_hidden_layers=1, num_attention_heads=2, hidden_size=16, intermediate_size=24)
MAX_TOKENS = 48
# One pass, looked at once, without chance but the seed's; tests replace what they are about.
SETTINGS = TrialSettings(
    max_tokens=MAX_TOKENS,
    num_epochs=1,
    looks_per_epoch=1,
    patience=None,
    class_weights="none",
    adam_beta2=0.98,
    adam_epsilon=1e-6,
    max_gradient_norm=1.0,
    dropout=0.0,
    mixed_precision="no",
    checkpoint_every_steps=100,
    num_threads=1,
)
# Which of two sets a word is of says all; the rest is noise.
AGORA = AgoraSettings(
    seed=0,
    max_replays=1,
    points_per_mistake=2,
    max_points_share=0.5,
    max_overlap=0.9,
    ngram_words=3,
    teacher_labels="soft",
    distillation_share=0.5,
    transformation={
        "weights": {"masked_lm": 1.0},
        "changed_share": 0.25,
        "temperature": 1.0,
        "top_k": 10,
        "batch_tokens": 256,
        "max_tokens": MAX_TOKENS,
    },
)
WORDS = {"array": ("array", "axis", "shape"), "row": ("row", "column", "table")}
NOISE = ("the", "mean", "of", "values", "is", "given", "and", "sum", "not", "zero", "with", "all")


def task_of(form=Form.CLASSIFICATION):
    """A task of the user's own."""
    if form == Form.TOKENS:
        return own_task("toy", files=TAGGED_FILES, form=form)
    columns = {"text": "text", "label": "label"}
    if form == Form.MULTIPLE_CHOICE:
        columns["options"] = ("first", "second", "third")
    return own_task("toy", files=FILES, columns=columns, form=form)


def sentence(generator, *telling, num_words=7):
    """Noise with some telling words in it."""
    words = list(generator.choice(NOISE, num_words - len(telling)))
    for word in telling:
        words.insert(int(generator.integers(len(words) + 1)), word)
    return " ".join(words)


def examples_of(form=Form.CLASSIFICATION, *, num_train=48, num_dev=24, num_test=24, flipped=0.0, seed=0):
    """A table of examples.

    Args:
        form: Of the task. In classification a word tells the label; in regression the label is the number of such
            words; in multiple choice the right one of three options has a word of the passage's kind; of tagged words
            those that tell are spans of their kind, two neighbours of one kind a single one.
        num_train: Units of train.
        num_dev: Units of dev.
        num_test: Units of test.
        flipped: Share of the labels of dev and test that are wrong, in classification.
        seed: Of the texts.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for split, count in (("train", num_train), ("dev", num_dev), ("test", num_test)):
        for number in range(count):
            label = list(WORDS)[number % 2]
            if form == Form.CLASSIFICATION:
                text = sentence(generator, generator.choice(WORDS[label]))
                is_flipped = split != "train" and number < flipped * count
                rows.append((split, str(number), text, None, None, list(WORDS)[(number + is_flipped) % 2]))
            elif form == Form.REGRESSION:
                told = number % 4
                text = sentence(generator, *generator.choice(WORDS["row"], told))
                rows.append((split, str(number), text, None, None, f"{told / 2}"))
            elif form == Form.TOKENS:
                kinds = generator.choice(list(WORDS), 2)
                text = sentence(generator, *(generator.choice(WORDS[kind]) for kind in kinds))
                kind_of = {word: kind for kind, words in WORDS.items() for word in words}
                tags = as_iob2(f"I-{kind_of[word]}" if word in kind_of else "O" for word in text.split())
                rows.append((split, str(number), text, None, None, " ".join(tags)))
            else:
                right = number % 3
                text = sentence(generator, num_words=6)
                for place in range(3):
                    option = sentence(generator, generator.choice(WORDS["row" if place == right else "array"]))
                    rows.append((split, str(number), text, option, option, RIGHT if place == right else WRONG))
    table = pd.DataFrame(rows, columns=["split", "group", "text", "text_pair", "option", "label"], dtype=object)
    table = table.assign(part="", index=[str(number) for number in range(len(table))])
    return table.where(table.notna(), None)[list(COLUMNS)]


def data_of(form=Form.CLASSIFICATION, **options):
    """The examples, checked."""
    return check_examples(examples_of(form, **options), task_of(form))


def encoder_of(tokenizer, *, seed=0, shape=SHAPE):
    """A masked-LM encoder with random weights."""
    config = bert_config(shape, vocabulary_size=len(tokenizer), max_positions=MAX_TOKENS)
    return Pretrained(build_masked_lm(config, seed=seed).eval(), tokenizer)


def write_conll(folder, examples):
    """The splits of examples of tagged words as CoNLL files of words and tags."""
    for split, rows in examples.groupby("split"):
        sentences = [
            "".join(f"{word} {tag}\n" for word, tag in zip(text.split(), label.split(), strict=True))
            for text, label in zip(rows["text"], rows["label"], strict=True)
        ]
        (folder / f"{split}.conll").write_text("\n".join(sentences))


def write_csv(folder, examples):
    """The splits of examples as files of texts and labels."""
    for split, rows in examples.groupby("split"):
        rows[["text", "label"]].to_csv(folder / f"{split}.csv", index=False)

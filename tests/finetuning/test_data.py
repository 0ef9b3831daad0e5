"""Examples of a task that are checked, encoded and scored."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.errors import ConfigurationError, TaskError
from bort_kedro.finetuning.data import COLUMNS, check_examples
from bort_kedro.tasks.table import RIGHT, TASKS, WRONG, Form, own_task
from bort_kedro.tasks.units import Unit

FILES = {split: f"{split}.csv" for split in ("train", "dev", "test")}
TOY = own_task("toy", files=FILES, columns={"text": "text", "label": "label"})
STSB, RACE, AXB, MNLI = (TASKS[name] for name in ("stsb", "race_high", "axb", "mnli"))
WHERE = "Change the files of task `toy`, or what makes them (params:finetune)."


def table_of(rows):
    """Rows of (split, text, text_pair, label); each a group of its own, with a number of its own."""
    table = pd.DataFrame(rows, columns=["split", "text", "text_pair", "label"])
    numbers = [str(number) for number in range(len(table))]
    table = table.assign(part="", option=None, group=numbers, index=[f"#{number}" for number in numbers])
    return table[list(COLUMNS)]


def toy_examples():
    labels = ["rows", "arrays"]
    splits = ["dev", "train", "train", "test", "dev", "train", "train", "test"]
    return table_of([(split, f"the mean {index}", None, labels[index % 2]) for index, split in enumerate(splits)])


def questions():
    """A question with two options in train, and in dev and test one with three, of which the second is right."""
    rows = []
    for split, count in (("train", 2), ("dev", 3), ("test", 3)):
        for place in range(count):
            label = RIGHT if place == 1 else WRONG
            option = f"values {place}"
            rows.append((split, "", f"{split}-0", "0", "the mean of the array", option, option, label))
    return pd.DataFrame(rows, columns=list(COLUMNS))


@pytest.fixture(scope="module")
def pretrained(tiny_tokenizer):
    from bort_kedro.encoders.shapes import BertShape

    shape = BertShape(num_hidden_layers=1, num_attention_heads=2, hidden_size=16, intermediate_size=24)
    config = bert_config(shape, vocabulary_size=len(tiny_tokenizer), max_positions=32)
    return Pretrained(build_masked_lm(config, seed=0), tiny_tokenizer)


def test_labels_are_those_found_in_train_in_text_order_where_the_task_names_none():
    data = check_examples(toy_examples(), TOY)
    assert data.labels == ("arrays", "rows")
    assert check_examples(toy_examples(), replace(TOY, labels=("rows", "arrays"))).labels == ("rows", "arrays")


def test_labels_that_a_table_has_as_numbers_are_texts_and_those_alike_are_refused():
    examples = toy_examples()
    numbers = examples.assign(label=examples["label"].map({"rows": 1.0, "arrays": 0}))
    assert check_examples(numbers, TOY).labels == ("0", "1")
    mixed = examples.assign(label=["rows", "Rows", *examples["label"][2:]])
    with pytest.raises(TaskError, match=r"the labels 'Rows' and 'rows' differ in spelling alone; write them alike"):
        check_examples(mixed, TOY)


def test_a_regression_has_no_labels():
    examples = toy_examples()
    examples["label"] = [str(index / 2) for index in range(8)]
    assert check_examples(examples, STSB).labels == ()


def test_splits_are_kept_apart_in_their_order_with_rows_numbered_anew():
    examples = toy_examples()
    data = check_examples(examples, TOY)
    assert list(data.tables) == ["train", "dev", "test"]
    assert data.tables["train"]["text"].tolist() == ["the mean 1", "the mean 2", "the mean 5", "the mean 6"]
    assert data.tables["dev"]["group"].tolist() == ["0", "4"]
    assert data.tables["test"].index.tolist() == [0, 1]
    assert examples.equals(toy_examples())


def test_the_submission_split_needs_no_labels():
    examples = toy_examples()
    submitted = table_of([("submission", "the array", None, None)] * 3)
    data = check_examples(pd.concat([examples, submitted], ignore_index=True), TOY)
    assert list(data.tables) == ["train", "dev", "test", "submission"]
    assert data.tables["submission"]["label"].tolist() == [None] * 3


@pytest.mark.parametrize("split", ["test", "submission"])
def test_a_diagnostic_needs_no_split_but_some_example(split):
    examples = toy_examples().assign(split=split, text_pair="the array", label=["entailment", "not_entailment"] * 4)
    data = check_examples(examples, AXB)
    assert (data.labels, list(data.tables)) == (("entailment", "not_entailment"), [split])
    with pytest.raises(TaskError) as caught:
        check_examples(examples[:0], AXB)
    assert str(caught.value) == (
        "Task `axb`: there is no example. Change the files of task `axb`, or what makes them (params:finetune)."
    )


def test_units_are_rows_or_questions():
    data = check_examples(toy_examples(), TOY)
    assert data.units["dev"] == [Unit((("the mean 0", None),)), Unit((("the mean 4", None),))]
    data = check_examples(questions(), RACE)
    assert {split: [len(unit.rows) for unit in units] for split, units in data.units.items()} == {
        "train": [2],
        "dev": [3],
        "test": [3],
    }
    assert data.units["train"][0].rows[1] == ("the mean of the array", "values 1")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda t: t.drop(columns=["label", "part"]),
            "its examples have no column part, label. Columns found: split, group, index, text, text_pair, option.",
        ),
        (lambda t: t[t["split"] != "dev"], "split `dev` has no example."),
        (
            lambda t: t.assign(label="same"),
            "split `train` has one label only, same; two are needed to tell apart.",
        ),
        (
            lambda t: t.replace({"split": {"test": "exam"}}),
            "unknown split 'exam'; allowed: train, dev, test, submission; split `test` has no example.",
        ),
        (
            lambda t: t.assign(label=t["label"].where(t["split"] != "dev", "new")),
            "split `dev` has the label new, known are: arrays, rows.",
        ),
        (
            lambda t: t.assign(text=t["text"].where(t["split"] != "dev", None)),
            "column `text` is empty in 2 rows (first: row 0).",
        ),
        (
            lambda t: t.assign(label=t["label"].where(t["split"] != "test", None)),
            "column `label` is empty in 2 rows (first: row 3).",
        ),
    ],
    ids=["columns", "no dev", "one label", "split", "label", "text", "no label"],
)
def test_examples_that_cannot_be_learned_from_are_refused(change, expected):
    with pytest.raises(TaskError) as caught:
        check_examples(change(toy_examples()), TOY)
    assert str(caught.value) == f"Task `toy`: {expected} {WHERE}"


def test_every_fault_is_told_at_once():
    examples = toy_examples()
    examples.loc[0, "text"], examples.loc[4, "label"] = None, "new"
    with pytest.raises(TaskError) as caught:
        check_examples(examples[examples["split"] != "test"], TOY)
    assert str(caught.value) == (
        "Task `toy`: column `text` is empty in 1 rows (first: row 0); split `test` has no example; split `dev` has the "
        f"label new, known are: arrays, rows. {WHERE}"
    )


def test_labels_that_the_task_does_not_name_are_refused_in_train_too():
    with pytest.raises(TaskError) as caught:
        check_examples(toy_examples(), replace(TOY, labels=("arrays", "columns")))
    # Both examples of test are about arrays.
    faults = "; ".join(f"split `{split}` has the label rows, known are: arrays, columns" for split in ("dev", "train"))
    assert str(caught.value) == f"Task `toy`: {faults}. {WHERE}"


def test_every_split_is_encoded_with_its_labels(pretrained, tiny_tokenizer):
    task = check_examples(toy_examples(), TOY).encoded(pretrained, max_tokens=24)
    assert {split: len(examples) for split, examples in task.splits.items()} == {"train": 4, "dev": 2, "test": 2}
    assert task.splits["train"].targets.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert task.splits["dev"].input_ids[1].tolist() == tiny_tokenizer("the mean 4")["input_ids"]
    again = task.encoder([Unit((("the mean 4", None),))])
    assert again.input_ids[0].tolist() == task.splits["dev"].input_ids[1].tolist()


def test_the_truncated_share_counts_rows_of_all_splits(pretrained):
    examples = toy_examples()
    examples.loc[[1, 3], "text"] = "the mean " * 30
    data = check_examples(examples, TOY)
    assert data.encoded(pretrained, max_tokens=24).truncated_share == 2 / 8


def test_more_tokens_than_positions_are_refused(pretrained):
    with pytest.raises(ConfigurationError, match="Task `toy`: max_tokens is 64, but the encoder has 32 positions"):
        check_examples(toy_examples(), TOY).encoded(pretrained, max_tokens=64)


def test_a_score_is_the_tasks_first_metric_or_the_one_named(pretrained):
    data = check_examples(toy_examples(), replace(TOY, metrics=("accuracy", "macro_f1")))
    task = data.encoded(pretrained, max_tokens=24)
    # Train has rows and arrays by turns, beginning with arrays.
    outputs = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])
    assert task.score("train", outputs) == 0.75
    # arrays: precision 2/3, recall 1; rows: precision 1, recall 1/2.
    assert task.score("train", outputs, "macro_f1") == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_a_score_of_multiple_choice_is_by_question(pretrained):
    task = check_examples(questions(), RACE).encoded(pretrained, max_tokens=24)
    assert task.score("dev", np.array([[0.2], [0.5], [0.3]])) == 1.0
    assert task.score("dev", np.array([[0.2], [0.3], [0.5]])) == 0.0


def test_a_score_of_a_regression_reads_numbers(pretrained):
    examples = toy_examples().assign(label=["0", "0", "1.0", "0", "1", "2e0", "3", "1"])
    task = check_examples(examples, STSB).encoded(pretrained, max_tokens=24)
    assert task.splits["train"].targets.tolist() == [[0.0], [1.0], [2.0], [3.0]]
    assert task.score("train", np.array([[1.0], [3.0], [5.0], [7.0]])) == pytest.approx(1.0)
    # Two neighbours change places: 1 - 6 * 2 / (4 * 15).
    assert task.score("train", np.array([[3.0], [1.0], [5.0], [7.0]]), "spearman") == pytest.approx(0.8)


def test_a_table_of_predictions_has_a_probability_for_each_label(pretrained):
    task = check_examples(toy_examples(), TOY).encoded(pretrained, max_tokens=24)
    table = task.predictions({"test": np.array([[0.25, 0.75], [1.0, 0.0]]), "dev": np.array([[0.5, 0.5], [0.1, 0.9]])})
    expected = pd.DataFrame(
        {
            "split": ["test", "test", "dev", "dev"],
            "part": "",
            "group": ["3", "7", "0", "4"],
            "index": ["#3", "#7", "#0", "#4"],
            "option": None,
            "label": ["arrays", "arrays", "rows", "rows"],
            "prediction": ["rows", "arrays", "arrays", "rows"],
            "probability_arrays": [0.25, 1.0, 0.5, 0.1],
            "probability_rows": [0.75, 0.0, 0.5, 0.9],
        }
    )
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)


def test_a_table_of_predictions_of_options_has_one_output(pretrained):
    task = check_examples(questions(), RACE).encoded(pretrained, max_tokens=24)
    table = task.predictions({"dev": np.array([[0.2], [0.3], [0.5]])})
    assert list(table.columns) == ["split", "part", "group", "index", "option", "label", "prediction", "output"]
    assert table["prediction"].tolist() == [WRONG, WRONG, RIGHT]
    assert table["option"].tolist() == ["values 0", "values 1", "values 2"]
    assert table["output"].tolist() == [0.2, 0.3, 0.5]


def test_a_table_of_predictions_names_the_parts_of_a_split(pretrained):
    examples = toy_examples().assign(text_pair="the array", label=["neutral", "entailment"] * 4)
    examples.loc[[0, 3], "part"], examples.loc[[4, 7], "part"] = "matched", "mismatched"
    task = check_examples(examples, MNLI).encoded(pretrained, max_tokens=24)
    table = task.predictions({split: np.eye(3)[[0, 1]] for split in ("dev", "test")})
    assert table["part"].tolist() == ["matched", "mismatched"] * 2
    assert table["prediction"].tolist() == ["entailment", "neutral"] * 2
    assert task.task.form == Form.CLASSIFICATION

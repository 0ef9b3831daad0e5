import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from bort_kedro.errors import TaskError
from bort_kedro.tasks.description import RIGHT, WRONG, Form
from bort_kedro.tasks.splits import ExamplesReport, divide_splits

COLUMNS = ["split", "part", "group", "text", "text_pair", "option", "label"]


def table(rows):
    """From (split, label) or dictionaries; every row is its own group, with a text of its own."""
    filled = []
    for number, row in enumerate(rows):
        given = row if isinstance(row, dict) else {"split": row[0], "label": row[1]}
        base = {"part": "", "group": str(number), "text": f"text {number}", "text_pair": None, "option": None}
        filled.append({**base, **given})
    return pd.DataFrame(filled, columns=COLUMNS)


def classified(num_dev=20, num_train=10):
    """Labels of dev: three of four are a."""
    train = [("train", "ab"[n % 2]) for n in range(num_train)]
    return table(train + [("dev", "aaab"[n % 4]) for n in range(num_dev)])


def divide(examples, form=Form.CLASSIFICATION, seed=0):
    return divide_splits(examples, form=form, seed=seed, task="mine")


def counts(examples):
    return Counter(zip(examples["split"], examples["label"], strict=True))


def test_labelled_test_stays_test_and_dev_stays_whole():
    examples = table([("train", "a"), ("dev", "a"), ("dev", "b"), ("test", "b"), ("test", "a")])
    divided, report = divide(examples)
    pd.testing.assert_frame_equal(divided, examples)
    assert {split: row.source for split, row in report.splits.items()} == {
        "train": "official train",
        "dev": "official dev",
        "test": "official test",
    }


def test_tagged_words_are_stratified_by_their_types_and_counted_by_tag():
    kinds = ["O O O", "B-A I-A O", "O B-B O", "B-B O B-A"]
    rows = [("train", "B-A O O")] + [("dev", kinds[number % 4]) for number in range(40)]
    divided, report = divide(table(rows), form=Form.TOKENS)
    assert counts(divided) == Counter(
        {("train", "B-A O O"): 1, **{(split, kind): 5 for split in ("dev", "test") for kind in kinds}}
    )
    assert report.dev.labels == {"B-A": 10, "B-B": 10, "I-A": 5, "O": 35}
    assert report.dev.source == "half of the official dev, stratified by types of spans, seed 0"


def test_unlabelled_test_becomes_the_submission_and_dev_is_halved():
    rows = [("train", "a")] + [("dev", "aaab"[n % 4]) for n in range(20)] + [("test", None)] * 3
    divided, report = divide(table(rows))
    assert counts(divided.iloc[:21]) == {
        ("train", "a"): 1,
        ("dev", "a"): 8,
        ("dev", "b"): 2,
        ("test", "a"): 7,
        ("test", "b"): 3,
    }
    assert divided["split"].tolist()[21:] == ["submission"] * 3
    assert {split: (row.source, row.num_rows, row.labels) for split, row in report.splits.items()} == {
        "train": ("official train", 1, {"a": 1}),
        "dev": ("half of the official dev, stratified by label, seed 0", 10, {"a": 8, "b": 2}),
        "test": ("the other half of the official dev, stratified by label, seed 0", 10, {"a": 7, "b": 3}),
        "submission": ("official test, whose labels are hidden", 3, {}),
    }


def test_dev_is_halved_alike_where_there_is_no_test_file():
    without = classified()
    hidden = pd.concat([without, table([("test", None)])], ignore_index=True)
    assert divide(without)[0]["split"].tolist() == divide(hidden)[0]["split"].tolist()[:-1]


def test_unlabelled_rows_of_a_labelled_test_go_to_the_submission():
    divided, _ = divide(table([("train", "a"), ("dev", "a"), ("test", "a"), ("test", None)]))
    assert divided["split"].tolist() == ["train", "dev", "test", "submission"]


def test_everything_but_the_split_is_left_as_it_was():
    examples = classified()
    before = examples.copy()
    divided, _ = divide(examples)
    pd.testing.assert_frame_equal(divided.drop(columns="split"), examples.drop(columns="split"))
    pd.testing.assert_frame_equal(examples, before)


def test_halves_depend_on_the_seed_and_on_nothing_else():
    examples = classified(200)
    splits = [divide(examples, seed=seed)[0]["split"].tolist() for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]
    shuffled = examples.sample(frac=1.0, random_state=3)
    assert divide(shuffled)[0]["split"].sort_index().tolist() == splits[0]


@pytest.mark.parametrize("seed", range(5))
def test_halves_of_every_label_differ_by_one_row_at_most(seed):
    labels = np.random.default_rng(seed).choice(["a", "b", "c", "d"], p=[0.6, 0.3, 0.08, 0.02], size=101)
    divided, _ = divide(table([("train", "a"), *(("dev", label) for label in labels)]), seed=seed)
    found = counts(divided[divided["split"] != "train"])
    assert all(abs(found["dev", label] - found["test", label]) <= 1 for label in "abcd")
    assert Counter(divided["split"]) == {"train": 1, "dev": 51, "test": 50}


def test_rows_of_one_question_go_to_one_half():
    rows = [
        {"split": "dev", "group": f"q{question}", "label": "true" if answer == question % 3 else "false"}
        for question in range(20)
        for answer in range(3)
    ]
    divided, report = divide(table(rows))
    assert (divided.groupby("group")["split"].nunique() == 1).all()
    assert divided["split"].value_counts().to_dict() == {"dev": 30, "test": 30}
    assert report.dev.labels == {"false": 20, "true": 10}
    assert report.dev.num_units == 30


def test_multiple_choice_is_stratified_by_the_place_of_the_right_option():
    # The right option stands first in 10 questions, second in 6, third in 4.
    places = [0] * 10 + [1] * 6 + [2] * 4
    rows = [
        {"split": "dev", "group": str(question), "option": str(option), "label": RIGHT if option == place else WRONG}
        for question, place in enumerate(places)
        for option in range(3)
    ]
    divided, report = divide(table(rows), form=Form.MULTIPLE_CHOICE)
    right = divided[divided["label"] == RIGHT]
    assert Counter(zip(right["split"], right["option"], strict=True)) == {
        ("dev", "0"): 5,
        ("dev", "1"): 3,
        ("dev", "2"): 2,
        ("test", "0"): 5,
        ("test", "1"): 3,
        ("test", "2"): 2,
    }
    assert report.test.num_units == 10
    assert report.test.num_rows == 30
    assert report.dev.source == "half of the official dev, stratified by place of the right option, seed 0"


def test_regression_is_stratified_by_tenths_of_the_label():
    values = np.random.default_rng(0).permutation(100)
    divided, report = divide(table([("dev", f"{value / 10:.1f}") for value in values]), form=Form.REGRESSION)
    tenth = divided["label"].astype(float).astype(int)
    assert (tenth[divided["split"] == "dev"].value_counts() == 5).all()
    assert report.test.source == "the other half of the official dev, stratified by tenth of the label, seed 0"
    test_values = divided.loc[divided["split"] == "test", "label"].astype(float)
    assert report.test.labels == {
        "minimum": test_values.min(),
        "mean": pytest.approx(test_values.mean()),
        "maximum": test_values.max(),
    }


def test_regression_with_one_value_only_is_halved_all_the_same():
    divided, _ = divide(table([("dev", "2.5")] * 5), form=Form.REGRESSION)
    assert Counter(divided["split"]) == {"dev": 3, "test": 2}


def test_half_of_the_matched_part_and_all_of_the_mismatched_are_scored():
    # Both parts number their rows from 0.
    parts = ["matched"] * 8 + ["mismatched"] * 6
    rows = [
        {"split": "dev", "part": part, "group": str(number % 8), "label": "ab"[number % 2]}
        for number, part in enumerate(parts)
    ]
    divided, report = divide(table(rows))
    assert Counter(zip(divided["split"], divided["part"], divided["label"], strict=True)) == {
        ("dev", "matched", "a"): 2,
        ("dev", "matched", "b"): 2,
        ("test", "matched", "a"): 2,
        ("test", "matched", "b"): 2,
        ("test", "mismatched", "a"): 3,
        ("test", "mismatched", "b"): 3,
    }
    assert report.dev.source == "half of the official dev (matched), stratified by label, seed 0"
    assert report.test.source == (
        "the other half of the official dev (matched), stratified by label, seed 0; and all of the official dev "
        "(mismatched)"
    )


def test_other_parts_are_halved_each():
    rows = [{"split": "dev", "part": "xy"[n % 2], "group": str(n // 2), "label": "ab"[n // 2 % 2]} for n in range(24)]
    divided, report = divide(table(rows))
    assert set(Counter(zip(divided["split"], divided["part"], divided["label"], strict=True)).values()) == {3}
    assert report.dev.source == "half of the official dev (x, y), stratified by label and part, seed 0"


def test_texts_that_stand_in_an_earlier_split_are_counted():
    rows = [
        {"split": "train", "text": "one", "text_pair": "two", "label": "a"},
        {"split": "train", "text": "three", "label": "a"},
        {"split": "dev", "text": "one", "text_pair": "two", "label": "b"},
        {"split": "dev", "text": "one", "text_pair": "three", "label": "a"},
        {"split": "test", "text": "one", "text_pair": "three", "label": "a"},
        {"split": "test", "text": "three", "label": "a"},
        {"split": "test", "text": "three", "label": "b"},
    ]
    _, report = divide(table(rows))
    assert report.dev.texts_also_in_train == 1
    assert report.test.texts_also_in_train == 2
    assert report.test.texts_also_in_dev == 1
    assert "texts_also_in_train" not in report.to_json()["train"]


def test_report_is_json():
    _, report = divide(classified())
    assert ExamplesReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_diagnostic_without_train_and_dev_is_no_error():
    labelled, _ = divide(table([("test", "a"), ("test", "b")]))
    assert labelled["split"].tolist() == ["test", "test"]
    hidden, report = divide(table([("test", None)]))
    assert hidden["split"].tolist() == ["submission"]
    assert list(report.to_json()) == list(report.splits) == ["submission"]


def test_missing_dev_says_what_was_found():
    with pytest.raises(TaskError) as caught:
        divide(table([("train", "a"), ("train", "b"), ("test", None)]))
    assert str(caught.value) == (
        "Task `mine` has no dev split (rows found: train 2, submission 1), but settings are chosen on dev, and dev is "
        "halved where the official test has no labels. Add the task's dev file, or name one under params:finetune."
    )


def test_dev_without_labels_is_refused():
    with pytest.raises(TaskError) as caught:
        divide(table([("train", "a"), ("dev", "a"), ("dev", None), ("test", "a")]))
    assert str(caught.value) == (
        "Task `mine` has 1 row(s) of dev without a label, but dev scores settings and needs all of them. Add the "
        "labels to the task's dev file, or take the rows out."
    )


def test_dev_of_one_group_cannot_be_halved():
    rows = [("train", "a"), {"split": "dev", "group": "q", "label": "a"}, {"split": "dev", "group": "q", "label": "b"}]
    with pytest.raises(TaskError) as caught:
        divide_splits(table(rows), form=Form.CLASSIFICATION, seed=0)
    assert str(caught.value) == (
        "The examples have 1 unit(s) in dev and no labelled test, and one half of dev would be empty: two units at "
        "least are needed, rows about one text or of one group counted once and those of part `mismatched` not at all. "
        "Add examples to the task's dev file, or give it a test file with labels."
    )
    with pytest.raises(TaskError, match="one half of dev would be empty"):
        divide(table([{"split": "dev", "part": "mismatched", "label": "a"}] * 4))


@pytest.mark.parametrize(
    ("dev", "num_units"),
    [
        # Two questions about one passage, marks aside.
        ([{"group": "q1", "text": "The [ cat ] sat"}, {"group": "q2", "text": "The cat sat"}], 1),
        ([{"group": "q1", "text": "one"}, {"group": "q1", "text": "two"}], 1),
        ([{"part": "mismatched"}] * 3, 0),
    ],
)
def test_units_of_a_dev_too_small_to_halve_are_counted_as_they_would_be_halved(dev, num_units):
    examples = table([{"split": "dev", "label": "a"} | row for row in dev])
    with pytest.raises(TaskError, match=rf"^Task `mine` has {num_units} unit\(s\) in dev and no labelled test"):
        divide(examples)


@pytest.mark.slow
def test_forty_thousand_examples_are_divided_in_seconds():
    divided, _ = divide(classified(40_000))
    assert Counter(divided["split"]) == {"train": 10, "dev": 20_000, "test": 20_000}


def test_questions_on_one_text_go_to_one_half_marks_aside():
    texts = [
        "The [ cat ] saw [ it ] .",
        "The cat saw [ it ] .",
        "A dog barked.",
        "A [ dog ] barked.",
        "Third.",
        "Fourth.",
    ]
    dev = pd.DataFrame(
        {
            "split": "dev",
            "part": "",
            "group": [str(row) for row in range(6)],
            "index": "",
            "text": texts,
            "text_pair": None,
            "option": None,
            "label": ["true", "false"] * 3,
        }
    )
    train = dev.assign(split="train", text=[f"Other {row}." for row in range(6)])
    for seed in range(10):
        divided, _ = divide_splits(pd.concat([train, dev], ignore_index=True), form=Form.CLASSIFICATION, seed=seed)
        halves = divided["split"].tolist()[6:]
        assert halves[0] == halves[1]
        assert halves[2] == halves[3]
        assert {"dev", "test"} == set(halves)

"""Records as the hub has them, read from folders in the hub's form: the network is blocked."""

from __future__ import annotations

import pytest

import datasets
from bort_kedro.errors import TaskError
from bort_kedro.tasks.reading.hub import read_from_hub
from bort_kedro.tasks.table import TASKS, own_task
from datasets import ClassLabel, Dataset, Features, Sequence, Value

TEXT, NUMBER = Value("string"), Value("int32")
TRUTH = ClassLabel(names=["False", "True"])


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Writes a task's splits as Parquet files beside a card that lists them, and reads the task from there."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "hub"

    def read(name, features, splits, **others):
        configuration = TASKS[name].hub[1]
        files = []
        for split, rows in splits.items():
            path = folder / configuration / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            Dataset.from_list(rows, features=Features(features)).to_parquet(path)
            files.append(f"  - split: {split}\n    path: {configuration}/{split}-*\n")
        card = f"---\nconfigs:\n- config_name: {configuration}\n  data_files:\n{''.join(files)}---\n"
        (folder / "README.md").write_text(card)
        return read_from_hub(TASKS[name], path=str(folder), **others)

    return read


def _table(reading, *columns):
    return list(reading.examples[list(columns)].itertuples(index=False, name=None))


def test_words_of_labels_become_those_of_the_files(hub):
    features = {"sentence": TEXT, "label": ClassLabel(names=["unacceptable", "acceptable"]), "idx": NUMBER}
    rows = [{"sentence": "A.", "label": 1, "idx": 4}, {"sentence": "B.", "label": 0, "idx": 6}]
    test = [{"sentence": "C.", "label": -1, "idx": 0}]
    reading = hub("cola", features, {"train": rows, "validation": rows, "test": test})
    assert _table(reading, "split", "index", "text", "label") == [
        ("train", "4", "A.", "1"),
        ("train", "6", "B.", "0"),
        ("dev", "4", "A.", "1"),
        ("dev", "6", "B.", "0"),
        ("test", "0", "C.", None),
    ]
    assert reading.files["dev"].endswith("hub (cola), split validation")
    assert reading.num_rows == {"train": 2, "dev": 2, "test": 1}


def test_numbers_without_words_are_in_the_order_of_the_tasks_labels(hub):
    rows = [{"premise": "P", "hypothesis": "H", "label": label, "idx": label} for label in range(3)]
    features = {"premise": TEXT, "hypothesis": TEXT, "label": NUMBER, "idx": NUMBER}
    reading = hub("cb", features, {"train": rows, "validation": rows})
    assert reading.examples["label"].tolist() == ["entailment", "contradiction", "neutral"] * 2


def test_parts_of_mnli_are_splits_of_their_own(hub):
    features = {
        "premise": TEXT,
        "hypothesis": TEXT,
        "label": ClassLabel(names=["entailment", "neutral", "contradiction"]),
        "idx": NUMBER,
    }
    row = [{"premise": "P", "hypothesis": "H", "label": 2, "idx": 0}]
    hidden = [{**row[0], "label": -1}]
    splits = {"train": row, "validation_matched": row, "validation_mismatched": row}
    reading = hub("mnli", features, {**splits, "test_matched": hidden, "test_mismatched": hidden})
    assert _table(reading, "split", "part", "group", "label") == [
        ("train", "", "0", "contradiction"),
        ("dev", "matched", "matched/0", "contradiction"),
        ("dev", "mismatched", "mismatched/0", "contradiction"),
        ("test", "matched", "matched/0", None),
        ("test", "mismatched", "mismatched/0", None),
    ]


def test_scores_of_32_bits_are_written_without_their_rounding(hub):
    features = {"sentence1": TEXT, "sentence2": TEXT, "label": Value("float32"), "idx": NUMBER}
    rows = [{"sentence1": "A", "sentence2": "B", "label": score, "idx": 0} for score in (3.8, 5.0, 0.25, -1.0)]
    reading = hub("stsb", features, {"train": rows[:3], "validation": rows[:3], "test": rows[3:]})
    assert reading.examples["label"].tolist() == ["3.8", "5", "0.25"] * 2 + [None]


def test_spans_stand_beside_the_text(hub):
    features = {
        "text": TEXT,
        "span1_index": NUMBER,
        "span2_index": NUMBER,
        "span1_text": TEXT,
        "span2_text": TEXT,
        "idx": NUMBER,
        "label": TRUTH,
    }
    row = {"text": "Mark lied. He ran.", "span1_index": 0, "span2_index": 2, "span1_text": "Mark", "span2_text": "He"}
    rows = [{**row, "idx": 5, "label": 1}]
    reading = hub("wsc", features, {"train": rows, "validation": rows})
    assert _table(reading, "group", "text", "label") == [("5", "[ Mark ] lied. [ He ] ran.", "true")] * 2


def test_words_in_context_have_their_characters(hub):
    places = dict.fromkeys(("start1", "start2", "end1", "end2"), NUMBER)
    features = {"word": TEXT, "sentence1": TEXT, "sentence2": TEXT, **places, "idx": NUMBER, "label": TRUTH}
    row = {"word": "a", "sentence1": "a b", "sentence2": "c a", "start1": 0, "end1": 1, "start2": 2, "end2": 3}
    rows = [{**row, "idx": 0, "label": 0}]
    reading = hub("wic", features, {"train": rows, "validation": rows})
    assert _table(reading, "text", "text_pair", "label") == [("[ a ] b", "c [ a ]", "false")] * 2


def test_choices_keep_their_number(hub):
    features = dict.fromkeys(("premise", "choice1", "choice2", "question"), TEXT)
    features |= {"idx": NUMBER, "label": ClassLabel(names=["choice1", "choice2"])}
    row = {"premise": "P", "choice1": "x", "choice2": "y", "question": "cause", "idx": 3}
    rows, test = [{**row, "label": 1}], [{**row, "label": -1}]
    reading = hub("copa", features, {"train": rows, "validation": rows, "test": test})
    assert _table(reading, "group", "option", "label") == [
        *[("3", "x", "wrong"), ("3", "y", "right")] * 2,
        ("3", "x", None),
        ("3", "y", None),
    ]


def test_answers_of_a_question_come_one_by_one(hub):
    index = {"paragraph": NUMBER, "question": NUMBER, "answer": NUMBER}
    features = {"paragraph": TEXT, "question": TEXT, "answer": TEXT, "idx": index, "label": TRUTH}
    row = {"paragraph": "P", "question": "Q?"}
    rows = [
        {**row, "answer": text, "idx": {"paragraph": 1, "question": 2, "answer": number}, "label": number % 2}
        for number, text in enumerate("ab")
    ]
    reading = hub("multirc", features, {"train": rows, "validation": rows, "test": [{**rows[0], "label": -1}]})
    assert _table(reading, "group", "index", "text_pair", "label") == [
        *[("1/2", "1/2/0", "Q? a", "false"), ("1/2", "1/2/1", "Q? b", "true")] * 2,
        ("1/2", "1/2/0", "Q? a", None),
    ]


def test_entities_are_in_the_order_of_the_text(hub):
    features = {
        "passage": TEXT,
        "query": TEXT,
        "entities": Sequence(TEXT),
        "entity_spans": Sequence({"text": TEXT, "start": NUMBER, "end": NUMBER}),
        "answers": Sequence(TEXT),
        "idx": {"passage": NUMBER, "query": NUMBER},
    }
    row = {
        "passage": "Cuba saw Chavez\n@highlight\nCuba",
        "query": "In @placeholder",
        "entities": ["Chavez", "Cuba"],
        "entity_spans": {"text": ["Cuba", "Chavez", "Cuba"], "start": [0, 9, 27], "end": [4, 15, 31]},
        "idx": {"passage": 8, "query": 9},
    }
    rows, test = [{**row, "answers": ["Cuba"]}], [{**row, "answers": []}]
    reading = hub("record", features, {"train": rows, "validation": rows, "test": test})
    assert _table(reading, "group", "text", "text_pair", "option", "label") == [
        *[
            ("9", "Cuba saw Chavez. Cuba", "In [ Cuba ]", "Cuba", "right"),
            ("9", "Cuba saw Chavez. Cuba", "In [ Chavez ]", "Chavez", "wrong"),
        ]
        * 2,
        ("9", "Cuba saw Chavez. Cuba", "In [ Cuba ]", "Cuba", None),
        ("9", "Cuba saw Chavez. Cuba", "In [ Chavez ]", "Chavez", None),
    ]


def test_questions_of_an_article_are_counted_as_in_the_files(hub):
    features = {"example_id": TEXT, "article": TEXT, "answer": TEXT, "question": TEXT, "options": Sequence(TEXT)}
    row = {"article": "A.", "options": ["a", "b", "c", "d"], "answer": "D", "question": "It is _"}
    rows = [{**row, "example_id": name} for name in ("high1.txt", "high1.txt", "high2.txt")]
    reading = hub("race_high", features, {"train": rows, "validation": rows, "test": rows[:1]})
    groups = ["high1.txt/0", "high1.txt/1", "high2.txt/0"]
    assert reading.examples["group"].tolist() == [group for group in [*groups * 2, groups[0]] for _ in range(4)]
    assert _table(reading, "text_pair", "label")[3] == ("It is d", "right")


def test_diagnostics_have_a_test_split_only(hub):
    features = {
        "premise": TEXT,
        "hypothesis": TEXT,
        "label": ClassLabel(names=["entailment", "neutral", "contradiction"]),
        "idx": NUMBER,
    }
    reading = hub("ax", features, {"test": [{"premise": "P", "hypothesis": "H", "label": -1, "idx": 0}]})
    assert _table(reading, "split", "text", "label") == [("test", "P", None)]


def test_malformed_records_are_named_or_left_out(hub):
    features = {"sentence": TEXT, "label": NUMBER, "idx": NUMBER}
    rows = [{"sentence": "A.", "label": 1, "idx": 0}, {"sentence": "B.", "label": 7, "idx": 1}]
    splits = {"train": rows, "validation": rows[:1]}
    with pytest.raises(TaskError) as caught:
        hub("sst2", features, splits)
    assert str(caught.value).endswith(
        "hub (sst2), split train, record 1, column `label`: '7', expected one of '0', '1'. Mend the row, set "
        "`skip_bad_rows` to leave such rows out, or name another file; all in params:finetune."
    )
    reading = hub("sst2", features, splits, skip_bad_rows=True)
    assert reading.num_rows == {"train": 1, "dev": 1}
    assert list(reading.num_skipped.values()) == [1]


def test_split_that_the_hub_lacks_is_named(hub, tmp_path):
    features = {"sentence": TEXT, "label": NUMBER, "idx": NUMBER}
    with pytest.raises(TaskError) as caught:
        hub("sst2", features, {"train": [{"sentence": "A.", "label": 1, "idx": 0}]})
    assert str(caught.value) == (
        f"Task `sst2`: {tmp_path / 'hub'} (sst2), split validation is not there. Splits found: train. Set "
        "`read_from: files` in params:finetune, or name an earlier revision."
    )


def test_hub_out_of_reach_is_one_clear_error(tmp_path):
    with pytest.raises(TaskError) as caught:
        read_from_hub(TASKS["rte"], path=str(tmp_path / "nowhere"))
    assert str(caught.value).startswith(f"Task `rte`: {tmp_path / 'nowhere'} (rte) cannot be read from the hub: ")
    assert str(caught.value).endswith(
        "Check the connection, or put the official files into the folder of `task_files` and set `read_from: files` "
        "in params:finetune."
    )


def test_own_task_is_not_on_the_hub():
    task = own_task("mine", files={"train": "a.tsv", "dev": "b.tsv"}, columns={"text": "a", "label": "b"})
    with pytest.raises(TaskError) as caught:
        read_from_hub(task)
    assert str(caught.value) == (
        "Task `mine` is not on the hub. Set `read_from: files` in params:finetune for tasks of your own."
    )

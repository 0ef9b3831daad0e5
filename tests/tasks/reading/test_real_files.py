"""Every row of every official file at hand, there and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bort_kedro.tasks.reading.folder import TaskFolder
from bort_kedro.tasks.reading.formats import read_rows
from bort_kedro.tasks.spans import CLOSE, OPEN, without_brackets
from bort_kedro.tasks.table import TASKS, SourceFile

# Official counts, of records; see the README beside the real files.
COUNTS = {
    "glue/CoLA/train.tsv": 8551,
    "glue/CoLA/dev.tsv": 1043,
    "glue/CoLA/test.tsv": 1063,
    "glue/RTE/train.tsv": 2490,
    "glue/RTE/dev.tsv": 277,
    "glue/RTE/test.tsv": 3000,
    "glue/WNLI/train.tsv": 635,
    "glue/WNLI/dev.tsv": 71,
    "glue/WNLI/test.tsv": 146,
    "glue/QNLI/train.tsv": 9999,
    "glue/QNLI/dev.tsv": 5463,
    "glue/QNLI/test.tsv": 5463,
    "glue/QNLI/train_kshot.tsv": 320,
    "glue/MNLI/train.tsv": 480,
    "glue/MNLI/train_sample.jsonl": 9999,
    "glue/AX/diagnostic.tsv": 1104,
    "glue/AX/diagnostic-full.tsv": 1104,
    "superglue/BoolQ/val.jsonl": 3270,
    "superglue/BoolQ/fewglue_train32.jsonl": 32,
    "superglue/BoolQ/fewglue_dev32.jsonl": 32,
    "superglue/CB/train.jsonl": 250,
    "superglue/CB/val.jsonl": 56,
    "superglue/CB/test.jsonl": 250,
    "superglue/COPA/train.jsonl": 400,
    "superglue/COPA/val.jsonl": 100,
    "superglue/COPA/test.jsonl": 500,
    "superglue/WSC/train.jsonl": 554,
    "superglue/WSC/val.jsonl": 104,
    "superglue/WSC/test.jsonl": 146,
    "superglue/AX-b/AX-b.jsonl": 1104,
    "superglue/AX-g/AX-g.jsonl": 356,
}
COLA = ("source", "label", "mark", "sentence")


@pytest.mark.real_data
@pytest.mark.parametrize("name", COUNTS)
def test_real_file_has_the_official_count_and_its_rows_written_back_are_the_file(real_data, name):
    path = real_data / name
    header = COLA if name in ("glue/CoLA/train.tsv", "glue/CoLA/dev.tsv") else ()
    rows = list(read_rows(path, header))
    assert not any(row.fault for row in rows)
    assert len(rows) == COUNTS[name]
    content = path.read_bytes().decode()
    if path.suffix == ".jsonl":
        assert [row.fields for row in rows] == [json.loads(line) for line in content.split("\n") if line]
        return
    end = "\r\n" if "\r" in content else "\n"
    lines = ([] if header else [list(rows[0].fields)]) + [list(row.fields.values()) for row in rows]
    assert end.join("\t".join(line) for line in lines) == content.rstrip("\r\n")


@pytest.mark.real_data
def test_no_real_file_is_left_out(real_data):
    found = {
        str(path.relative_to(real_data))
        for folder in ("glue", "superglue")
        for suffix in ("tsv", "jsonl")
        for path in (real_data / folder).rglob(f"*.{suffix}")
    }
    assert found == set(COUNTS)


def _raw(real_data, reading, split):
    """The records of a split, read without the readers under test."""
    path = reading.files[split]
    lines = Path(path).read_bytes().decode().rstrip("\r\n").replace("\r\n", "\n").split("\n")
    if path.endswith(".jsonl"):
        return [json.loads(line) for line in lines]
    cells = [line.split("\t") for line in lines]
    names = list(COLA) if len(cells[0]) == 4 and cells[0][1] in "01" else cells.pop(0)
    return [dict(zip(names, row, strict=True)) for row in cells]


TEXTS = {
    "cola": ("sentence", None, "label"),
    "rte": ("sentence1", "sentence2", "label"),
    "wnli": ("sentence1", "sentence2", "label"),
    "qnli": ("question", "sentence", "label"),
    "ax": ("Premise", "Hypothesis", "Label"),
    "cb": ("premise", "hypothesis", "label"),
    "axb": ("sentence1", "sentence2", "label"),
    "axg": ("premise", "hypothesis", "label"),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", TEXTS)
def test_examples_of_real_files_are_their_texts_and_labels(real_data, name):
    reading = TaskFolder(real_data).read(TASKS[name])
    for split in reading.files:
        table = reading.examples[reading.examples["split"] == split]
        raw = _raw(real_data, reading, split)
        expected = [tuple(None if column is None else row.get(column) for column in TEXTS[name]) for row in raw]
        assert list(table[["text", "text_pair", "label"]].itertuples(index=False, name=None)) == expected
        assert table["index"].tolist() == [
            str(row.get("index", row.get("idx", number))) for number, row in enumerate(raw)
        ]
        assert table["group"].is_unique or name == "axg"


@pytest.mark.real_data
def test_examples_of_real_boolq_are_passages_and_questions(real_data):
    files = {"train": "fewglue_train32.jsonl", "dev": "fewglue_dev32.jsonl", "test": "val.jsonl"}
    reading = TaskFolder(real_data).read(
        TASKS["boolq"], files={split: SourceFile(name) for split, name in files.items()}
    )
    assert reading.num_rows == {"train": 32, "dev": 32, "test": 3270}
    for split in files:
        table = reading.examples[reading.examples["split"] == split]
        raw = _raw(real_data, reading, split)
        expected = [(row["passage"], row["question"], json.dumps(row["label"])) for row in raw]
        assert list(table[["text", "text_pair", "label"]].itertuples(index=False, name=None)) == expected


@pytest.mark.real_data
def test_examples_of_real_copa_are_two_choices_each(real_data):
    reading = TaskFolder(real_data).read(TASKS["copa"])
    assert reading.num_rows == {"train": 800, "dev": 200, "test": 1000}
    for split in reading.files:
        table = reading.examples[reading.examples["split"] == split]
        raw = _raw(real_data, reading, split)
        assert table["option"].tolist() == [text for row in raw for text in (row["choice1"], row["choice2"])]
        assert table["text"].tolist() == [row["premise"] for row in raw for _ in range(2)]
        assert table["group"].tolist() == [str(row["idx"]) for row in raw for _ in range(2)]
        rights = [
            [None, None] if "label" not in row else ["right", "wrong"][:: -1 if row["label"] else 1] for row in raw
        ]
        assert table["label"].tolist() == [label for pair in rights for label in pair]


@pytest.mark.real_data
def test_spans_of_real_wsc_are_marked_where_they_stand(real_data):
    reading = TaskFolder(real_data).read(TASKS["wsc"])
    assert reading.num_rows == {"train": 554, "dev": 104, "test": 146}
    differing = []
    for split in reading.files:
        table = reading.examples[reading.examples["split"] == split]
        for text, row in zip(table["text"], _raw(real_data, reading, split), strict=True):
            words, target = text.split(), row["target"]
            unmarked = [word for word in words if word not in (OPEN, CLOSE)]
            assert "".join(unmarked) == "".join(without_brackets(row["text"]).split())
            assert (words.count(OPEN), words.count(CLOSE)) == (2, 2)
            spans = [target["span1_text"], target["span2_text"]]
            marked = [" ".join(span.rstrip(".").split()).lower() for span in spans]
            if not all(f"{OPEN} {span} {CLOSE}" in text.lower() for span in marked):
                differing.append((split, row["idx"], target["span1_text"]))
    # One span within the other, and names that the text names apart.
    assert differing == [
        ("dev", 95, "their mothers"),
        ("test", 80, "Kamenev and Zinoviev"),
        ("test", 82, "Kamenev, Zinoviev, and Stalin"),
    ]


@pytest.mark.real_data
def test_real_validation_example_with_a_wrong_index_is_marked_right(real_data):
    examples = TaskFolder(real_data).read(TASKS["wsc"]).examples
    text = examples[(examples["split"] == "dev") & (examples["index"] == "42")]["text"].item()
    assert "in an iron [ safe ] . Some day they might want to use [ it ] , but" in text

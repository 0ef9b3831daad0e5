"""Whatever the files of a task hold, their rows are read as they stand there, or are refused by file and line."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bort_kedro.tasks.description import Form
from bort_kedro.tasks.own import own_task
from bort_kedro.tasks.reading.folder import TaskFolder
from bort_kedro.tasks.reading.recorded import read_recorded_labels
from bort_kedro.tasks.settings import RecordedLabelsSettings
from spoiling import JSON, edited, read_or_refused, spoiled_bytes

NAMES = ("first", "second", "label")
ROWS = [("A good one.", "It is, é.", "yes"), ("A bad one.", 'It "is".', "no"), ("So so.", "It, too.", "no")]
TABLE = "".join("\t".join(row) + "\n" for row in (NAMES, *ROWS))
QUOTED = io.StringIO(newline="")
csv.writer(QUOTED).writerows([NAMES, *ROWS])
OBJECTS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
LINES = "".join(json.dumps(row) + "\n" for row in OBJECTS)
TAGGED = "-DOCSTART- O\n\nAda B-PER\nsaw O\nRome B-LOC\n\nIt O\nrains O\n"
PAIRS = {"text": "first", "text_pair": "second", "label": "label"}
FILES = {".tsv": TABLE, ".txt": TABLE, ".csv": QUOTED.getvalue(), ".jsonl": LINES, ".conll": TAGGED}
BELIEFS = [
    {"first": "A good one.", "second": "It is.", "label": {"yes": 0.25, "no": 0.75}},
    {"first": "A bad one.", "second": "It is.", "label": [0.5, 0.5]},
    {"first": "So so.", "second": "It is.", "label": "no"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tasks")


def task_of(folder, suffix):
    files = {split: str(folder / f"{split}{suffix}") for split in ("train", "dev")}
    if suffix == ".conll":
        return own_task("tagged", files=files, columns={}, form=Form.TOKENS)
    return own_task("mine", files=files, columns=PAIRS)


def read_by_hand(content, suffix):
    """Rows of a file by the plainest means, with those that no reader takes."""
    text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    if suffix == ".jsonl":
        return [json.loads(line) for line in text.split("\n") if line.strip() and is_object(line)]
    if suffix == ".csv":
        names, *rows = csv.reader(io.StringIO(text.rstrip("\r\n"), newline=""), strict=True)
    else:
        names, *rows = (line.removesuffix("\r").split("\t") for line in text.rstrip("\r\n").split("\n"))
    return [dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names)]


def is_object(line):
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


@given(data=st.data(), suffix=st.sampled_from(list(FILES)), skips=st.booleans())
def test_a_spoiled_file_gives_the_rows_that_stand_in_it_or_is_refused(folder, data, suffix, skips):
    train, dev = (folder / f"{split}{suffix}" for split in ("train", "dev"))
    content = data.draw(spoiled_bytes(FILES[suffix].encode()))
    train.write_bytes(content)
    dev.write_bytes(FILES[suffix].encode())
    reading, refusal = read_or_refused(
        lambda: TaskFolder(folder).read(task_of(folder, suffix), skip_bad_rows=skips), folder
    )
    if refusal or suffix == ".conll":
        return
    table = reading.examples[reading.examples["split"] == "train"]
    found = list(table[["text", "text_pair", "label"]].itertuples(index=False, name=None))
    there = [tuple(row.get(name) for name in NAMES) for row in read_by_hand(content, suffix)]
    assert skips or len(found) == len(there)
    for first, second, label in found:
        assert any(
            (first, second) == row[:2]
            and label == (row[2].strip() if isinstance(row[2], str) else json.dumps(row[2]).removesuffix(".0"))
            for row in there
        )
    assert set(table["label"]) <= set(reading.labels)


@given(data=st.data())
def test_words_and_tags_of_a_spoiled_file_stay_side_by_side(folder, data):
    train, dev = folder / "train.conll", folder / "dev.conll"
    content = data.draw(spoiled_bytes(TAGGED.encode()))
    train.write_bytes(content)
    dev.write_text(TAGGED)
    reading, refusal = read_or_refused(lambda: TaskFolder(folder).read(task_of(folder, ".conll")), folder)
    if refusal:
        return
    # Of lines that begin a document, which are left out, the reader asks nothing.
    lines = [line.split() for line in content.decode("utf-8-sig", "replace").split("\n")]
    words = [line[0] for line in lines if line and line[0] != "-DOCSTART-"]
    table = reading.examples[reading.examples["split"] == "train"]
    assert " ".join(table["text"]).split() == words
    assert [len(text.split()) for text in table["text"]] == [len(tags.split()) for tags in table["label"]]


@given(data=st.data())
def test_edited_beliefs_are_probabilities_or_are_refused(folder, data):
    path = folder / "beliefs.jsonl"
    rows = data.draw(edited(BELIEFS))
    lines = rows if isinstance(rows, list) else [rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in lines), "utf-8")
    task = task_of(folder, ".jsonl")
    settings = RecordedLabelsSettings(file=str(path), columns={})
    reading, refusal = read_or_refused(
        lambda: read_recorded_labels(task, ("no", "yes"), settings, skip_bad_rows=False), path
    )
    if refusal:
        return
    shares = reading.table[["probability_no", "probability_yes"]].to_numpy(dtype=float)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert abs(shares.sum(axis=1) - 1).max() < 1e-9


@given(value=JSON, form=st.sampled_from([Form.CLASSIFICATION, Form.REGRESSION, Form.MULTIPLE_CHOICE]))
def test_any_value_as_a_recorded_label_is_refused_or_finite(folder, value, form):
    path = folder / "label.jsonl"
    path.write_text(json.dumps({"first": "A", "second": "B", "third": "C", "label": value}) + "\n", "utf-8")
    columns = {"text": "first", "label": "label"} | (
        {"options": ("second", "third")} if form == Form.MULTIPLE_CHOICE else {}
    )
    task = own_task("mine", files={"train": "a.csv", "dev": "b.csv"}, columns=columns, form=form)
    settings = RecordedLabelsSettings(file=str(path), columns={})
    labels = ("no", "yes") if form == Form.CLASSIFICATION else ()
    reading, refusal = read_or_refused(lambda: read_recorded_labels(task, labels, settings, skip_bad_rows=False), path)
    if not refusal:
        outputs = reading.table.iloc[:, 4:].to_numpy(dtype=float)
        assert np.isfinite(outputs).all()

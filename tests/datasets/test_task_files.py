from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.io.core import DatasetError

from bort_kedro.datasets.task_files import TaskFilesDataset
from bort_kedro.errors import TaskError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

SINGLE = {"text": "sentence", "label": "label"}
PAIR = {"text": "first", "text_pair": "second", "label": "label"}
GOOD = "sentence\tlabel\nA good one.\tyes\nA bad one.\tno\n"


def _task(folder: Path, train=GOOD, dev=GOOD, test=GOOD, *, suffix=".tsv", columns=SINGLE, labels=None):
    paths = {}
    for split, content in (("train", train), ("dev", dev), ("test", test)):
        path = folder / f"{split}{suffix}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        paths[split] = str(path)
    return TaskFilesDataset(**paths, columns=columns, labels=labels)


def _fault(dataset: TaskFilesDataset) -> str:
    """The text of the error that loading gives, seen to be ours and to say where to change things."""
    with pytest.raises(DatasetError) as caught:
        dataset.load()
    assert isinstance(caught.value.__cause__, TaskError)
    return str(caught.value.__cause__)


def _rows(table: pd.DataFrame, split: str) -> list[tuple]:
    return [(row.text, row.text_pair, row.label) for row in table[table["split"] == split].itertuples(index=False)]


def test_three_tsv_files_make_one_table(tmp_path):
    table = _task(tmp_path, test='sentence\tlabel\nIt said "no.\tno\n').load()
    assert list(table.columns) == ["split", "text", "text_pair", "label"]
    assert table["split"].tolist() == ["train", "train", "dev", "dev", "test"]
    assert _rows(table, "train") == [("A good one.", None, "yes"), ("A bad one.", None, "no")]
    assert _rows(table, "test") == [('It said "no.', None, "no")]


def test_columns_are_found_by_name_and_others_are_left_out(tmp_path):
    content = "id,label,second,first\n7,yes,B,A\n8,no,D,C\n"
    table = _task(tmp_path, content, content, content, suffix=".csv", columns=PAIR).load()
    assert _rows(table, "dev") == [("A", "B", "yes"), ("C", "D", "no")]


def test_byte_order_mark_and_windows_line_ends_are_read_away(tmp_path):
    content = "\ufeff" + GOOD.replace("\n", "\r\n")
    assert _rows(_task(tmp_path, content).load(), "train") == _rows(_task(tmp_path).load(), "train")
    content = content.replace("\t", ",")
    table = _task(tmp_path, content, content, content, suffix=".csv").load()
    assert _rows(table, "test") == [("A good one.", None, "yes"), ("A bad one.", None, "no")]


def test_json_lines_labels_may_be_numbers_and_truths(tmp_path):
    content = '{"sentence": "One\\u2028two", "label": true}\n\n{"sentence": "Three", "label": 0}\n'
    table = _task(tmp_path, content, content, content, suffix=".jsonl", labels=[True, 0]).load()
    assert _rows(table, "train") == [("One\u2028two", None, "true"), ("Three", None, "0")]


def test_numbers_as_labels_in_yaml_match_texts_of_a_file(tmp_path):
    content = "sentence\tlabel\nA.\t1\nB.\t0\n"
    table = _task(tmp_path, content, content, content, labels=[0, 1]).load()
    assert table["label"].tolist() == ["1", "0"] * 3


def test_missing_files_are_all_named(tmp_path):
    dataset = TaskFilesDataset(train="nowhere.tsv", dev="neither.csv", test="nor.jsonl", columns=SINGLE)
    fault = _fault(dataset)
    assert "train: nowhere.tsv; dev: neither.csv; test: nor.jsonl" in fault
    assert "Change train/dev/test in the catalog entry" in fault


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl"])
def test_missing_column_lists_those_found(tmp_path, suffix):
    content = {
        ".tsv": "text\tlabel\nA.\tyes\n",
        ".csv": "text,label\nA.,yes\n",
        ".jsonl": '{"text": "A.", "label": "yes"}\n',
    }[suffix]
    fault = _fault(_task(tmp_path, content, content, content, suffix=suffix))
    assert f"train{suffix}, line 1: no column `sentence`. Columns found: `text`, `label`." in fault
    assert "change `columns` in the catalog entry of this task" in fault


@pytest.mark.parametrize("split", ["dev", "test"])
def test_label_not_in_train_names_line_value_and_choices(tmp_path, split):
    fault = _fault(_task(tmp_path, **{split: "sentence\tlabel\nA.\tyes\nB.\tmaybe\n"}))
    assert f"{split}.tsv, line 3, column `label`: unknown label 'maybe'" in fault
    assert "train.tsv: 'no', 'yes'." in fault


def test_label_not_in_catalog_entry_is_refused_in_train_too(tmp_path):
    fault = _fault(_task(tmp_path, labels=["yes", "nope"]))
    assert "train.tsv, line 3, column `label`: unknown label 'no'. Allowed, from `labels`: 'nope', 'yes'." in fault


@pytest.mark.parametrize(
    ("suffix", "content", "expected"),
    [
        (
            ".tsv",
            "sentence\tlabel\nA.\tyes\nB\textra\tno\n",
            "line 3: 3 fields, expected 2 (`sentence`, `label`)",
        ),
        (".tsv", "sentence\tlabel\nA.\tyes\n\nB.\tno\n", "line 3: 1 fields, expected 2"),
        (".csv", 'sentence,label\n"A\nsecond line",yes\nB,no,more\n', "line 4: 3 fields, expected 2"),
        (
            ".csv",
            'sentence,label\n"A\nsecond line",yes\n"never closed,no\n',
            "line 4: the quoting of this row",
        ),
        (".csv", 'sentence,label\n"A" b,yes\n', "line 2: the quoting of this row is broken"),
        (".jsonl", '{"sentence": "A", "label": "yes"}\n{"sentence": "B"', "line 2: not JSON"),
        (".jsonl", '["A", "yes"]\n', "line 1: ['A', 'yes'] is not a JSON object"),
        (
            ".jsonl",
            '{"sentence": 3, "label": "yes"}\n',
            "line 1, column `sentence`: text is 3, expected a text",
        ),
        (".jsonl", '{"sentence": "A", "label": null}\n', "line 1, column `label`: label is None"),
        (".jsonl", '{"sentence": "\\ud800", "label": "x"}\n', "line 1, column `sentence`: text is '\\ud800'"),
        (
            ".tsv",
            "sentence\tlabel\nA.\tyes\n  \tno\n",
            "line 3, column `sentence`: text is '  ', expected a text",
        ),
        (".tsv", "sentence\tlabel\nA.\t\n", "line 2, column `label`: label is ''"),
        (".tsv", "", "line 1: empty, expected a header row"),
        (".tsv", "sentence\tlabel\n", "no example under the header"),
        (".csv", "sentence,label,label\nA,yes,no\n", "line 1: the header has 'label' more than once"),
        (".tsv", b"sentence\tlabel\nA.\tyes\nB\xff\tno\n", "line 3: not UTF-8, byte 0xff"),
    ],
)
def test_broken_row_is_named_by_file_and_line(tmp_path, suffix, content, expected):
    fault = _fault(_task(tmp_path, content, content, content, suffix=suffix))
    assert f"{tmp_path / 'train'}{suffix}" in fault
    assert expected in fault


def test_catalog_entry_that_cannot_be_read_lists_every_fault():
    with pytest.raises(TaskError) as caught:
        TaskFilesDataset(train="a.txt", dev="b.tsv", test="c.tsv", columns={"text": "x", "lable": "y"}, labels=["one"])
    fault = str(caught.value)
    assert "`columns` names the unknown column `lable`; `columns` lacks `label`" in fault
    assert "`train` is a.txt, whose suffix is `.txt`" in fault
    assert "`labels` is ['one']; two different ones are needed" in fault
    assert "suffixes: .tsv, .csv, .jsonl" in fault


def test_saving_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="only reads"):
        _task(tmp_path).save("anything")


TEXTS = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
        | st.text('a "\t\r\n,\\\u2028\x0b\ufeff', min_size=1, max_size=8),
        st.sampled_from(["yes", "no"]),
    ),
    min_size=1,
    max_size=5,
)


def _loads_what_was_written_or_names_the_row(folder: Path, content: str, suffix: str, rows: list) -> bool:
    """True if the rows came back; False if a row was refused with its line; fails on anything else."""
    dataset = _task(folder, content, content, content, suffix=suffix, labels=["yes", "no"])
    try:
        table = dataset.load()
    except DatasetError as caught:
        refusal = caught
    else:
        assert [(row[0], row[2]) for row in _rows(table, "train")] == rows
        return True
    assert isinstance(refusal.__cause__, TaskError), refusal
    assert f"train{suffix}, line " in str(refusal.__cause__)
    return False


@settings(deadline=None, max_examples=150)
@given(rows=TEXTS)
def test_csv_gives_back_every_text_that_is_not_blank(tmp_path_factory, rows):
    buffer = io.StringIO(newline="")
    # The default dialect ends lines as Windows does and quotes every text that holds a line end of any kind.
    writer = csv.writer(buffer)
    writer.writerows([("sentence", "label"), *rows])
    loaded = _loads_what_was_written_or_names_the_row(tmp_path_factory.mktemp("csv"), buffer.getvalue(), ".csv", rows)
    assert loaded == all(text.strip() for text, _ in rows)


@settings(deadline=None, max_examples=150)
@given(rows=TEXTS)
def test_tsv_gives_back_every_text_without_tabs_and_line_ends(tmp_path_factory, rows):
    content = "".join(f"{text}\t{label}\n" for text, label in [("sentence", "label"), *rows])
    loaded = _loads_what_was_written_or_names_the_row(tmp_path_factory.mktemp("tsv"), content, ".tsv", rows)
    assert loaded == all(text.strip() and not set(text) & set("\t\n") for text, _ in rows)


@settings(deadline=None, max_examples=100)
@given(rows=TEXTS, ascii_only=st.booleans())
def test_json_lines_give_back_every_text_that_is_not_blank(tmp_path_factory, rows, ascii_only):
    content = "".join(
        json.dumps({"sentence": text, "label": label}, ensure_ascii=ascii_only) + "\n" for text, label in rows
    )
    loaded = _loads_what_was_written_or_names_the_row(tmp_path_factory.mktemp("jsonl"), content, ".jsonl", rows)
    assert loaded == all(text.strip() for text, _ in rows)

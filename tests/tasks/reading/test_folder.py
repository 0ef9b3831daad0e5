from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.io.core import DatasetError

from bort_kedro.datasets.task_files import TaskFilesDataset
from bort_kedro.errors import TaskError
from bort_kedro.tasks.table import TASKS, own_task

if TYPE_CHECKING:
    import pandas as pd

    from bort_kedro.tasks.reading.reading import TaskReading

SINGLE = {"text": "sentence", "label": "label"}
PAIR = {"text": "first", "text_pair": "second", "label": "label"}
GOOD = "sentence\tlabel\nA good one.\tyes\nA bad one.\tno\n"
HOW = "Mend the row, set `skip_bad_rows` to leave such rows out, or name another file; all in params:finetune."
NOWHERE = TaskFilesDataset(folder="nowhere").load()


def _read(
    folder: Path,
    train=GOOD,
    dev=GOOD,
    test=GOOD,
    *,
    suffix=".tsv",
    columns=SINGLE,
    skip_bad_rows=False,
    **others,
) -> TaskReading:
    paths = {}
    for split, content in (("train", train), ("dev", dev), ("test", test)):
        if content is not None:
            path = folder / f"{split}{suffix}"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            paths[split] = str(path)
    return NOWHERE.read(own_task("mine", files=paths, columns=columns, **others), skip_bad_rows=skip_bad_rows)


def _fault(folder: Path, *args, **others) -> str:
    with pytest.raises(TaskError) as caught:
        _read(folder, *args, **others)
    return str(caught.value)


def _rows(table: pd.DataFrame, split: str) -> list[tuple]:
    return [(row.text, row.text_pair, row.label) for row in table[table["split"] == split].itertuples(index=False)]


def test_three_tsv_files_make_one_table(tmp_path):
    reading = _read(tmp_path, test='sentence\tlabel\nIt said "no.\tno\n')
    table = reading.examples
    assert list(table.columns) == ["split", "part", "group", "text", "text_pair", "option", "label", "index"]
    assert table["split"].tolist() == ["train", "train", "dev", "dev", "test"]
    assert table["group"].tolist() == table["index"].tolist() == ["0", "1", "0", "1", "0"]
    assert _rows(table, "train") == [("A good one.", None, "yes"), ("A bad one.", None, "no")]
    assert _rows(table, "test") == [('It said "no.', None, "no")]
    assert table["option"].tolist() == [None] * 5
    assert reading.num_rows == {"train": 2, "dev": 2, "test": 1}
    assert reading.files == {split: str(tmp_path / f"{split}.tsv") for split in ("train", "dev", "test")}
    assert reading.labels == ("no", "yes")
    assert (reading.num_skipped, reading.first_faults) == ({}, [])


def test_columns_are_found_by_name_and_others_are_left_out(tmp_path):
    content = "id,label,second,first\n7,yes,B,A\n8,no,D,C\n"
    table = _read(tmp_path, content, content, content, suffix=".csv", columns=PAIR).examples
    assert _rows(table, "dev") == [("A", "B", "yes"), ("C", "D", "no")]


def test_labels_of_json_may_be_numbers_and_truths(tmp_path):
    content = '{"sentence": "One\\u2028two", "label": true}\n\n{"sentence": "Three", "label": 0}\n'
    reading = _read(tmp_path, content, content, content, suffix=".jsonl", labels=["true", "0"])
    assert _rows(reading.examples, "train") == [("One\u2028two", None, "true"), ("Three", None, "0")]
    assert reading.labels == ("true", "0")


def test_test_file_may_be_missing_or_without_labels(tmp_path):
    assert _read(tmp_path, test=None).num_rows == {"train": 2, "dev": 2}
    assert _rows(_read(tmp_path, test="sentence\nA.\n").examples, "test") == [("A.", None, None)]


def test_equal_numbers_and_labels_within_white_space_are_one_label(tmp_path):
    rows = '{"sentence": "A", "label": 1}\n{"sentence": "B", "label": 1.0}\n{"sentence": "C", "label": " 0 "}\n'
    reading = _read(tmp_path, rows, rows, rows, suffix=".jsonl")
    assert reading.labels == ("0", "1")
    assert [label for _, _, label in _rows(reading.examples, "dev")] == ["1", "1", "0"]


def test_empty_labels_of_a_test_file_are_none_and_of_others_refused(tmp_path):
    empty = "sentence,label\nA.,\nB., \n"
    content = GOOD.replace("\t", ",")
    table = _read(tmp_path, content, content, empty, suffix=".csv").examples
    assert _rows(table, "test") == [("A.", None, None), ("B.", None, None)]
    assert _fault(tmp_path, content, empty, suffix=".csv") == (
        f"{tmp_path / 'dev.csv'}, line 2, column `label`: '', expected a label that is not empty. {HOW}"
    )


def test_found_labels_that_differ_in_spelling_alone_are_refused_unless_they_are_named(tmp_path):
    content = "sentence\tlabel\nA.\tpos\nB.\tneg\nC.\tpos \nD.\tNeg\n"
    assert _fault(tmp_path, content) == (
        f"{tmp_path / 'train.tsv'}: the labels 'Neg' and 'neg' differ in spelling alone; write them alike, or name all "
        "labels if they are two, under `own_tasks.mine` in params:finetune."
    )
    labels = ("pos", "neg", "Neg")
    assert _read(tmp_path, content, content, content, labels=labels).labels == labels
    assert _fault(tmp_path, "sentence\tlabel\nA.\t01\n", labels=("1", "2")) == (
        f"{tmp_path / 'train.tsv'}, line 2, column `label`: '01', expected one of '1', '2' ('1' is spelled otherwise: "
        f"write both alike, and in YAML in quotes). {HOW}"
    )


def test_table_without_a_header_is_told_of_in_a_screen_however_long_its_first_row_is(tmp_path):
    fault = _fault(tmp_path, "word " * 200_000 + ",yes\nB,no\n", suffix=".csv")
    assert fault.startswith(f"{tmp_path / 'train.csv'}, line 1: no column `sentence`, `label`. Columns found: `word ")
    assert fault.endswith(", `yes`. Mend the file, or change `columns` of `own_tasks.mine` in params:finetune.")
    assert " characters left out] " in fault
    assert len(fault) < 4100
    reading = _read(tmp_path, f"{GOOD}{'word ' * 20_000}\n\t{'no' * 20_000}\n", skip_bad_rows=True)
    assert len(reading.first_faults) == 2
    assert max(map(len, reading.first_faults)) < 350


def test_no_number_is_a_label_only_where_it_is_named(tmp_path):
    rows = "sentence\tlabel\nA.\tyes\nB.\tnan\n"
    where = f"{tmp_path / 'train.tsv'}, line 3, column `label`: 'nan', expected a label (where this is one, name it in "
    assert _fault(tmp_path, rows) == f"{where}`labels`). {HOW}"
    assert _read(tmp_path, rows, rows, rows, labels=("yes", "nan")).labels == ("yes", "nan")
    fault = _fault(tmp_path, '{"sentence": "A", "label": NaN}\n', suffix=".jsonl")
    assert fault.startswith(f"{tmp_path / 'train.jsonl'}, line 1, column `label`: nan, expected a label that is not")


def test_multiple_choice_names_the_column_that_the_file_has(tmp_path):
    columns = {"text": "q", "options": ["a", "b", "c"], "label": "label"}
    for row, column in (("what,x,y,,0", "c"), (",x,y,z,0", "q"), ("what,x, ,z,0", "b")):
        fault = _fault(tmp_path, f"q,a,b,c,label\n{row}\n", suffix=".csv", columns=columns, form="multiple_choice")
        assert f"train.csv, line 2, column `{column}`: '" in fault
        assert f"expected a text that is not empty. {HOW}" in fault


def test_scores_are_read_as_texts(tmp_path):
    content = "sentence\tlabel\nA.\t1.50\nB.\t-2\n"
    reading = _read(tmp_path, content, content, content, form="regression")
    assert reading.examples["label"].tolist() == ["1.50", "-2"] * 3
    assert reading.labels == ()


def test_own_files_that_are_missing_are_all_named():
    task = own_task("mine", files={"train": "nowhere.tsv", "dev": "dev.csv", "test": "nor.jsonl"}, columns=SINGLE)
    with pytest.raises(TaskError) as caught:
        NOWHERE.read(task)
    assert str(caught.value) == (
        "Own task `mine`: files not found: train (nowhere.tsv), dev (dev.csv), test (nor.jsonl) (seen from "
        f"{Path.cwd()}). Change `own_tasks.mine.files` in params:finetune."
    )


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl"])
def test_missing_column_lists_those_found(tmp_path, suffix):
    content = {
        ".tsv": "text\tlabel\nA.\tyes\n",
        ".csv": "text,label\nA.,yes\n",
        ".jsonl": '{"text": "A.", "label": "yes"}\n',
    }[suffix]
    where = "Mend the file, or change `columns` of `own_tasks.mine` in params:finetune."
    assert _fault(tmp_path, content, suffix=suffix) == (
        f"{tmp_path / 'train'}{suffix}, line 1: no column `sentence`. Columns found: `text`, `label`. "
        + (HOW if suffix == ".jsonl" else where)
    )


@pytest.mark.parametrize("split", ["dev", "test"])
def test_label_not_in_train_names_line_value_and_choices(tmp_path, split):
    fault = _fault(tmp_path, **{split: "sentence\tlabel\nA.\tyes\nB.\tmaybe\n"})
    assert fault == (f"{tmp_path / split}.tsv, line 3, column `label`: 'maybe', expected one of 'no', 'yes'. {HOW}")


def test_label_that_the_task_does_not_allow_is_refused_in_train_too(tmp_path):
    fault = _fault(tmp_path, labels=["yes", "nope"])
    assert fault == f"{tmp_path / 'train.tsv'}, line 3, column `label`: 'no', expected one of 'yes', 'nope'. {HOW}"


def test_one_label_in_train_is_not_enough(tmp_path):
    path = tmp_path / "train.tsv"
    assert _fault(tmp_path, "sentence\tlabel\nA.\tyes\nB.\tyes\n") == (
        f"{path}: every example has the label 'yes', two are needed. Name another file, or the labels, in "
        "params:finetune."
    )


@pytest.mark.parametrize(
    ("suffix", "content", "expected"),
    [
        (".tsv", "sentence\tlabel\nA.\tyes\nB\textra\tno\n", "line 3: 3 fields, expected 2 (`sentence`, `label`)"),
        (".tsv", "sentence\tlabel\nA.\tyes\n\nB.\tno\n", "line 3: 1 fields, expected 2"),
        (".csv", 'sentence,label\n"A\nsecond line",yes\nB,no,more\n', "line 4: 3 fields, expected 2"),
        (".csv", 'sentence,label\n"A\nsecond line",yes\n"never closed,no\n', "line 4: the quoting of this row"),
        (".jsonl", '{"sentence": "A", "label": "yes"}\n{"sentence": "B"', "line 2: not JSON"),
        (".jsonl", '["A", "yes"]\n', "line 1: ['A', 'yes'] is not a JSON object"),
        (".jsonl", '{"sentence": 3, "label": "yes"}\n', "line 1, column `sentence`: 3, expected a text"),
        (".jsonl", '{"sentence": "A", "label": null}\n', "line 1, column `label`: None, expected a label"),
        (".jsonl", '{"sentence": "A", "label": []}\n', "line 1, column `label`: [], expected a label"),
        (".jsonl", '{"sentence": "\\ud800", "label": "x"}\n', "line 1, column `sentence`: '\\ud800', expected a"),
        (".tsv", "sentence\tlabel\nA.\tyes\n  \tno\n", "line 3, column `sentence`: '  ', expected a text"),
        (".tsv", "sentence\tlabel\nA.\t\n", "line 2, column `label`: '', expected a label that is not empty"),
        (".tsv", "", "line 1: empty, expected a header row"),
        (".tsv", "sentence\tlabel\n", ": no example in it. Name another under `files` in params:finetune."),
        (".csv", "sentence,label,label\nA,yes,no\n", "line 1: the header has 'label' more than once"),
        (".tsv", b"sentence\tlabel\nA.\tyes\nB\xff\tno\n", "line 3: not UTF-8, byte 0xff"),
    ],
)
def test_broken_row_is_named_by_file_and_line(tmp_path, suffix, content, expected):
    fault = _fault(tmp_path, content, suffix=suffix)
    assert fault.startswith(f"{tmp_path / 'train'}{suffix}")
    assert expected in fault


def test_broken_rows_may_be_left_out_and_are_counted(tmp_path):
    broken = b"sentence\tlabel\nA.\tyes\nB\nC\xff\tno\n\tno\nD\tno\n" + b"E\n" * 3
    reading = _read(tmp_path, broken, dev="sentence\tlabel\nA.\tyes\nB.\tmaybe\n", skip_bad_rows=True)
    train, dev = tmp_path / "train.tsv", tmp_path / "dev.tsv"
    assert _rows(reading.examples, "train") == [("A.", None, "yes"), ("D", None, "no")]
    assert reading.examples["index"].tolist() == ["0", "4", "0", "0", "1"]
    assert reading.num_rows == {"train": 2, "dev": 1, "test": 2}
    assert reading.num_skipped == {str(train): 6, str(dev): 1}
    assert reading.first_faults == [
        f"{train}, line 3: 1 fields, expected 2 (`sentence`, `label`). The row begins ['B']",
        f"{train}, line 4: not UTF-8, byte 0xff",
        f"{train}, line 5, column `sentence`: '', expected a text that is not empty",
        f"{train}, line 7: 1 fields, expected 2 (`sentence`, `label`). The row begins ['E']",
        f"{train}, line 8: 1 fields, expected 2 (`sentence`, `label`). The row begins ['E']",
    ]


def test_file_of_broken_rows_only_is_an_error_even_then(tmp_path):
    fault = _fault(tmp_path, "sentence\tlabel\nA.\nB.\n", skip_bad_rows=True)
    assert fault == (
        f"{tmp_path / 'train.tsv'}: no example in it (2 rows were left out). Name another under `files` in "
        "params:finetune."
    )


def test_official_files_that_are_missing_are_named_with_how_to_get_them(tmp_path):
    (tmp_path / "glue" / "MRPC").mkdir(parents=True)
    (tmp_path / "glue" / "MRPC" / "msr_paraphrase_train.txt").write_text("")
    with pytest.raises(TaskError) as caught:
        TaskFilesDataset(folder=str(tmp_path)).load().read(TASKS["mrpc"])
    places = ", ".join(str(tmp_path / outer / "MRPC") for outer in ("glue", "GLUE", "glue_data", ""))
    assert str(caught.value) == (
        "Task `mrpc` (GLUE MRPC): files not found: train (train.tsv or msr_paraphrase_train.txt with dev_ids.tsv), dev "
        f"(dev.tsv or msr_paraphrase_train.txt with dev_ids.tsv). Looked in {places}. To get them, unpack the "
        "benchmark's archive there, change `folder` of `task_files` in the catalog, set `read_from: hub` in "
        "params:finetune (there it is nyu-mll/glue, mrpc), or name others under `files.mrpc` there."
    )


def test_built_in_task_has_no_files():
    with pytest.raises(TaskError) as caught:
        NOWHERE.read(TASKS["order"])
    assert str(caught.value) == (
        "Task `order` is made from the corpus, not read from files. Change `tasks` in params:finetune."
    )


def test_saving_is_refused(tmp_path):
    with pytest.raises(DatasetError) as caught:
        TaskFilesDataset(folder="tasks").save("anything")
    assert str(caught.value.__cause__) == (
        "TaskFilesDataset only reads; put the files of tasks into tasks, or change `folder` of `task_files` in the "
        "catalog."
    )


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
    try:
        table = _read(folder, content, content, content, suffix=suffix, labels=["yes", "no"]).examples
    except TaskError as caught:
        refusal = str(caught)
    else:
        assert [(row[0], row[2]) for row in _rows(table, "train")] == rows
        return True
    assert f"train{suffix}, line " in refusal
    return False


@settings(deadline=None, max_examples=150)
@given(rows=TEXTS)
@pytest.mark.slow
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

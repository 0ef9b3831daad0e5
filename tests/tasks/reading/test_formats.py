from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bort_kedro.errors import TaskError
from bort_kedro.tasks.reading.formats import read_rows

MEND = "Mend the file, or name another under `files` of this task in params:finetune."


def _written(folder, content, name="file.tsv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _rows(path, header=()):
    return [(row.line, row.fault or row.fields) for row in read_rows(path, header)]


def _file_fault(path):
    with pytest.raises(TaskError) as caught:
        list(read_rows(path))
    return str(caught.value)


def test_tsv_has_no_quoting(tmp_path):
    path = _written(tmp_path, 'a\tb\n"x\ty\n\'\t"z"\n')
    assert _rows(path) == [(2, {"a": '"x', "b": "y"}), (3, {"a": "'", "b": '"z"'})]


@pytest.mark.parametrize(("name", "tab"), [("a.tsv", "\t"), ("a.txt", "\t"), ("a.csv", ",")])
def test_byte_order_mark_windows_line_ends_and_empty_lines_at_the_end_are_read_away(tmp_path, name, tab):
    path = _written(tmp_path, f"\ufeffa{tab}b\r\n1{tab}\r\n\r\n\n", name)
    assert _rows(path) == [(2, {"a": "1", "b": ""})]


def test_only_line_feeds_end_a_row(tmp_path):
    path = _written(tmp_path, "a\tb\n1\u2028\x0b\x1c\t2\r3\n")
    assert _rows(path) == [(2, {"a": "1\u2028\x0b\x1c", "b": "2\r3"})]


def test_rows_of_another_length_are_faults_and_the_others_are_read(tmp_path):
    path = _written(tmp_path, "a\tb\n1\n1\t2\t3\n\n4\t5\n")
    rows = list(read_rows(path))
    assert [row.fault for row in rows] == [
        "1 fields, expected 2 (`a`, `b`). The row begins ['1']",
        "3 fields, expected 2 (`a`, `b`). The row begins ['1', '2', '3']",
        "1 fields, expected 2 (`a`, `b`). The row begins ['']",
        "",
    ]
    assert [row.is_short for row in rows] == [True, False, True, False]
    assert (rows[3].line, rows[3].fields) == (5, {"a": "4", "b": "5"})


def test_file_without_a_header_row_is_read_by_fixed_columns(tmp_path):
    path = _written(tmp_path, "gj04\t1\t\tA.\ngj04\t0\tB.\n")
    header = ("source", "label", "mark", "sentence")
    assert _rows(path, header) == [
        (1, {"source": "gj04", "label": "1", "mark": "", "sentence": "A."}),
        (2, "3 fields, expected 4 (`source`, `label`, `mark`, `sentence`). The row begins ['gj04', '0', 'B.']"),
    ]


def test_row_that_is_not_utf8_is_a_fault_of_its_own(tmp_path):
    path = _written(tmp_path, b"a\tb\n1\t\xff\n3\t4\n")
    assert _rows(path) == [(2, "not UTF-8, byte 0xff"), (3, {"a": "3", "b": "4"})]
    path = _written(tmp_path, b'{"a": "\xe9"}\n{"a": "b"}\n', "a.jsonl")
    assert _rows(path) == [(1, "not UTF-8, byte 0xe9"), (2, {"a": "b"})]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "line 1: empty, expected a header row with column names. "),
        ("\n\n", "line 1: empty, expected a header row with column names. "),
        ("a\tb\ta\n", "line 1: the header has 'a' more than once. "),
        (b"a\t\xff\n", "line 1: not UTF-8, byte 0xff. "),
    ],
)
def test_header_that_names_no_columns_is_an_error_of_the_file(tmp_path, content, expected):
    path = _written(tmp_path, content)
    assert _file_fault(path) == f"{path}, {expected}{MEND}"


def test_csv_row_may_span_lines_and_is_named_by_its_first(tmp_path):
    path = _written(tmp_path, 'a,b\n"1\nand ""more""",2\n3\n', "a.csv")
    assert _rows(path) == [
        (2, {"a": '1\nand "more"', "b": "2"}),
        (4, "1 fields, expected 2 (`a`, `b`). The row begins ['3']"),
    ]


@pytest.mark.parametrize(
    ("content", "line", "why"),
    [
        ('a,b\n"1" x,2\n', 2, "',' expected after '\"'"),
        ('a,b\n1,2\n"never closed,2\n', 3, "unexpected end of data"),
    ],
)
def test_broken_quoting_is_an_error_of_the_file_since_rows_run_together(tmp_path, content, line, why):
    path = _written(tmp_path, content, "a.csv")
    assert _file_fault(path) == (
        f"{path}, line {line}: the quoting of this row is broken ({why}). Write a quotation mark inside a quoted field "
        f'twice (""), or give a .tsv file, which has no quoting. {MEND}'
    )


def test_csv_fields_longer_than_the_library_allows_by_default_are_read(tmp_path):
    passage = "word " * 40_000
    assert _rows(_written(tmp_path, f"a,b\n{passage},1\n", "a.csv")) == [(2, {"a": passage, "b": "1"})]


def test_json_lines_that_are_no_objects_are_faults(tmp_path):
    lines = ['{"a": 1}', "", '{"a": ', "[1]", '{"a": 1, "b": {"c": 1, "c": 2}}', "[" * 100_000]
    rows = _rows(_written(tmp_path, "\n".join(lines), "a.jsonl"))
    assert rows[0] == (1, {"a": 1})
    assert rows[1] == (3, "not JSON (Expecting value: line 1 column 7 (char 6))")
    assert rows[2] == (4, "[1] is not a JSON object; expected one such as {...}")
    assert rows[3] == (5, "not JSON (the field 'c' more than once)")
    assert rows[4][1].startswith("not JSON (")


def test_folder_of_json_texts_is_read_in_the_order_of_numbers(tmp_path):
    for name in ("10", "9"):
        _written(tmp_path, f'\ufeff{{"id": "{name}"}}\n', f"{name}.txt")
    _written(tmp_path, "{", "11.txt")
    rows = list(read_rows(tmp_path))
    assert [row.path.name for row in rows] == ["9.txt", "10.txt", "11.txt"]
    assert [row.fields for row in rows[:2]] == [{"id": "9"}, {"id": "10"}]
    assert rows[2].fault.startswith("not JSON (")


def test_file_that_git_lfs_did_not_fetch_is_called_a_pointer(tmp_path):
    path = _written(tmp_path, "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 44\n")
    assert _file_fault(path) == (
        f"{path} is a pointer of Git LFS, not the file itself (`git lfs pull` fetches it). {MEND}"
    )


def test_other_suffixes_are_refused(tmp_path):
    path = _written(tmp_path, "", "a.xlsx")
    assert _file_fault(path) == f"{path}: the suffix is `.xlsx`, allowed: .tsv, .txt, .csv, .jsonl, .conll. {MEND}"


FIELD = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.text(
    "\"'\t\r\n,\\ \u2028\x0b\ufeff", max_size=4
)


@settings(deadline=None, max_examples=300)
@given(rows=st.lists(st.lists(FIELD, min_size=1, max_size=5), min_size=1, max_size=5))
@pytest.mark.slow
def test_every_line_of_a_tsv_is_read_as_it_is_or_is_a_fault_at_its_line(tmp_path_factory, rows):
    """Fields may hold tabs and line feeds, so the oracle counts fields of lines, as the format does."""
    content = "a\tb\tc\n" + "".join("\t".join(row) + "\n" for row in rows)
    path = _written(tmp_path_factory.mktemp("tsv"), content)
    lines = content.rstrip("\r\n").split("\n")[1:]
    read = _rows(path)
    assert [line for line, _ in read] == list(range(2, 2 + len(lines)))
    for (_, found), line in zip(read, lines, strict=True):
        fields = line.removesuffix("\r").split("\t")
        if len(fields) == 3:
            assert found == dict(zip("abc", fields, strict=True))
        else:
            assert found.startswith(f"{len(fields)} fields, expected 3 (`a`, `b`, `c`). The row begins ")


@settings(deadline=None, max_examples=200)
@given(objects=st.lists(st.dictionaries(FIELD, FIELD | st.none() | st.integers(), max_size=3), max_size=4))
@pytest.mark.slow
def test_every_json_object_is_read_as_it_is(tmp_path_factory, objects):
    content = "".join(json.dumps(fields, ensure_ascii=False) + "\n" for fields in objects)
    path = _written(tmp_path_factory.mktemp("jsonl"), content, "a.jsonl")
    assert _rows(path) == list(enumerate(objects, 1))


@settings(deadline=None, max_examples=300)
@given(content=st.binary(max_size=60), name=st.sampled_from(["a.tsv", "a.csv", "a.jsonl"]))
def test_any_bytes_give_rows_or_an_error_that_names_the_file(tmp_path_factory, content, name):
    path = _written(tmp_path_factory.mktemp("bytes"), content, name)
    try:
        rows, refusal = list(read_rows(path)), ""
    except TaskError as fault:
        rows, refusal = [], str(fault)
    assert not refusal or refusal.startswith((f"{path}, line ", f"{path} is a pointer of Git LFS"))
    assert not any(row.fault and row.fields for row in rows)

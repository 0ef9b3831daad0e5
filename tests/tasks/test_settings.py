"""How a task of the user's own is stated in YAML."""

import pytest
import yaml
from pydantic import ValidationError

from bort_kedro.tasks.description import SourceFile
from bort_kedro.tasks.settings import OwnTaskSettings

OWN = {"files": {"train": "a.csv", "dev": "b.csv"}, "columns": {"text": "sentence", "label": "label"}}
IN_QUOTES = "expected a text; put it in quotes, without which YAML reads no, yes, 1.0, ~ and dates as something else"


def stated(text):
    return OwnTaskSettings.model_validate(OWN | yaml.safe_load(text))


def test_labels_are_as_written_without_white_space_around():
    assert stated("labels: [0, 1, pos, 'neg ', '01', 'no']").labels == ("0", "1", "pos", "neg", "01", "no")
    assert stated("columns: {text: 0, label: '1'}").columns == {"text": "0", "label": "1"}
    assert stated("columns: {text: story, options: [0, b], label: c}").columns["options"] == ("0", "b")


@pytest.mark.parametrize("label", ["no", "Yes", "off", "true", "1.0", "~", "2020-01-01", "[a]"])
def test_a_label_that_yaml_makes_something_else_of_is_to_be_put_in_quotes(label):
    with pytest.raises(ValidationError) as caught:
        stated(f"labels: [a, {label}]")
    assert [(fault["loc"], fault["msg"]) for fault in caught.value.errors()] == [
        (("labels", 1), f"Value error, {IN_QUOTES}")
    ]


@pytest.mark.parametrize("columns", ["{text: no, label: b}", "{text: a, label: b, options: [x, no]}"])
def test_a_column_likewise(columns):
    with pytest.raises(ValidationError) as caught:
        stated(f"columns: {columns}")
    assert [fault["msg"] for fault in caught.value.errors()] == [f"Value error, {IN_QUOTES}"]


def test_a_file_is_a_path_or_a_map_that_names_its_columns():
    files = stated("files: {train: a.csv, dev: {path: b.csv, format: tsv, header: [0, text], trailing: [by]}}").files
    assert files == {"train": SourceFile("a.csv"), "dev": SourceFile("b.csv", ("0", "text"), ("by",), "tsv")}
    assert [file.suffix for file in files.values()] == [".csv", ".tsv"]


@pytest.mark.parametrize(
    ("file", "fault"),
    [
        ("no", "expected a path, or a map of path, header, trailing and format"),
        ("{path: a.csv, header: [year, no]}", IN_QUOTES),
        ("{path: a.csv, trailing: [by]}", "trailing names columns behind those of header, and there is no header"),
        ("{path: a.jsonl, header: [a]}", "header is for tables; a row of .jsonl names its fields itself"),
        ("{path: a.csv, header: [a], trailing: [a]}", "header and trailing name a column more than once (a, a)"),
    ],
)
def test_a_file_that_cannot_be_read_so_is_refused(file, fault):
    with pytest.raises(ValidationError) as caught:
        stated(f"files: {{train: {file}, dev: b.csv}}")
    assert [each["msg"] for each in caught.value.errors()] == [f"Value error, {fault}"]

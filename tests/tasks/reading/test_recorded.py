"""Recorded labels and beliefs: how rows become what a teacher says, and what is refused."""

from __future__ import annotations

import json

import pytest

from bort_kedro.errors import TaskError
from bort_kedro.tasks.description import Form
from bort_kedro.tasks.own import own_task
from bort_kedro.tasks.reading.recorded import read_recorded_labels
from bort_kedro.tasks.settings import RecordedLabelsSettings
from bort_kedro.tasks.table import TASKS

FILES = {"train": "train.csv", "dev": "dev.csv"}
REVIEWS = own_task("reviews", files=FILES, columns={"text": "sentence", "label": "label"}, labels=("no", "yes"))
PAIRS = own_task("pairs", files=FILES, columns={"text": "first", "text_pair": "second", "label": "label"})
RATED = own_task("rated", files=FILES, columns={"text": "text", "label": "stars"}, form=Form.REGRESSION)
CHOICE = own_task(
    "choice",
    files=FILES,
    columns={"text": "story", "options": ("one", "two", "three"), "label": "label"},
    form=Form.MULTIPLE_CHOICE,
)
MEND = "Mend the row, set `skip_bad_rows` to leave such rows out, or name another file; all in params:finetune."


@pytest.fixture
def reading(tmp_path):
    """Reads rows, or lines, that are written before."""

    def read(rows, task=REVIEWS, labels=("no", "yes"), *, skip_bad_rows=False, name="labelled.jsonl", **columns):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")
        settings = RecordedLabelsSettings(file=str(tmp_path / name), columns=columns)
        return read_recorded_labels(task, labels, settings, skip_bad_rows=skip_bad_rows)

    return read


def said(read):
    """Texts and outputs of each row."""
    outputs = [name for name in read.table if name == "output" or name.startswith("probability_")]
    return [((row["text"], row["text_pair"]), [row[name] for name in outputs]) for row in read.table.to_dict("records")]


def test_labels_and_beliefs_become_probabilities_in_the_order_of_the_labels(reading):
    read = reading(
        [
            {"sentence": "good", "label": "yes"},
            {"sentence": "bad", "label": {"yes": 0.25, "no": 0.75}},
            {"sentence": "fair", "label": [0.5, 0.5]},
            {"sentence": "poor", "label": {"no": 1}},
            # Rounded to three digits by whoever wrote it.
            {"sentence": "odd", "label": [0.333, 0.666]},
        ]
    )
    assert list(read.table) == ["group", "text", "text_pair", "option", "probability_no", "probability_yes"]
    assert said(read) == [
        (("good", None), [0.0, 1.0]),
        (("bad", None), [0.75, 0.25]),
        (("fair", None), [0.5, 0.5]),
        (("poor", None), [1.0, 0.0]),
        (("odd", None), pytest.approx([0.333 / 0.999, 0.666 / 0.999])),
    ]


def test_columns_are_those_of_the_tasks_own_files_unless_named(reading):
    assert said(reading([{"review": "good", "answer": "no"}], text="review", label="answer")) == [
        (("good", None), [1.0, 0.0])
    ]
    cola = reading([{"sentence": "It is.", "label": "acceptable"}], TASKS["cola"], TASKS["cola"].labels)
    assert said(cola) == [(("It is.", None), [0.0, 1.0])]
    beliefs = reading(
        [{"sentence": "It is.", "label": {"acceptable": 0.75, "0": 0.25}}], TASKS["cola"], TASKS["cola"].labels
    )
    assert said(beliefs) == [(("It is.", None), [0.25, 0.75])]
    built_in = reading([{"text": "a b c", "label": "shuffled"}], TASKS["order"], ("intact", "shuffled"))
    assert said(built_in) == [(("a b c", None), [0.0, 1.0])]
    assert said(reading([{"first": "a", "second": "b", "label": 1}], PAIRS, ("0", "1"))) == [(("a", "b"), [0.0, 1.0])]


def test_a_table_gives_labels(reading):
    read = reading(["sentence,label", '"good, it is",yes'], name="labelled.csv")
    assert said(read) == [(("good, it is", None), [0.0, 1.0])]


def test_a_number_and_the_shares_of_options_are_read(reading):
    assert said(reading([{"text": "good", "stars": 4.5}], RATED, ())) == [(("good", None), [4.5])]
    question = {"story": "s", "one": "a", "two": "b", "three": "c"}
    by_name = reading([question | {"label": "two"}], CHOICE, CHOICE.labels)
    assert said(by_name) == [(("s", "a"), [0.0]), (("s", "b"), [1.0]), (("s", "c"), [0.0])]
    assert by_name.table["group"].nunique() == 1
    shares = reading([question | {"label": [0.25, 0.5, 0.25]}], CHOICE, CHOICE.labels)
    assert said(shares) == [(("s", "a"), [0.25]), (("s", "b"), [0.5]), (("s", "c"), [0.25])]


def test_questions_of_one_record_are_apart(reading):
    article = {
        "id": "x",
        "article": "It rained.",
        "questions": ["It was _.", "What fell?"],
        "options": [["dry", "wet"], ["rain", "snow", "hail"]],
        "answers": ["B", "A"],
    }
    task = TASKS["race_high"]
    read = reading([article], task, task.labels)
    assert read.table["output"].tolist() == [0.0, 1.0, 1.0, 0.0, 0.0]
    assert read.table.groupby("group", sort=False).size().tolist() == [2, 3]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"sentence": "x", "label": "maybe"}, "column `label`: 'maybe', expected one of 'no', 'yes'"),
        ({"sentence": "x", "label": {"maybe": 1.0}}, "column `label`: 'maybe', expected one of 'no', 'yes'"),
        (
            {"sentence": "x", "label": [1.25, -0.25]},
            "column `label`: [1.25, -0.25], expected probabilities, none below 0, that sum to 1",
        ),
        (
            {"sentence": "x", "label": {"no": 0.5, "yes": 0.502}},
            "column `label`: {'no': 0.5, 'yes': 0.502}, expected probabilities, none below 0, that sum to 1",
        ),
        (
            {"sentence": "x", "label": [True, False]},
            "column `label`: [True, False], expected probabilities, none below 0, that sum to 1",
        ),
        (
            {"sentence": "x", "label": [10**400, 0.5]},
            f"column `label`: [1{'0' * 78}, expected probabilities, none below 0, that sum to 1",
        ),
        ({"sentence": "x", "label": [1.0]}, "column `label`: [1.0], expected 2 probabilities"),
        ({"sentence": " ", "label": "no"}, "column `sentence`: ' ', expected a text that is not empty"),
        ({"sentence": "x", "label": ""}, "column `label`: '', expected a label that is not empty"),
    ],
)
def test_a_row_that_says_nothing_is_refused_with_its_line_or_left_out(reading, tmp_path, row, fault):
    rows = [{"sentence": "good", "label": "yes"}, row]
    with pytest.raises(TaskError) as caught:
        reading(rows)
    assert str(caught.value) == f"{tmp_path / 'labelled.jsonl'}, line 2, {fault}. {MEND}"
    read = reading(rows, skip_bad_rows=True)
    assert (len(read.table), read.num_skipped) == (1, 1)
    assert read.first_faults == [f"{tmp_path / 'labelled.jsonl'}, line 2, {fault}"]


def test_beliefs_of_a_number_are_refused(reading):
    with pytest.raises(TaskError, match=r"line 1, column `stars`: \[0.5, 0.5\], expected a number\. Mend"):
        reading([{"text": "good", "stars": [0.5, 0.5]}], RATED, ())


def test_two_labels_of_one_text_are_refused_and_one_said_twice_counts_once(reading, tmp_path):
    rows = [{"sentence": "good", "label": "yes"}, {"sentence": "good", "label": [0, 1]}]
    assert len(reading(rows).table) == 1
    path = tmp_path / "labelled.jsonl"
    with pytest.raises(TaskError) as caught:
        reading([*rows, {"sentence": "good", "label": "no"}])
    assert str(caught.value) == f"{path}, line 3: another label than in {path}, line 1, of the same text. {MEND}"


def test_files_that_are_not_there_empty_or_of_other_columns_name_the_parameter(reading, tmp_path):
    settings = RecordedLabelsSettings(file=str(tmp_path / "none.jsonl"))
    with pytest.raises(TaskError) as caught:
        read_recorded_labels(REVIEWS, ("no", "yes"), settings, skip_bad_rows=False)
    assert str(caught.value).startswith(f"Task `reviews`: the file of recorded labels {tmp_path / 'none.jsonl'} is not")
    assert str(caught.value).endswith("Change params:finetune.teacher.recorded.reviews.file.")
    with pytest.raises(TaskError, match=r"no row in it that can be used\. Change params:finetune\.teacher\.recorded\."):
        reading([])
    with pytest.raises(TaskError) as caught:
        reading(["text,label", "good,yes"], name="labelled.csv")
    assert str(caught.value) == (
        f"{tmp_path / 'labelled.csv'}, line 1: no column `sentence`. Columns found: `text`, `label`. Mend the file, or "
        "change params:finetune.teacher.recorded.reviews.columns."
    )

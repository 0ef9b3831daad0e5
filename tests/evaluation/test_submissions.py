"""Submissions: what is written, and that every kind of fault is found."""

import json

import pandas as pd
import pytest

from bort_kedro.errors import TaskError
from bort_kedro.evaluation.submission_checks import validate_submission
from bort_kedro.evaluation.submissions import (
    BENCHMARKS,
    NUM_EXAMPLES,
    answers_in,
    constant_answers,
    file_text,
    official_test_rows,
    submission_files,
)
from bort_kedro.tasks.table import RIGHT, TASKS, WRONG

# As many answers as MultiRC's official test has, in passages of nine questions of ten.
MULTIRC = pd.DataFrame({"index": [f"{n // 90}/{n // 10}/{n % 10}" for n in range(9693)], "option": None})
RECORD = pd.DataFrame({"index": [str(n // 2) for n in range(20000)], "option": ["Bush", "Obama"] * 10000})
OFFICIAL = {"MultiRC.jsonl": MULTIRC, "ReCoRD.jsonl": RECORD}


def predicted(predictions, indices=None, options=None):
    indices = [str(number) for number in range(len(predictions))] if indices is None else list(indices)
    return pd.DataFrame({"index": indices, "option": options, "prediction": predictions}, dtype=object)


def written(benchmark, name, table):
    file = submission_files(benchmark)[name]
    return file_text(file, answers_in(file.task, table))


def archive_of(benchmark):
    """A whole archive of constant answers."""
    files = submission_files(benchmark)
    return {
        name: file_text(file, constant_answers(file, OFFICIAL.get(name) if file.needs_official_test else None))
        for name, file in files.items()
    }


@pytest.fixture(scope="module")
def archives():
    """Sound ones; QQP is cut short, whose 390,965 rows would take seconds each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NUM_EXAMPLES["GLUE"], "QQP.tsv", 40)
        yield {benchmark: archive_of(benchmark) for benchmark in BENCHMARKS}


def test_every_task_of_a_leaderboard_has_a_file_with_a_known_number_of_examples():
    for benchmark, counts in NUM_EXAMPLES.items():
        assert set(submission_files(benchmark)) == set(counts)
    assert {file.part for file in submission_files("GLUE").values()} == {"", "matched", "mismatched"}


def test_glue_files_have_a_header_and_rising_numbers():
    table = predicted(["0", "1", "1"], ["2", "10", "0"])
    assert written("GLUE", "CoLA.tsv", table) == "index\tprediction\n0\t1\n2\t0\n10\t1\n"
    table = predicted(["entailment", "not_entailment"])
    assert written("GLUE", "QNLI.tsv", table) == "index\tprediction\n0\tentailment\n1\tnot_entailment\n"


def test_similarities_are_clipped_to_their_scale():
    text = written("GLUE", "STS-B.tsv", predicted(["-0.2", "5.4", "3.14159", "1e-05"]))
    assert text == "index\tprediction\n0\t0.000\n1\t5.000\n2\t3.142\n3\t0.000\n"


@pytest.mark.parametrize(
    ("name", "prediction", "label"),
    [
        ("BoolQ.jsonl", "true", '"true"'),
        ("WiC.jsonl", "false", '"false"'),
        ("WSC.jsonl", "true", '"True"'),
        ("CB.jsonl", "contradiction", '"contradiction"'),
        ("RTE.jsonl", "not_entailment", '"not_entailment"'),
        ("AX-b.jsonl", "entailment", '"entailment"'),
        ("AX-g.jsonl", "not_entailment", '"not_entailment"'),
    ],
)
def test_superglue_files_have_an_object_a_line_with_its_own_spelling(name, prediction, label):
    assert written("SuperGLUE", name, predicted([prediction], ["7"])) == f'{{"idx": 7, "label": {label}}}\n'


def test_copa_gives_the_number_and_record_the_text_of_the_chosen_option():
    chosen = [RIGHT, WRONG, WRONG, RIGHT]
    table = predicted(chosen, ["1", "1", "0", "0"], ["w", "x", "y", "z"])
    assert written("SuperGLUE", "COPA.jsonl", table) == '{"idx": 0, "label": 1}\n{"idx": 1, "label": 0}\n'
    assert written("SuperGLUE", "ReCoRD.jsonl", table) == '{"idx": 0, "label": "z"}\n{"idx": 1, "label": "w"}\n'


def test_multirc_is_nested_by_passage_and_question():
    table = predicted(["true", "false", "true"], ["0/1/0", "0/0/10", "0/0/2"])
    assert json.loads(written("SuperGLUE", "MultiRC.jsonl", table)) == {
        "idx": 0,
        "passage": {
            "questions": [
                {"idx": 0, "answers": [{"idx": 2, "label": 1}, {"idx": 10, "label": 0}]},
                {"idx": 1, "answers": [{"idx": 0, "label": 1}]},
            ]
        },
    }


def test_an_index_that_is_no_number_is_refused():
    with pytest.raises(TaskError) as caught:
        answers_in(TASKS["cola"], predicted(["0"], ["gj04"]))
    assert str(caught.value) == (
        "Task `cola`: an example of its official test has the index 'gj04', expected whole numbers from 0 as the "
        "official file has. Read the official file instead (`files` in params:finetune)."
    )


def test_rows_of_the_official_test_are_those_without_labels_or_all_where_it_has_them():
    table = pd.DataFrame({"split": ["dev", "test", "submission", "submission"], "part": ["", "", "", "matched"]})
    assert official_test_rows(table, "the other half of the official dev", "")["split"].tolist() == ["submission"]
    assert official_test_rows(table, "official test", "")["split"].tolist() == ["test", "submission"]
    assert official_test_rows(table, None, "matched")["part"].tolist() == ["matched"]


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_an_archive_of_constant_answers_is_sound(archives, benchmark):
    assert validate_submission(benchmark, archives[benchmark]) == []


def test_constant_answers_are_the_first_label_or_option_or_the_middle_of_the_scale(archives):
    glue, superglue = archives["GLUE"], archives["SuperGLUE"]
    assert glue["MNLI-mm.tsv"].startswith("index\tprediction\n0\tentailment\n1\tentailment\n")
    assert glue["STS-B.tsv"].endswith("1378\t2.500\n")
    assert superglue["COPA.jsonl"].startswith('{"idx": 0, "label": 0}\n')
    assert superglue["ReCoRD.jsonl"].endswith('{"idx": 9999, "label": "Bush"}\n')
    assert superglue["MultiRC.jsonl"].count('"label": 0') == 9693


def changed_lines(change):
    """A fault that changes a file line by line."""
    return lambda text: "".join(f"{line}\n" for line in change(text.splitlines()))


FAULTS = [
    ("GLUE", "CoLA.tsv", lambda text: text.replace("index\tprediction", "id\tlabel"), [
        "CoLA.tsv: the first line is 'id\\tlabel', expected 'index\\tprediction'."
    ]),
    ("GLUE", "CoLA.tsv", lambda text: text.replace("\n1\t0\n", "\n1\tacceptable\n"), [
        "CoLA.tsv: the index 1 has the label 'acceptable', expected one of '0', '1'."
    ]),
    ("GLUE", "WNLI.tsv", changed_lines(lambda lines: lines[:-1]), ["WNLI.tsv: 145 examples, expected 146."]),
    ("GLUE", "WNLI.tsv", changed_lines(lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]), [
        "WNLI.tsv: the index 0 comes after 1, expected rising ones."
    ]),
    ("GLUE", "WNLI.tsv", lambda text: text.replace("\n1\t", "\n0\t"), [
        "WNLI.tsv: the index 0 stands in it more than once."
    ]),
    ("GLUE", "WNLI.tsv", lambda text: text.replace("\n145\t", "\n146\t"), [
        "WNLI.tsv: the index 145 is missing, expected 0 to 145."
    ]),
    ("GLUE", "WNLI.tsv", lambda text: text.replace("\n1\t", "\none\t"), [
        "WNLI.tsv: line 3: 'one\\t0', expected a whole number and a label, parted by a tab."
    ]),
    ("GLUE", "STS-B.tsv", lambda text: text.replace("\n3\t2.500\n", "\n3\t5.1\n"), [
        "STS-B.tsv: the index 3 has the label '5.1', expected a number from 0 to 5."
    ]),
    ("GLUE", "STS-B.tsv", lambda text: text.replace("\n3\t2.500\n", "\n3\tnan\n"), [
        "STS-B.tsv: the index 3 has the label 'nan', expected a number from 0 to 5."
    ]),
    ("SuperGLUE", "CB.jsonl", lambda text: text.replace('"entailment"', '"Entailment"', 1), [
        "CB.jsonl: the index 0 has the label 'Entailment', expected one of 'entailment', 'contradiction', 'neutral'."
    ]),
    ("SuperGLUE", "COPA.jsonl", lambda text: text.replace('"label": 0', '"label": false', 1), [
        "COPA.jsonl: the index 0 has the label False, expected one of 0, 1."
    ]),
    ("SuperGLUE", "BoolQ.jsonl", lambda text: text.replace('"false"', "true", 1), [
        "BoolQ.jsonl: the index 0 has the label True, expected one of 'false', 'true'."
    ]),
    ("SuperGLUE", "ReCoRD.jsonl", lambda text: text.replace('"Bush"', '" "', 1), [
        "ReCoRD.jsonl: the index 0 has the label ' ', expected a text that is not empty."
    ]),
    ("SuperGLUE", "WSC.jsonl", lambda text: text.replace('"idx"', '"index"', 1), [
        'WSC.jsonl: line 1: {"index": 0, "label": "False"}, expected an object with idx and label alone.'
    ]),
    ("SuperGLUE", "WSC.jsonl", lambda text: text.replace('"idx": 0', '"idx": "0"', 1), [
        'WSC.jsonl: line 1: `idx` is "0", expected a whole number.'
    ]),
    ("SuperGLUE", "WSC.jsonl", lambda text: text[1:], [
        "WSC.jsonl: line 1: '\"idx\": 0, \"label\": \"False\"}' is not JSON."
    ]),
    ("SuperGLUE", "MultiRC.jsonl", lambda text: text.replace('"label": 0', '"label": "false"', 1), [
        "MultiRC.jsonl: the index 0/0/0 has the label 'false', expected one of 0, 1."
    ]),
    ("SuperGLUE", "MultiRC.jsonl", lambda text: text.replace('{"idx": 1, "label": 0}', '{"idx": 0, "label": 0}', 1), [
        "MultiRC.jsonl: the index 0/0/0 stands in it more than once."
    ]),
    ("SuperGLUE", "MultiRC.jsonl", lambda text: text.replace('"questions"', '"asked"', 1), [
        'MultiRC.jsonl: line 1: {"asked": [{"idx": 0, "answers": [{"idx": 0, "label": 0}, {"idx": 1, "label": 0}, '
        "expected an object with questions alone."
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("benchmark", "name", "change", "faults"), FAULTS)
def test_each_kind_of_fault_is_found(archives, benchmark, name, change, faults):
    found = validate_submission(benchmark, archives[benchmark] | {name: change(archives[benchmark][name])})
    assert found == faults


def test_a_wrong_name_and_a_missing_file_are_found(archives):
    files = dict(archives["GLUE"])
    files["MNLI-matched.tsv"] = files.pop("MNLI-m.tsv")
    assert validate_submission("GLUE", files) == [
        "MNLI-matched.tsv: GLUE knows no file of this name; allowed: CoLA.tsv, SST-2.tsv, MRPC.tsv, STS-B.tsv, "
        "QQP.tsv, MNLI-m.tsv, MNLI-mm.tsv, QNLI.tsv, RTE.tsv, WNLI.tsv, AX.tsv.",
        "MNLI-m.tsv: the file is missing.",
    ]

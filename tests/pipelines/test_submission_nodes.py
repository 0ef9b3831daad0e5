"""Leaderboards and submissions as nodes make them."""

import pandas as pd
import pytest

from bort_kedro.errors import TaskError
from bort_kedro.evaluation.submissions import NUM_EXAMPLES, SubmissionReport
from bort_kedro.evaluation.task_metrics import TaskMetrics
from bort_kedro.pipelines.evaluate import create_pipeline
from bort_kedro.pipelines.evaluate.submission_nodes import NO_ROWS, average_tasks, write_submissions
from bort_kedro.tasks.reading.folder import TaskFolder
from bort_kedro.tasks.table import TASKS
from project_parameters import parameters
from task_records import examples, score

FINETUNE = parameters("smoke").finetune
EXAMPLES = examples(test="the other half of the official dev").to_json()


def predicted(task, count, split="submission", part=""):
    """As many answers, all of them the last label, beside one row of dev."""
    label = TASKS[task].labels[-1]
    rows = [("dev", part, "0", None, TASKS[task].labels[0])]
    rows += [(split, part, str(number), None, label) for number in range(count)]
    return pd.DataFrame(rows, columns=["split", "part", "index", "option", "prediction"], dtype=object)


def submitted(folder, tables, reports=None):
    inputs = {f"{task}.predictions": table for task, table in tables.items()}
    inputs |= {f"{task}.examples_report": (reports or {}).get(task, EXAMPLES) for task in tables}
    return write_submissions(TaskFolder(folder), FINETUNE, **inputs)


def official_superglue(folder):
    """Official test files of the tasks that cannot be filled without, as long as they are."""
    answers = '{"text": "a", "idx": %d}'
    question = '{"question": "q?", "idx": %d, "answers": [%s]}'
    rows = []
    for passage in range(NUM_EXAMPLES["SuperGLUE"]["MultiRC.jsonl"] // 9):
        questions = ", ".join(question % (number, ", ".join(answers % a for a in range(3))) for number in range(3))
        rows.append(f'{{"idx": {passage}, "passage": {{"text": "t", "questions": [{questions}]}}}}\n')
    (folder / "MultiRC").mkdir()
    (folder / "MultiRC" / "test.jsonl").write_text("".join(rows))
    (folder / "ReCoRD").mkdir()
    record = (
        '{"passage": {"text": "Obama spoke.", "entities": [{"start": 0, "end": 4}]}, '
        '"qas": [{"query": "@placeholder said.", "idx": %d}]}\n'
    )
    (folder / "ReCoRD" / "test.jsonl").write_text("".join(record % number for number in range(10000)))


def test_an_archive_holds_the_answers_of_this_run_and_is_filled_where_there_are_none(tmp_path, caplog):
    labelled = {"ax": examples(test="official test").to_json()}
    tables = {"cola": predicted("cola", 1063), "ax": predicted("ax", 1104, split="test")}
    archives, report = submitted(tmp_path, tables, labelled)
    assert set(archives) == {"GLUE"}
    files = archives["GLUE"]
    assert files["CoLA.tsv"].startswith("index\tprediction\n0\t1\n1\t1\n")
    assert files["AX.tsv"].endswith("1103\tcontradiction\n")
    assert files["RTE.tsv"].startswith("index\tprediction\n0\tentailment\n")
    told = report["GLUE"]
    assert (told["is_written"], told["why"], told["faults"], told["left_out"]) == (True, "", [], {})
    assert set(told["filled"]) == set(NUM_EXAMPLES["GLUE"]) - {"CoLA.tsv", "AX.tsv"}
    assert told["files"]["CoLA.tsv"] == "cola"
    assert told["files"]["MNLI-m.tsv"] == "mnli"
    said = "The GLUE archive holds the same answer to every example for tasks that were not run: "
    assert caplog.messages == [said + ", ".join(told["filled"]) + "."]


def test_answers_to_a_part_of_the_test_make_no_archive_and_the_report_says_why(tmp_path):
    archives, report = submitted(tmp_path, {"cola": predicted("cola", 5)})
    assert archives == {}
    assert report["GLUE"]["faults"] == ["CoLA.tsv: 5 examples, expected 1063."]
    assert report["GLUE"]["is_written"] is False


def test_a_benchmark_without_answers_to_its_test_is_not_submitted(tmp_path):
    archives, report = submitted(tmp_path, {"cola": predicted("cola", 3, split="test")})
    assert archives == {}
    assert SubmissionReport.from_json(report["GLUE"]) == SubmissionReport(is_written=False, why=NO_ROWS)


def test_superglue_cannot_be_filled_without_official_passages(tmp_path):
    archives, report = submitted(tmp_path, {"boolq": predicted("boolq", 3245)})
    assert archives == {}
    assert set(report["SuperGLUE"]["left_out"]) == {"MultiRC.jsonl", "ReCoRD.jsonl"}
    assert report["SuperGLUE"]["left_out"]["MultiRC.jsonl"].startswith(
        "its task was not run, and a constant answer needs the official test file: Task `multirc` (SuperGLUE MultiRC): "
        "files not found: test (test.jsonl). Looked in "
    )
    assert report["SuperGLUE"]["faults"] == [
        "MultiRC.jsonl: the file is missing.",
        "ReCoRD.jsonl: the file is missing.",
    ]


def test_superglue_is_filled_from_the_official_test_files(tmp_path):
    official_superglue(tmp_path)
    archives, report = submitted(tmp_path, {"boolq": predicted("boolq", 3245)})
    assert report["SuperGLUE"]["faults"] == []
    files = archives["SuperGLUE"]
    assert set(files) == set(NUM_EXAMPLES["SuperGLUE"])
    assert files["BoolQ.jsonl"].startswith('{"idx": 0, "label": "true"}\n')
    assert files["ReCoRD.jsonl"].startswith('{"idx": 0, "label": "Obama"}\n{"idx": 1, ')
    assert files["MultiRC.jsonl"].count('"label": 0') == 9693


def test_predictions_without_a_column_are_refused(tmp_path):
    with pytest.raises(TaskError) as caught:
        submitted(tmp_path, {"cola": predicted("cola", 3).drop(columns="index")})
    assert str(caught.value) == (
        "`cola.predictions` has columns split, part, option, prediction and lacks index. `kedro run --pipelines "
        "finetune` writes them."
    )


def test_tasks_are_averaged_by_the_names_of_their_namespaces():
    cola = TaskMetrics("matthews", "plain", {"test": score(0.25, matthews=0.25)})
    unlabelled = TaskMetrics("matthews", "diagnostic")
    board = average_tasks(**{"cola.metrics": cola.to_json(), "ax.metrics": unlabelled.to_json()})
    assert board["GLUE"]["tasks"] == {"cola": 0.25}


def test_submissions_are_made_only_where_a_task_is_of_a_leaderboard():
    plain, glue = create_pipeline(["library"]), create_pipeline(["library", "cola"])
    assert "evaluate.leaderboard" in plain.all_outputs()
    assert not [node for node in plain.nodes if node.name == "evaluate.write_submissions_node"]
    (node,) = [node for node in glue.nodes if node.name == "evaluate.write_submissions_node"]
    assert node.inputs == [
        *("task_files", "params:finetune", "evaluate.cola.predictions", "evaluate.cola.examples_report")
    ]
    assert {"evaluate.submission_archives", "evaluate.submission_report"} <= glue.outputs()

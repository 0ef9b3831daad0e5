import dataclasses
from collections import Counter

import pytest

from bort_kedro.errors import TaskError
from bort_kedro.tasks.builtin import BUILTIN_TASKS
from bort_kedro.tasks.layouts import LAYOUTS
from bort_kedro.tasks.metrics import METRICS
from bort_kedro.tasks.table import SPLITS, TASKS, Form, Truncation, find_task, own_task

FILES = {"train": "train.tsv", "dev": "dev.csv"}
TEXT = {"text": "sentence", "label": "label"}


def test_table_has_every_task_of_glue_superglue_and_race_and_the_built_in_ones():
    assert " ".join(TASKS) == (
        "cola sst2 mrpc stsb qqp mnli qnli rte wnli ax boolq cb copa multirc record superglue_rte wic wsc axb axg "
        "race_middle race_high library order adjacent arguments"
    )
    assert Counter(task.benchmark for task in TASKS.values()) == {"GLUE": 10, "SuperGLUE": 10, "RACE": 2, "built-in": 4}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_row_fits_the_other_tables(task):
    assert task.layout in LAYOUTS
    assert task.metrics
    assert set(task.metrics) <= set(METRICS)
    assert set(task.scored_with) <= set(TASKS)
    assert (task.form == Form.MULTIPLE_CHOICE) == (task.labels == ("wrong", "right"))
    assert set(task.spellings.values()) <= set(task.labels)
    assert set(task.required) <= set(SPLITS)
    if task.benchmark != "built-in":
        assert {source.split for source in task.sources} == ({"test"} if task.is_diagnostic else set(SPLITS))
        assert task.hub[0]
    assert hash(task) == hash(dataclasses.replace(task))


def test_labels_are_in_the_order_of_the_hub():
    assert TASKS["mnli"].labels == ("entailment", "neutral", "contradiction")
    assert TASKS["cb"].labels == ("entailment", "contradiction", "neutral")
    assert TASKS["rte"].labels == TASKS["superglue_rte"].labels == ("entailment", "not_entailment")
    assert TASKS["boolq"].labels == TASKS["wic"].labels == ("false", "true")
    assert TASKS["cola"].labels == TASKS["wnli"].labels == ("0", "1")
    assert TASKS["stsb"].labels == ()
    assert TASKS["order"].labels == BUILTIN_TASKS["order"].labels


def test_metrics_are_those_of_the_leaderboards():
    assert {name: task.metrics for name, task in TASKS.items() if task.metrics != ("accuracy",)} == {
        "cola": ("matthews",),
        "mrpc": ("f1", "accuracy"),
        "stsb": ("pearson", "spearman"),
        "qqp": ("f1", "accuracy"),
        "ax": ("matthews",),
        "cb": ("macro_f1", "accuracy"),
        "multirc": ("f1_answers", "exact_match"),
        "record": ("f1_tokens", "exact_match"),
        "axb": ("matthews",),
        "axg": ("accuracy", "parity"),
        "arguments": ("span_f1", "span_precision", "span_recall"),
    }


def test_passages_lose_tokens_before_questions_and_spans_none():
    by_kind = {kind: [name for name, task in TASKS.items() if task.truncation == kind] for kind in Truncation}
    assert by_kind[Truncation.TEXT] == ["boolq", "multirc", "record", "race_middle", "race_high"]
    assert by_kind[Truncation.AROUND_SPANS] == ["wic", "wsc"]
    assert by_kind[Truncation.TEXT_PAIR] == []


def test_submissions_are_named_as_the_leaderboards_ask():
    names = [name for task in TASKS.values() for name in task.submissions.values()]
    assert " ".join(names) == (
        "CoLA.tsv SST-2.tsv MRPC.tsv STS-B.tsv QQP.tsv MNLI-m.tsv MNLI-mm.tsv QNLI.tsv RTE.tsv WNLI.tsv AX.tsv "
        "BoolQ.jsonl CB.jsonl COPA.jsonl MultiRC.jsonl ReCoRD.jsonl RTE.jsonl WiC.jsonl WSC.jsonl AX-b.jsonl AX-g.jsonl"
    )


def test_task_is_found_by_its_name_and_an_own_one_among_those_given():
    mine = own_task("mine", files=FILES, columns=TEXT)
    assert find_task("rte") is TASKS["rte"]
    assert find_task("mine", {"mine": mine}) is mine
    with pytest.raises(TaskError) as caught:
        find_task("mime", {"mine": mine})
    assert str(caught.value) == (
        f"There is no task `mime`. Known: {', '.join(TASKS)}, mine. Change `tasks` in params:finetune, or describe "
        "a task of your own under `own_tasks.mime`."
    )


def test_own_task_has_the_metrics_of_its_form():
    assert own_task("mine", files=FILES, columns=TEXT).metrics == ("accuracy",)
    assert own_task("mine", files=FILES, columns=TEXT, form="regression").metrics == ("pearson", "spearman")
    assert own_task("mine", files=FILES, columns=TEXT, labels=["no", "yes"], metrics=("f1",)).metrics == ("f1",)


@pytest.mark.parametrize(
    ("form", "labels", "metrics", "fault"),
    [
        (
            "classification",
            (),
            ("accuracy", "pearson"),
            "`metrics` holds 'pearson', allowed: accuracy, f1, macro_f1, matthews",
        ),
        ("regression", (), ("accuracy",), "`metrics` holds 'accuracy', allowed: pearson, spearman"),
        (
            "classification",
            ("a", "b", "c"),
            ("f1",),
            "`metrics` holds 'f1', that of the second of two labels, and `labels` is ['a', 'b', 'c']",
        ),
        (
            "classification",
            (),
            ("f1",),
            "`metrics` holds 'f1', that of the second of two labels, and `labels` is []",
        ),
    ],
)
def test_own_task_with_metrics_that_its_form_or_labels_do_not_have_is_refused(form, labels, metrics, fault):
    with pytest.raises(TaskError) as caught:
        own_task("mine", files=FILES, columns=TEXT, form=form, labels=labels, metrics=metrics)
    assert str(caught.value) == (
        f"Own task `mine`: {fault}. Allowed in `files`: train, dev and test, with the suffixes .tsv, .csv, .jsonl; in "
        "`columns`: text, label, text_pair for pairs and options (a list) for multiple_choice. Change "
        "`own_tasks.mine` in params:finetune."
    )


def test_own_task_may_lack_a_test_file():
    sources = own_task("mine", files=FILES, columns=TEXT).sources
    assert [(source.split, source.files[0].path) for source in sources] == [("train", "train.tsv"), ("dev", "dev.csv")]


def test_own_multiple_choice_has_a_column_for_each_option():
    task = own_task("mine", files=FILES, columns={**TEXT, "options": ["a", "b"]}, form="multiple_choice")
    assert task.labels == ("wrong", "right")
    assert task.columns["options"] == ("a", "b")


def test_own_task_that_cannot_be_read_lists_every_fault():
    with pytest.raises(TaskError) as caught:
        own_task(
            "my task",
            files={"train": "a.txt", "tets": "b.tsv"},
            columns={"text": "x", "lable": "y"},
            labels=["one"],
            truncation="end",
        )
    assert str(caught.value) == (
        "Own task `my task`: the name `my task` is no identifier; `truncation` is 'end', allowed: longest_first, text, "
        "text_pair, around_spans; `labels` is ['one']; two or more different ones are needed; `files` names the "
        "unknown split `tets`; `files` lacks `dev`; `train` is a.txt, which has none of the suffixes; `columns` names "
        "the unknown column `lable`; `columns` lacks `label`. Allowed in `files`: train, dev and test, with the "
        "suffixes .tsv, .csv, .jsonl; in `columns`: text, label, text_pair for pairs and options (a list) for "
        "multiple_choice. Change `own_tasks.my task` in params:finetune."
    )


def test_own_task_of_another_form_has_no_labels_but_options():
    with pytest.raises(TaskError) as caught:
        own_task("mine", files=FILES, columns={**TEXT, "options": "a"}, form="multiple_choice", labels=["a", "b"])
    assert str(caught.value).startswith(
        "Own task `mine`: `labels` is ['a', 'b']; only classification and token_classification have labels, `form` is "
        "multiple_choice; `columns.options` is 'a'; a list of two or more columns is needed. Allowed in"
    )

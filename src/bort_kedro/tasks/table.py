"""The table of tasks: one row says all that reading, training, scoring and submitting need to know of a task.

Files and columns are those of the archives that https://gluebenchmark.com, https://super.gluebenchmark.com and
https://www.cs.cmu.edu/~glai1/data/race hand out; metrics those of their leaderboards. Sizes are those of the card of
https://huggingface.co/datasets/nyu-mll/glue: `num_examples`, and `num_bytes` of the train split for each of these, less
20 of label, index and offsets.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bort_kedro.errors import TaskError
from bort_kedro.frozen import JsonObject
from bort_kedro.tasks.builtin import BUILTIN_TASKS
from bort_kedro.tasks.description import (
    RIGHT,
    SPLITS,
    WRONG,
    Form,
    PublishedSize,
    SourceFile,
    SplitSource,
    Task,
    Truncation,
)
from bort_kedro.tasks.own import METRICS_OF, own_task

__all__ = [
    "RIGHT",
    "SPLITS",
    "TASKS",
    "WRONG",
    "Form",
    "SourceFile",
    "SplitSource",
    "Task",
    "Truncation",
    "find_task",
    "own_task",
]

TRUE_OR_FALSE = ("false", "true")
ENTAILMENT = ("entailment", "not_entailment")


def find_task(name: str, own_tasks: Mapping[str, Task] | None = None) -> Task:
    """The row of a task, the user's own ones first.

    Raises:
        TaskError: If there is none of that name.
    """
    known = {**TASKS, **(own_tasks or {})}
    if name not in known:
        raise TaskError(
            f"There is no task `{name}`. Known: {', '.join(known)}. Change `tasks` in params:finetune, or describe "
            f"a task of your own under `own_tasks.{name}`."
        )
    return known[name]


def _split_sources(train: str, dev: str, test: str) -> tuple[SplitSource, ...]:
    hub = {"train": "train", "dev": "validation", "test": "test"}
    paths = {"train": train, "dev": dev, "test": test}
    return tuple(SplitSource(split, (SourceFile(paths[split]),), hub[split]) for split in SPLITS)


_TSV = _split_sources("train.tsv", "dev.tsv", "test.tsv")
_JSONL = _split_sources("train.jsonl", "val.jsonl", "test.jsonl")
_COLA_HEADER = ("source", "label", "mark", "sentence")
_MRPC_TRAIN = "msr_paraphrase_train.txt"


def _texts(text: Sequence[str], pair: Sequence[str] = (), label: str = "label", index: str = "index") -> JsonObject:
    columns = {"text": tuple(text), "label": (label, "label"), "index": (index, "idx")}
    return {**columns, "text_pair": tuple(pair)} if pair else columns


def _leaderboard_task(benchmark: str, name: str, title: str, **said: Any) -> Task:
    common: JsonObject = {
        "form": Form.CLASSIFICATION,
        "metrics": ("accuracy",),
        "truncation": Truncation.LONGEST_FIRST,
        "folders": (title,),
    }
    return Task(name, title, benchmark, **(common | said))


def _glue(
    name: str,
    title: str,
    columns: JsonObject,
    size: tuple[int, int, int] | None,
    labels: tuple[str, ...] = (),
    **others: Any,
) -> Task:
    """One of GLUE; without labels it is a regression."""
    common: JsonObject = {
        "sources": _TSV,
        "submissions": {"": f"{title}.tsv"},
        "hub": ("nyu-mll/glue", name),
        "size": PublishedSize(*size) if size else None,
    }
    return _leaderboard_task("GLUE", name, title, labels=labels, columns=columns, **(common | others))


def _superglue(name: str, title: str, labels: tuple[str, ...], **others: Any) -> Task:
    common: JsonObject = {
        "sources": _JSONL,
        "submissions": {"": f"{title}.jsonl"},
        "spellings": {"False": "false", "True": "true"} if labels == TRUE_OR_FALSE else {},
        "hub": ("aps/super_glue", name.removeprefix("superglue_")),
    }
    return _leaderboard_task("SuperGLUE", name, title, labels=labels, **(common | others))


def _race(level: str) -> Task:
    return Task(
        f"race_{level}",
        f"RACE-{level}",
        "RACE",
        Form.MULTIPLE_CHOICE,
        labels=(WRONG, RIGHT),
        metrics=("accuracy",),
        truncation=Truncation.TEXT,
        folders=("RACE",),
        sources=_split_sources(f"train/{level}", f"dev/{level}", f"test/{level}"),
        required=SPLITS,
        layout="race",
        allows_empty_text=True,
        hub=("ehovy/race", level),
    )


def _builtin(name: str) -> Task:
    return Task(
        name,
        name,
        "built-in",
        BUILTIN_TASKS[name].form,
        labels=BUILTIN_TASKS[name].labels or (),
        metrics=METRICS_OF.get(BUILTIN_TASKS[name].form, ("accuracy",)),
        truncation=Truncation.LONGEST_FIRST,
    )


_SENTENCE = _texts(["sentence"])
_MRPC = _texts(["#1 String", "sentence1"], ["#2 String", "sentence2"], label="Quality")
_QQP = _texts(["question1"], ["question2"], label="is_duplicate", index="id")
_MNLI = _texts(["sentence1", "premise"], ["sentence2", "hypothesis"], label="gold_label")
_AX = _texts(["sentence1", "Premise", "premise"], ["sentence2", "Hypothesis", "hypothesis"], label="Label")
_SENTENCES = _texts(["sentence1"], ["sentence2"])
_PREMISE = _texts(["premise"], ["hypothesis"], index="idx")
_INDEX = {"index": ("idx",)}
_MNLI_PARTS = ("matched", "mismatched")
_MNLI_SOURCES = (
    SplitSource("train", (SourceFile("train.tsv"),), "train"),
    *(SplitSource("dev", (SourceFile(f"dev_{part}.tsv"),), f"validation_{part}", part) for part in _MNLI_PARTS),
    *(SplitSource("test", (SourceFile(f"test_{part}.tsv"),), f"test_{part}", part) for part in _MNLI_PARTS),
)
_COLA_SOURCES = (
    SplitSource("train", (SourceFile("train.tsv", header=_COLA_HEADER),), "train"),
    SplitSource("dev", (SourceFile("dev.tsv", header=_COLA_HEADER),), "validation"),
    SplitSource("test", (SourceFile("test.tsv"),), "test"),
)
# GLUE's own layout first; the other is Microsoft's, whose train file GLUE divides by a list of ids.
_MRPC_SOURCES = (
    SplitSource("train", (SourceFile("train.tsv"), SourceFile(_MRPC_TRAIN, id_file="dev_ids.tsv")), "train"),
    SplitSource(
        "dev", (SourceFile("dev.tsv"), SourceFile(_MRPC_TRAIN, id_file="dev_ids.tsv", in_id_file=True)), "validation"
    ),
    SplitSource("test", (SourceFile("test.tsv"), SourceFile("msr_paraphrase_test.txt")), "test"),
)
_NLI_LABELS = ("entailment", "neutral", "contradiction")
# What GLUE's archives write; the hub has words instead, see `spellings`.
_BINARY = ("0", "1")


def _only_test(*names: str) -> tuple[SplitSource, ...]:
    return (SplitSource("test", tuple(SourceFile(name) for name in names), "test"),)


def _diagnostic(file: str) -> JsonObject:
    return {"scored_with": ("superglue_rte", "rte"), "sources": _only_test(file), "required": ("test",)}


_ROWS = (
    _glue(
        *("cola", "CoLA", _SENTENCE, (8_551, 1_043, 37), _BINARY),
        metrics=("matthews",),
        sources=_COLA_SOURCES,
        spellings={"unacceptable": "0", "acceptable": "1"},
    ),
    _glue("sst2", "SST-2", _SENTENCE, (67_349, 872, 50), _BINARY, spellings={"negative": "0", "positive": "1"}),
    _glue(
        *("mrpc", "MRPC", _MRPC, (3_668, 408, 238), _BINARY),
        metrics=("f1", "accuracy"),
        sources=_MRPC_SOURCES,
        spellings={"not_equivalent": "0", "equivalent": "1"},
    ),
    _glue(
        *("stsb", "STS-B", _texts(["sentence1"], ["sentence2"], label="score"), (5_749, 1_500, 111)),
        form=Form.REGRESSION,
        metrics=("pearson", "spearman"),
    ),
    _glue(
        *("qqp", "QQP", _QQP, (363_846, 40_430, 120), _BINARY),
        metrics=("f1", "accuracy"),
        spellings={"not_duplicate": "0", "duplicate": "1"},
        skips_short_rows=True,
        allows_empty_text=True,
    ),
    _glue(
        *("mnli", "MNLI", _MNLI, (392_702, 9_815 + 9_832, 171), _NLI_LABELS),
        sources=_MNLI_SOURCES,
        submissions={"matched": "MNLI-m.tsv", "mismatched": "MNLI-mm.tsv"},
    ),
    _glue("qnli", "QNLI", _texts(["question"], ["sentence"]), (104_743, 5_463, 225), ENTAILMENT),
    _glue("rte", "RTE", _SENTENCES, (2_490, 277, 320), ENTAILMENT),
    _glue("wnli", "WNLI", _SENTENCES, (635, 71, 149), _BINARY, spellings={"not_entailment": "0", "entailment": "1"}),
    _glue(
        *("ax", "AX", _AX, None, _NLI_LABELS),
        metrics=("matthews",),
        scored_with=("mnli",),
        folders=("AX", "diagnostic"),
        # The labelled file first: both have the same rows in the same order.
        sources=_only_test("diagnostic-full.tsv", "diagnostic.tsv", "AX.tsv"),
        required=("test",),
    ),
    _superglue(
        *("boolq", "BoolQ", TRUE_OR_FALSE),
        truncation=Truncation.TEXT,
        columns=_texts(["passage"], ["question"], index="idx"),
    ),
    _superglue(
        "cb", "CB", ("entailment", "contradiction", "neutral"), metrics=("macro_f1", "accuracy"), columns=_PREMISE
    ),
    _superglue("copa", "COPA", (WRONG, RIGHT), form=Form.MULTIPLE_CHOICE, layout="copa", columns=_INDEX),
    _superglue(
        *("multirc", "MultiRC", TRUE_OR_FALSE),
        metrics=("f1_answers", "exact_match"),
        truncation=Truncation.TEXT,
        layout="multirc",
        allows_empty_text=True,
        spellings={"0": "false", "1": "true", "False": "false", "True": "true"},
    ),
    _superglue(
        *("record", "ReCoRD", (WRONG, RIGHT)),
        form=Form.MULTIPLE_CHOICE,
        metrics=("f1_tokens", "exact_match"),
        truncation=Truncation.TEXT,
        layout="record",
    ),
    _superglue("superglue_rte", "RTE", ENTAILMENT, columns=_PREMISE),
    _superglue("wic", "WiC", TRUE_OR_FALSE, truncation=Truncation.AROUND_SPANS, layout="wic", columns=_INDEX),
    _superglue("wsc", "WSC", TRUE_OR_FALSE, truncation=Truncation.AROUND_SPANS, layout="wsc", columns=_INDEX),
    _superglue("axb", "AX-b", ENTAILMENT, metrics=("matthews",), columns=_SENTENCES, **_diagnostic("AX-b.jsonl")),
    _superglue(
        *("axg", "AX-g", ENTAILMENT),
        metrics=("accuracy", "parity"),
        columns=_PREMISE,
        layout="gender_pairs",
        **_diagnostic("AX-g.jsonl"),
    ),
    _race("middle"),
    _race("high"),
    *(_builtin(name) for name in BUILTIN_TASKS),
)
TASKS: dict[str, Task] = {task.name: task for task in _ROWS}


def scoring_task(task: str, tasks: Sequence[str]) -> str | None:
    """The task whose model answers a diagnostic; None for a task that has a model of its own."""
    able = TASKS[task].scored_with if task in TASKS else ()
    return next((other for other in able if other in tasks), None)

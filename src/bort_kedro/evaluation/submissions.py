"""The files of a submission to the leaderboards of GLUE and SuperGLUE: names, rows, spellings of labels.

As https://gluebenchmark.com/faq and https://super.gluebenchmark.com/faq ask, and jiant and T5 write them: of GLUE a TSV
with a header for each test file, of SuperGLUE a line of JSON for each example.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from bort_kedro.errors import TaskError
from bort_kedro.frozen import FrozenModel, JsonObject
from bort_kedro.tasks.splits import SUBMISSION, TEST
from bort_kedro.tasks.table import RIGHT, TASKS, Form, Task

if TYPE_CHECKING:
    import pandas as pd

BENCHMARKS = ("GLUE", "SuperGLUE")
HEADER = "index\tprediction"
# What `tasks.splits` calls a test split that is the official one, labels and all.
OFFICIAL_TEST = f"official {TEST}"
LEAST_SIMILAR, MOST_SIMILAR = 0.0, 5.0
# Examples of the official test files; of MultiRC answers, of ReCoRD questions.
NUM_EXAMPLES = {
    "GLUE": {
        "CoLA.tsv": 1063,
        "SST-2.tsv": 1821,
        "MRPC.tsv": 1725,
        "STS-B.tsv": 1379,
        "QQP.tsv": 390965,
        "MNLI-m.tsv": 9796,
        "MNLI-mm.tsv": 9847,
        "QNLI.tsv": 5463,
        "RTE.tsv": 3000,
        "WNLI.tsv": 146,
        "AX.tsv": 1104,
    },
    "SuperGLUE": {
        "BoolQ.jsonl": 3245,
        "CB.jsonl": 250,
        "COPA.jsonl": 500,
        "MultiRC.jsonl": 9693,
        "ReCoRD.jsonl": 10000,
        "RTE.jsonl": 3000,
        "WiC.jsonl": 1400,
        "WSC.jsonl": 146,
        "AX-b.jsonl": 1104,
        "AX-g.jsonl": 356,
    },
}
# Where a leaderboard spells labels otherwise than the table of tasks.
_SPELLINGS: dict[str, dict[str, str | int]] = {
    "wsc": {"false": "False", "true": "True"},
    "multirc": {"false": 0, "true": 1},
}

Answer = tuple[str, str | int]


@dataclass(frozen=True)
class SubmissionFile:
    """One file of a submission.

    Args:
        part: Of the task's test split, or "".
    """

    name: str
    task: Task
    part: str
    num_examples: int

    @property
    def is_nested(self) -> bool:
        """True where a line is a passage with its questions and their answers: MultiRC."""
        return self.task.layout == "multirc"

    @property
    def needs_official_test(self) -> bool:
        """True where even a constant answer needs the official examples, for their numbers or their options."""
        return self.task.layout in ("multirc", "record")

    @property
    def allowed_labels(self) -> tuple[str | int, ...] | None:
        """What may stand as the answer; None where it is a number or a text out of the example."""
        if self.task.form == Form.REGRESSION or self.task.layout == "record":
            return None
        if self.task.form == Form.MULTIPLE_CHOICE:
            return tuple(range(len(self.task.labels)))
        return tuple(spelled(self.task, label) for label in self.task.labels)


class SubmissionReport(FrozenModel):
    """What became of the archive for a leaderboard.

    Args:
        why: There is none; empty where there is.
        files: The task whose answers each file holds.
        filled: Files with the same answer to every example, since their tasks were not run.
    """

    is_written: bool = False
    why: str = ""
    files: dict[str, str] = Field(default_factory=dict)
    filled: tuple[str, ...] = ()
    left_out: dict[str, str] = Field(default_factory=dict)
    faults: tuple[str, ...] = ()


def submission_files(benchmark: str) -> dict[str, SubmissionFile]:
    """The files that a leaderboard asks for, by name."""
    return {
        name: SubmissionFile(name, task, part, NUM_EXAMPLES[benchmark][name])
        for task in TASKS.values()
        if task.benchmark == benchmark
        for part, name in task.submissions.items()
    }


def spelled(task: Task, label: str) -> str | int:
    """A label as the leaderboard spells it."""
    return _SPELLINGS.get(task.name, {}).get(label, label)


def official_test_rows(predictions: pd.DataFrame, test_source: str | None, part: str) -> pd.DataFrame:
    """The predictions for a part of the official test split.

    Rows of split ``submission`` are the official test's, and those of ``test`` where the report on the examples says
    that this is the official one with its labels, as diagnostics have it.
    """
    is_official = predictions["split"] == SUBMISSION
    if test_source == OFFICIAL_TEST:
        is_official |= predictions["split"] == TEST
    return predictions[is_official & (predictions["part"].fillna("") == part)].reset_index(drop=True)


def answers_in(task: Task, rows: pd.DataFrame) -> list[Answer]:
    """The official index and the answer of each example, in rising order of the index.

    Rows are of one part, with columns ``index``, ``option`` and ``prediction``, the options of a question in their
    order.

    Raises:
        TaskError: If an index is none of an official file.
    """
    answers: Iterable[Answer]
    if task.form == Form.MULTIPLE_CHOICE:
        answers = [answer for index, options in rows.groupby("index") for answer in _chosen(task, str(index), options)]
    elif task.form == Form.REGRESSION:
        answers = zip(rows["index"], map(_similarity, rows["prediction"]), strict=True)
    else:
        answers = zip(rows["index"], (spelled(task, label) for label in rows["prediction"]), strict=True)
    return sorted(answers, key=lambda answer: _place(task, answer[0]))


def constant_answers(file: SubmissionFile, official_rows: pd.DataFrame | None = None) -> list[Answer]:
    """The same answer to every example of a task that was not run: first label or option, or middle of the scale.

    Where the file needs the official test, its rows have columns ``index`` and ``option``.
    """
    if official_rows is None:
        label = f"{(LEAST_SIMILAR + MOST_SIMILAR) / 2:.3f}" if file.allowed_labels is None else file.allowed_labels[0]
        return [(str(number), label) for number in range(file.num_examples)]
    # The first row of each question, or each answer.
    first = official_rows.drop_duplicates("index")
    labels = [0] * len(first) if file.is_nested else first["option"].tolist()
    answers = zip(first["index"], labels, strict=True)
    return sorted(answers, key=lambda answer: _place(file.task, answer[0]))


def file_text(file: SubmissionFile, answers: Sequence[Answer]) -> str:
    """What stands in a file."""
    if file.task.benchmark == "GLUE":
        lines = [HEADER, *(f"{index}\t{label}" for index, label in answers)]
    elif file.is_nested:
        lines = [json.dumps(passage) for passage in _passages(answers)]
    else:
        lines = [json.dumps({"idx": int(index), "label": label}) for index, label in answers]
    return "".join(f"{line}\n" for line in lines)


def _chosen(task: Task, index: str, options: pd.DataFrame) -> list[Answer]:
    """The option that was chosen, by its number or, of ReCoRD, its text."""
    places = [place for place, answer in enumerate(options["prediction"]) if answer == RIGHT]
    return [(index, options["option"].iloc[place] if task.layout == "record" else place) for place in places]


def _similarity(prediction: str) -> str:
    """Within the scale of STS-B, to three places as its labels have."""
    return f"{min(max(float(prediction), LEAST_SIMILAR), MOST_SIMILAR):.3f}"


def _place(task: Task, index: str) -> tuple[int, ...]:
    """An index as numbers, one or, of MultiRC, three: passage, question, answer."""
    numbers = str(index).split("/")
    if not all(number.isdecimal() for number in numbers):
        raise TaskError(
            f"Task `{task.name}`: an example of its official test has the index {index!r}, expected whole numbers from "
            "0 as the official file has. Read the official file instead (`files` in params:finetune)."
        )
    return tuple(map(int, numbers))


def _passages(answers: Sequence[Answer]) -> list[JsonObject]:
    """Answers nested as MultiRC's own files are."""
    nested: dict[int, dict[int, list[dict[str, str | int]]]] = {}
    for index, label in answers:
        passage, question, answer = map(int, index.split("/"))
        nested.setdefault(passage, {}).setdefault(question, []).append({"idx": answer, "label": label})
    return [
        {
            "idx": passage,
            "passage": {"questions": [{"idx": number, "answers": found} for number, found in questions.items()]},
        }
        for passage, questions in nested.items()
    ]

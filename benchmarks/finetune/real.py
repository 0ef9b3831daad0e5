"""Real tasks of GLUE and SuperGLUE, read from their own files, with the encoders of the last `kedro run`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.finetune.builtin import NUM_PROCESSES, base_finetuning
from benchmarks.finetune.students import encoders
from benchmarks.own_process import fresh_processes, quietly
from bort_kedro.datasets.task_files import TaskFilesDataset
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.evaluation.scores import TaskScore, score_answers
from bort_kedro.params import FinetuneParams
from bort_kedro.params.finetune import task_of
from bort_kedro.pipelines.evaluate.score_nodes import floors_of
from bort_kedro.pipelines.finetune.nodes import student_tuner_of, teacher_tuner_of
from bort_kedro.pipelines.tasks.nodes import reader_of

REAL_TASKS = ("qnli", "rte", "cola", "cb", "wsc", "copa", "boolq", "wnli")
# Where the archive is not whole, the files there are: of BoolQ a few labelled examples and the official dev, which is
# scored as the unseen split.
OTHER_FILES = {
    "boolq": {"train": "fewglue_train32.jsonl", "dev": "fewglue_dev32.jsonl", "test": "val.jsonl"},
}
# A teacher and four rounds on a hundred thousand examples take a day of two cores.
PLAIN_TASKS = ("qnli",)
# Settings for all of these tasks alike; none was chosen by their scores.
CHANGES: dict[str, Any] = {"training": {"num_threads": 1}, "teacher": {"training": {"num_threads": 1}}, "rivals": []}
# A small task is seen more often: so many examples in all, in at least one and at most twelve passes.
EXAMPLES_SEEN = 20_000
MOST_EPOCHS = 12


@dataclass(frozen=True)
class RealOutcome:
    """One real task.

    Args:
        name: Of the table of tasks.
        examples_report: Files, rows and what each split is.
        report: Of the fine-tuning.
        check: Of the teacher, see `agora.teacher_bar`; None where there was none.
        score: On the split that no method saw.
        seconds: Everything included.
    """

    name: str
    examples_report: Mapping[str, Any]
    report: Mapping[str, Any]
    check: Mapping[str, Any] | None
    score: TaskScore
    seconds: float


def real_outcomes(folder: Path, states: Path, tasks: Sequence[str] = REAL_TASKS) -> list[RealOutcome]:
    """Read, fine-tune and score each task."""
    with fresh_processes(NUM_PROCESSES, {}) as pool:
        running = [pool.submit(outcome_of, name, folder, states) for name in tasks]
        return [each.result() for each in running]


@quietly()
def outcome_of(name: str, folder: Path, states: Path) -> RealOutcome:
    """One task from its files to its score; what is in the states is found there."""
    kept = TrainingStates(states, keep=1)
    teacher, student = encoders()
    began = time.perf_counter()
    method = "plain" if name in PLAIN_TASKS else "agora"
    files = {name: OTHER_FILES[name]} if name in OTHER_FILES else {}
    finetune = base_finetuning(**CHANGES, method=method, tasks=[name], files=files)
    task_files = TaskFilesDataset(folder=str(folder)).load()
    examples, examples_report = reader_of(name)(task_files, finetune)
    finetune = _with_epochs(finetune, examples_report["train"]["num_units"])
    taught: tuple[Any, ...] = ()
    check = None
    if method == "agora":
        classifier, _, _, teacher_report = teacher_tuner_of(name)(examples, teacher, kept, finetune)
        taught, check = (teacher, classifier, teacher_report), teacher_report["check"]
    _, _, predictions, report = student_tuner_of(name)(examples, student, kept, finetune, *taught)
    test = predictions[predictions["split"] == "test"].reset_index(drop=True)
    floors = floors_of(name, name)(examples, finetune)[0].query("split == 'test'")
    of_floors = {floor: rows["prediction"].tolist() for floor, rows in floors.groupby("method")}
    score = score_answers(task_of(name, finetune), test, test["prediction"].tolist(), floors=of_floors)
    return RealOutcome(name, examples_report, report, check, score, time.perf_counter() - began)


def _with_epochs(finetune: FinetuneParams, num_units: int) -> FinetuneParams:
    """More passes over small tasks."""
    epochs = {"num_epochs": float(min(MOST_EPOCHS, max(1, EXAMPLES_SEEN // num_units)))}
    teacher = finetune.teacher.model_copy(update={"training": finetune.teacher.training.model_copy(update=epochs)})
    return finetune.model_copy(update={"training": finetune.training.model_copy(update=epochs), "teacher": teacher})

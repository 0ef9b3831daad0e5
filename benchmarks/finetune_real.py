"""Real tasks of GLUE and SuperGLUE, read from their own files, with encoders pretrained here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_builtin import base_finetuning
from finetune_encoders import MAX_POSITIONS, Encoders

from bort_kedro.core.scores import TaskScore, score_answers
from bort_kedro.datasets.task_files import TaskFilesDataset
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.params import FinetuneParams
from bort_kedro.pipelines.finetune.nodes import reader_of, student_tuner_of, task_of, teacher_tuner_of

REAL_TASKS = ("cola", "rte", "qnli", "cb", "wsc", "copa", "boolq", "wnli")
# Where an archive is not whole, the files there are; of BoolQ a few labelled examples and the official dev, which is
# scored as the unseen split.
OTHER_FILES = {"boolq": {"train": "fewglue_train32.jsonl", "dev": "fewglue_dev32.jsonl", "test": "val.jsonl"}}
# Settings for all of these tasks alike; none was chosen by their scores.
CHANGES: dict[str, Any] = {
    "weak_teacher": "plain",
    "files": OTHER_FILES,
    "training": {"max_tokens": MAX_POSITIONS, "learning_rates": [3.0e-4, 1.0e-3]},
    "teacher": {"training": {"max_tokens": MAX_POSITIONS}},
    "agora": {"transformation": {"max_tokens": MAX_POSITIONS}},
}


# A small task is seen more often: so many examples in all, in at least one and at most twelve passes.
EXAMPLES_SEEN = 8000
MOST_EPOCHS = 12


@dataclass(frozen=True)
class RealOutcome:
    """One real task.

    Args:
        name: Of the table of tasks.
        examples_report: Files, rows and what each split is.
        check: Of the teacher.
        report: Of the fine-tuning.
        score: On the split that no method saw.
        seconds: Everything included.
    """

    name: str
    examples_report: Mapping[str, Any]
    check: Mapping[str, Any]
    report: Mapping[str, Any]
    score: TaskScore
    seconds: float


def real_outcomes(
    folder: Path, encoders: Encoders, states: Path, tasks: Sequence[str] = REAL_TASKS
) -> list[RealOutcome]:
    """Read, fine-tune and score each task."""
    return [_outcome(name, folder, encoders, TrainingStates(states, keep=1)) for name in tasks]


def _outcome(name: str, folder: Path, encoders: Encoders, states: TrainingStates) -> RealOutcome:
    began = time.perf_counter()
    finetune = base_finetuning(**CHANGES, tasks=[name])
    task_files = TaskFilesDataset(folder=str(folder)).load()
    examples, examples_report = reader_of(name)(task_files, finetune)
    finetune = _with_epochs(finetune, examples_report["train"]["num_units"])
    classifier, _, _, taught = teacher_tuner_of(name)(examples, encoders.teacher, states, finetune)
    _, _, predictions, report = student_tuner_of(name)(
        examples, encoders.student, states, finetune, encoders.teacher, classifier, taught
    )
    test = predictions[predictions["split"] == "test"].reset_index(drop=True)
    score = score_answers(task_of(name, finetune), test, test["prediction"].tolist())
    return RealOutcome(name, examples_report, taught["check"], report, score, time.perf_counter() - began)


def _with_epochs(finetune: FinetuneParams, num_units: int) -> FinetuneParams:
    """For student and teacher alike."""
    epochs = {"num_epochs": float(min(MOST_EPOCHS, max(1, EXAMPLES_SEEN // num_units)))}
    training, teacher = finetune.training, finetune.teacher
    return finetune.model_copy(
        update={
            "training": training.model_copy(update=epochs),
            "teacher": teacher.model_copy(update={"training": teacher.training.model_copy(update=epochs)}),
        }
    )

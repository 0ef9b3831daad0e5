"""Real tasks of GLUE and SuperGLUE: a real encoder teaches what is extracted of it, by every method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.finetune.builtin import NUM_PROCESSES, base_finetuning
from benchmarks.own_process import fresh_processes, on_the_cpu, quietly
from benchmarks.real.material import PLACE, extracted
from benchmarks.real.outcomes import finetuning_settings
from benchmarks.real.setting import MAX_TOKENS, SHORT, Setting
from benchmarks.real.tasks import OTHER_FILES, task_data
from bort_kedro.agora.word_transformations import WORD_TRANSFORMATIONS
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.last_layer import BERT_LIKE
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.encoders.teachers import open_teacher
from bort_kedro.evaluation.scores import RivalScore, TaskScore, rival_score, score_answers
from bort_kedro.frozen import JsonObject
from bort_kedro.params import FinetuneParams
from bort_kedro.params.finetune import task_of
from bort_kedro.pipelines.evaluate.score_nodes import floors_of
from bort_kedro.pipelines.finetune.nodes import rival_tuner_of, student_tuner_of, teacher_tuner_of

REAL_TASKS = ("qnli", "cola", "rte", "boolq", "wsc", "cb", "copa", "wnli")
# That `make bench-real` selected for a quarter of MiniLM-L6's operations.
SHAPE = BertShape(2, 12, 384, 768)
# Half of the tokens that bench-real spends on a task, since a teacher and four methods learn here.
SETTING = replace(SHORT, tokens_seen=100_000, learning_rates=(1e-4, 2e-4))
RIVALS = ("plain", "distilled")
# Of train, for beliefs of teachers that have not seen a row.
NUM_FOLDS = 2


@dataclass(frozen=True)
class RealOutcome:
    """One real task.

    Args:
        name: Of the table of tasks.
        report: Of the student's fine-tuning, by Agora where the teacher is over its bar, else plainly.
        check: Of the teacher, see `agora.teacher_bar`.
        score: On the official dev, which no method saw, beside the floors.
        rivals: Of the other methods, where there was Agora; and of the teacher, under `teacher`.
    """

    name: str
    report: JsonObject
    check: JsonObject
    score: TaskScore
    rivals: dict[str, RivalScore]


@quietly()
def open_encoder(folder: str) -> Pretrained:
    """The teacher; it needs no masked-LM head, since its points change the order and number of words alone."""
    return open_teacher(folder, sequence_length=MAX_TOKENS, place=PLACE, families=BERT_LIKE, needs_head=False)


def real_outcomes(
    encoder: str, folder: Path, states: Path, tasks: Sequence[str] = REAL_TASKS, setting: Setting = SETTING
) -> list[RealOutcome]:
    """Read, fine-tune and score each task."""
    with fresh_processes(NUM_PROCESSES, on_the_cpu(1)) as pool:
        running = [pool.submit(outcome_of, name, encoder, folder, states, setting) for name in tasks]
        return [each.result() for each in running]


def finetuning_of(name: str, settings: Any) -> FinetuneParams:
    """Teacher and student are fine-tuned alike, by these settings."""
    training = settings.to_json()
    return base_finetuning(
        tasks=[name],
        files={name: OTHER_FILES[name]} if name in OTHER_FILES else {},
        method="agora",
        rivals=list(RIVALS),
        num_folds=NUM_FOLDS,
        training=training,
        teacher={"training": {**training, "learning_rates": training["learning_rates"][:1]}},
        agora={"transformation": {"weights": {**dict.fromkeys(WORD_TRANSFORMATIONS, 1), "masked_lm": 0}}},
    )


@quietly()
def outcome_of(name: str, encoder: str, folder: Path, states: Path, setting: Setting) -> RealOutcome:
    """One task from its files to its score; trainings that are in the states are found there."""
    kept, teacher = TrainingStates(states, keep=1), open_encoder(encoder)
    student, data = extracted(SHAPE, teacher), task_data(name, folder, setting)
    encoded = data.encoded(student, max_tokens=MAX_TOKENS)
    finetune = finetuning_of(name, finetuning_settings(encoded, setting.seeds[0], setting))
    examples = pd.concat([table.assign(split=split) for split, table in data.tables.items()], ignore_index=True)
    classifier, _, taught, report = teacher_tuner_of(name)(examples, teacher, kept, finetune)
    _, _, predictions, own, _ = student_tuner_of(name)(examples, student, kept, finetune, teacher, classifier, report)
    _, of_rivals, _ = rival_tuner_of(name)(examples, student, kept, finetune, own, teacher, classifier)
    others = {"teacher": taught, **dict(iter(of_rivals.groupby("method")))}
    test = predictions[predictions["split"] == "test"].reset_index(drop=True)
    answers = test["prediction"].tolist()
    floors = floors_of(name, name)(examples, finetune)[0].query("split == 'test'")
    task = task_of(name, finetune)
    return RealOutcome(
        name,
        own,
        report["check"],
        score_answers(
            task, test, answers, floors={floor: rows["prediction"].tolist() for floor, rows in floors.groupby("method")}
        ),
        {
            method: rival_score(task, test, answers, rows.loc[rows["split"] == "test", "prediction"].tolist())
            for method, rows in others.items()
        },
    )

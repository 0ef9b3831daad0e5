"""Agora against its rivals on the built-in tasks, several seeds, with the encoders of the last `kedro run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.configured import PROJECT, raw_parameters
from benchmarks.floors import floor_accuracies
from benchmarks.own_process import fresh_processes, quietly
from bort_kedro.agora.rivals import RIVALS
from bort_kedro.configuration import check_parameters
from bort_kedro.datasets.model_folder import PretrainedDataset
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.params import FinetuneParams
from bort_kedro.pipeline_registry import task_teacher
from bort_kedro.pipelines.finetune.nodes import rival_tuner_of, student_tuner_of, teacher_tuner_of
from bort_kedro.pipelines.tasks.nodes import builder_of

SEEDS = (0, 1, 2, 3, 4)
BUILTIN = ("order", "library", "adjacent")
AGORA = "agora"
# The teacher is trained once a task, so it may try one rate more than conf/base does.
TEACHER_RATES = (1e-3, 2e-3)
# Two trainings of tiny models side by side are faster than one with two threads.
NUM_PROCESSES = 2


@dataclass(frozen=True)
class Outcome:
    """One task with one seed.

    Args:
        task: Its name.
        seed: Of student and points; the teacher is the same for all.
        teacher_score: Accuracy of the teacher on dev.
        teacher_test_score: And on test.
        is_over: Whether the teacher is over its bar; without it there is Agora for none.
        right: By method, (N,) whether each test example is answered rightly; `plain` alone under a weak teacher.
        num_steps: By method, steps that were allowed.
        num_steps_done: By method, steps until early stopping.
        seconds: By method.
        floors: Accuracy on test of each of `evaluation.floors.FLOORS`.
        rounds: Of Agora, as in its report.
    """

    task: str
    seed: int
    teacher_score: float
    teacher_test_score: float
    is_over: bool
    right: dict[str, np.ndarray]
    num_steps: dict[str, int]
    num_steps_done: dict[str, int]
    seconds: dict[str, float]
    floors: dict[str, float]
    rounds: list[dict[str, Any]]


def base_finetuning(**changes: Any) -> FinetuneParams:
    """The parameters of ``conf/base`` with some of them changed, by their nesting under `finetune`."""
    return check_parameters(raw_parameters(finetune=changes)).finetune


def latest(pattern: str) -> Path:
    """The newest version of what `kedro run` made.

    Raises:
        SystemExit: If there is none.
    """
    found = sorted((PROJECT / "data").glob(pattern))
    if not found:
        raise SystemExit(f"data/{pattern} is missing: run `make run` first, whose encoders are fine-tuned here.")
    return found[-1]


def encoders() -> tuple[Pretrained, Pretrained]:
    """Teacher and student of the last `kedro run`."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    teacher, student = (
        PretrainedDataset(str(latest(f"06_models/{name}/*/{name}"))).load()
        for name in (task_teacher(check_parameters(raw_parameters())), "student_encoder")
    )
    return teacher, student


@quietly()
def outcome_of(task: str, seed: int, states: Path) -> Outcome:
    """Agora and all rivals of one task and seed; what is in the states, as the teacher soon is, is found there."""
    finetune = base_finetuning(
        training={"seeds": [seed], "num_threads": 1},
        teacher={"training": {"num_threads": 1, "learning_rates": list(TEACHER_RATES)}},
        agora={"seed": 1000 * seed},
        rivals=list(RIVALS),
    )
    documents = pd.read_parquet(latest("02_intermediate/corpus_documents.parquet/*/*.parquet"))
    examples, _ = builder_of(task)(documents, finetune)
    teacher, student = encoders()
    kept = TrainingStates(states, keep=1)
    classifier, _, taught, report = teacher_tuner_of(task)(examples, teacher, kept, finetune)
    _, _, predictions, own = student_tuner_of(task)(examples, student, kept, finetune, teacher, classifier, report)
    tables, reports = {own["method"]: predictions}, {own["method"]: own}
    if report["check"]["is_over"]:
        _, rivals, rival_reports = rival_tuner_of(task)(examples, student, kept, finetune, own, teacher, classifier)
        tables |= dict(iter(rivals.groupby("method")))
        reports |= rival_reports
    test = {method: rows[rows["split"] == "test"] for method, rows in tables.items()}
    taught = taught[taught["split"] == "test"]
    return Outcome(
        task,
        seed,
        report["check"]["score"],
        float((taught["label"] == taught["prediction"]).mean()),
        report["check"]["is_over"],
        {method: (rows["label"] == rows["prediction"]).to_numpy() for method, rows in test.items()},
        {method: each["num_steps"] for method, each in reports.items()},
        {method: each["num_steps_done"] for method, each in reports.items()},
        {method: each["seconds"] for method, each in reports.items()},
        floor_accuracies(task, examples, finetune),
        own["rounds"],
    )


def outcomes(tasks: Sequence[str], seeds: Sequence[int], states: Path) -> list[Outcome]:
    """All tasks with all seeds."""
    jobs = [(task, seed, states) for seed in seeds for task in tasks]
    with fresh_processes(NUM_PROCESSES, {}) as pool:
        running = [pool.submit(outcome_of, *job) for job in jobs]
        return [each.result() for each in running]


@dataclass(frozen=True)
class Lead:
    """How far Agora is ahead of a rival, over all seeds.

    Args:
        value: Mean difference of the accuracies on test.
        seeds_error: Standard error of that mean over the seeds.
        examples_error: Over the test examples, of their mean differences over the seeds.
    """

    value: float
    seeds_error: float
    examples_error: float

    @property
    def error(self) -> float:
        """Both together, as independent."""
        return float(np.hypot(self.seeds_error, self.examples_error))

    @property
    def is_above_noise(self) -> bool:
        """More than two standard errors above zero."""
        return self.value > 2 * self.error


def lead_over(rival: str, found: Sequence[Outcome]) -> Lead:
    """Agora against one rival on one task; each seed against the same seed, each example against itself."""
    differences = np.stack([each.right[AGORA].astype(float) - each.right[rival] for each in found])
    by_seed, by_example = differences.mean(axis=1), differences.mean(axis=0)
    return Lead(
        float(differences.mean()),
        float(by_seed.std(ddof=1) / np.sqrt(len(by_seed))),
        float(by_example.std(ddof=1) / np.sqrt(len(by_example))),
    )

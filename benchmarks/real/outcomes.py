"""One arm on one task: fine-tuned plainly, exported, and kept, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.finetune.builtin import base_finetuning
from benchmarks.own_process import fresh_processes, on_the_cpu, quietly
from benchmarks.real.setting import MAX_TOKENS, TASK_TOKENS, Setting
from benchmarks.real.tasks import task_data
from bort_kedro import __version__
from bort_kedro.datasets.pending import pending
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.frozen import FrozenModel
from bort_kedro.progress import track

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.finetuning.data import EncodedTask, TaskData
    from bort_kedro.finetuning.settings import FinetuningSettings

# Two trainings of small models side by side are faster than one with two threads.
NUM_PROCESSES = 2
# Runtimes whose answers may differ from PyTorch's by more than rounding.
SCORED_RUNTIMES = ("onnx_int8",)
PREDICTION_TOKENS = 4096


class Outcome(FrozenModel):
    """What an arm answers to the test split of a task.

    Args:
        task: Its name.
        seed: Of head, batches and dropout.
        answers: One for each row.
        exported: Likewise, by runtime.
        dev_score: Of the pass and rate that dev chose.
        learning_rate: That one.
        num_steps: Of all trainings.
        seconds: Of all trainings.
    """

    task: str
    seed: int
    answers: tuple[str, ...]
    exported: dict[str, tuple[str, ...]]
    dev_score: float
    learning_rate: float
    num_steps: int
    seconds: float


@dataclass(frozen=True)
class Job:
    """An arm, a task and a seed.

    Args:
        arm: Name of the arm.
        encoder: Pretrained.
        is_exported: Whether it is scored in other runtimes too.
        task: Name of the task.
        seed: Of head, batches and dropout.
    """

    arm: str
    encoder: Pretrained
    is_exported: bool
    task: str
    seed: int


def outcomes_of(
    jobs: Sequence[Job], folder: Path, setting: Setting, states: Path
) -> dict[tuple[str, str, int], Outcome]:
    """By arm, task and seed; two jobs at a time, one thread each, and jobs that are alike once."""
    alike: dict[tuple[Any, ...], list[Job]] = {}
    for job in jobs:
        alike.setdefault((job.encoder.fingerprint, job.is_exported, job.task, job.seed), []).append(job)
    with fresh_processes(NUM_PROCESSES, on_the_cpu(1)) as pool:
        coming = {pool.submit(outcome_of, same[0], folder, setting, states): same for same in alike.values()}
        done = track(as_completed(coming), "fine-tuning", total=len(coming))
        return {(job.arm, job.task, job.seed): each.result() for each in done for job in coming[each]}


@quietly()
def outcome_of(job: Job, folder: Path, setting: Setting, states: Path) -> Outcome:
    """Found among the outcomes, or trained; a training that was killed goes on from its last state."""
    data = task_data(job.task, folder, setting)
    encoded = data.encoded(job.encoder, max_tokens=MAX_TOKENS)
    settings = finetuning_settings(encoded, job.seed, setting)
    key = _key(job, encoded, settings)
    file = states / "outcomes" / f"{key}.json"
    if not file.exists():
        trainings = states / "trainings" / key
        found = _trained(job, data, settings, TrainingStates(trainings, keep=1))
        with pending(file) as temporary:
            temporary.write_text(json.dumps(found.to_json(), indent=1) + "\n", "utf-8")
        # A hundred classifiers of a real encoder fill a disk, and what they answer is known.
        shutil.rmtree(trainings, ignore_errors=True)
    return Outcome.from_json(json.loads(file.read_text("utf-8")))


def finetuning_settings(encoded: EncodedTask, seed: int, setting: Setting) -> FinetuningSettings:
    """For all arms alike; a task with few tokens is seen more often."""
    fewest, most = setting.passes
    num_tokens = int(encoded.splits["train"].unit_lengths.sum())
    training: dict[str, Any] = {
        "learning_rates": list(setting.learning_rates),
        "batch_tokens": [TASK_TOKENS],
        "seeds": [seed],
        "max_tokens": MAX_TOKENS,
        "num_epochs": float(min(most, max(fewest, round(setting.tokens_seen / num_tokens)))),
        "patience": None,
        "dropout": 0.1,
        "num_threads": 1,
    }
    return base_finetuning(method="plain", tasks=[encoded.task.name], training=training).training


def _key(job: Job, encoded: EncodedTask, settings: FinetuningSettings) -> str:
    """All that the answers depend on, so that arms that are alike are trained once."""
    identity = {
        "encoder": job.encoder.fingerprint,
        "splits": {split: rows.fingerprint for split, rows in encoded.splits.items()},
        "settings": settings.to_json(),
        "exports": SCORED_RUNTIMES if job.is_exported else (),
        "version": __version__,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return f"{job.task}-{digest[:16]}"


def _trained(job: Job, data: TaskData, settings: FinetuningSettings, states: TrainingStates) -> Outcome:
    from bort_kedro.finetuning.finetune import conclude, student_task, train_plainly
    from bort_kedro.finetuning.theta import build_theta
    from bort_kedro.training.threads import cpu_threads

    began = time.perf_counter()
    with cpu_threads(settings.num_threads):
        task = student_task(job.encoder, data, build_theta(settings, draw_seed=0), settings, states)
        result = train_plainly(task)
        finetuned = conclude(task, result)
        exported = exported_answers(finetuned.model, task.encoded) if job.is_exported else {}
    answers = finetuned.predictions.query("split == 'test'")["prediction"]
    return Outcome(
        task=job.task,
        seed=job.seed,
        answers=tuple(answers),
        exported=exported,
        dev_score=result.best.score,
        learning_rate=result.best.hyperparameters.learning_rate,
        num_steps=finetuned.report.num_steps,
        seconds=time.perf_counter() - began,
    )


def exported_answers(model: Pretrained, encoded: EncodedTask) -> dict[str, tuple[str, ...]]:
    """What a fine-tuned model answers to the test split in each runtime that is scored."""
    from bort_kedro.exports.folder import RuntimeModel
    from bort_kedro.exports.runtimes import convert, open_session
    from bort_kedro.finetuning.objectives import answers_of, predict

    form, test = encoded.task.form, encoded.splits["test"]
    found = {}
    for name in SCORED_RUNTIMES:
        with TemporaryDirectory() as place:
            convert(name, model.model, [], Path(place))
            session = RuntimeModel(open_session(name, Path(place), num_threads=1), model.model.config)
            outputs = predict(session, form, test, batch_tokens=PREDICTION_TOKENS)
        found[name] = tuple(answers_of(form, encoded.labels, outputs, test.target_starts))
    return found

"""Fine-tuning of one task from beginning to end: the teacher, the student by Agora or plainly, and the rivals."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState

from bort_kedro.core.agora import AgoraRun
from bort_kedro.core.near_duplicates import NearDuplicates
from bort_kedro.core.teacher_bar import check_teacher
from bort_kedro.core.theta import HyperparameterSet, build_theta
from bort_kedro.errors import TaskError, TeacherError
from bort_kedro.models.pretrained import Pretrained
from bort_kedro.training.agora import MethodRecord, MethodResult, StudentTask, run_agora
from bort_kedro.training.points import PointMaker, PointSettings
from bort_kedro.training.rivals import Material, ScheduledRound, run_rival
from bort_kedro.training.task_data import check_examples
from bort_kedro.training.task_encoding import TaskEncoder
from bort_kedro.training.task_objectives import predict
from bort_kedro.training.transformation import Transformation, TransformationSettings
from bort_kedro.training.trials import TrialSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from bort_kedro.core.tasks import Task
    from bort_kedro.core.units import Unit
    from bort_kedro.training.task_data import EncodedTask, TaskData

# Predictions need no gradients, so their batches may be larger than those of a training.
PREDICTION_TOKENS = 8192
PREDICTED_SPLITS = ("dev", "test", "submission")


@dataclass(frozen=True)
class ThetaSettings:
    """What Theta is made of. Units and meaning stand in `params.TrialParams`."""

    learning_rates: tuple[float, ...]
    weight_decays: tuple[float, ...]
    warmup_shares: tuple[float, ...]
    batch_tokens: tuple[int, ...]
    seeds: tuple[int, ...]
    max_sets: int | None

    def build(self, seed: int) -> tuple[HyperparameterSet, ...]:
        """The sets, some of them drawn by ``seed`` where there are too many."""
        return build_theta(**asdict(self), draw_seed=seed)


@dataclass(frozen=True)
class AgoraSettings:
    """How Agora goes. Units and meaning stand in `params.AgoraParams`."""

    seed: int
    max_replays: int
    distillation_share: float
    points: PointSettings
    transformation: TransformationSettings


@dataclass(frozen=True)
class Finetuned:
    """A model for a task, and what is known of it.

    Args:
        model: On the CPU, with its tokenizer.
        predictions: See `task_data.EncodedTask.predictions`: dev, test and submission, as far as there are such.
        history: Rows ``method``, ``round``, ``setting``, ``step`` and those of the training.
        report: JSON-able.
    """

    model: Pretrained
    predictions: pd.DataFrame
    history: list[dict[str, Any]]
    report: dict[str, Any]


def train_plainly(task: StudentTask, *, method: str = "plain") -> MethodResult:
    """One trial for each hyperparameter set, the best on dev kept.

    Raises:
        TrainingError: If every trial diverges.
    """
    examples = task.encoded.splits["train"]
    trials = [task.train(examples, place, method=method, number=0) for place in range(len(task.theta))]
    plan = AgoraRun(len(task.theta), 0).next_round()
    assert plan is not None  # noqa: S101 - Theta is never empty
    record = MethodRecord(method, task.data.task.name)
    record.add(plan, None, trials, examples)
    return record.result()


def conclude(task: StudentTask, result: MethodResult) -> Finetuned:
    """What a method leaves: its model with what it says of dev, test and the official test."""
    assert result.best.model is not None  # noqa: S101 - methods raise where every trial diverged
    model = Pretrained(result.best.model, task.student.tokenizer)
    outputs = outputs_of(model, task.encoded)
    encoded = task.encoded
    report = {
        "task": task.data.task.name,
        "form": str(task.data.task.form),
        "metrics": list(task.data.task.metrics),
        "labels": list(task.data.labels),
        "num_examples": {split: len(rows) for split, rows in encoded.splits.items()},
        "num_units": {split: rows.num_units for split, rows in encoded.splits.items()},
        "truncated_share": encoded.truncated_share,
        **result.to_report(),
    }
    return Finetuned(model, encoded.predictions(outputs), result.history(), report)


def outputs_of(model: Pretrained, encoded: EncodedTask) -> dict[str, NDArray[np.float64]]:
    """What a model says of every split that is scored or sent in; it is run on the device there is."""
    model.model.to(PartialState().device)
    outputs = {
        split: predict(model.model, encoded.task.form, encoded.splits[split], batch_tokens=PREDICTION_TOKENS)
        for split in PREDICTED_SPLITS
        if split in encoded.splits
    }
    model.model.cpu()
    return outputs


def require_strong_teacher(check: Mapping[str, Any], task: str) -> None:
    """Stop where the teacher is too weak to label anything.

    Raises:
        TeacherError: If it is not over its bar.
    """
    if not check["is_over"]:
        raise TeacherError(f"Task `{task}`: {weakness(check)} {CHOICES_OF_A_WEAK_TEACHER}")


def weakness(check: Mapping[str, Any]) -> str:
    """What a teacher that is not over its bar lacks, as a sentence."""
    return (
        f"the fine-tuned teacher reaches {check['score']:.1%} on dev and must be over {check['bar']:.1%} to label new "
        f"points (chance {check['chance']:.1%}, majority {check['majority']:.1%})."
    )


CHOICES_OF_A_WEAK_TEACHER = (
    "Give it more examples or epochs (params:finetune.teacher.training), name a stronger one "
    "(params:finetune.teacher.pretrained), or set params:finetune.weak_teacher to `plain`, which fine-tunes such tasks "
    "without Agora."
)


class TaskTeacher:
    """A fine-tuned larger encoder as Agora uses it.

    Args:
        classifier: Fine-tuned on the task.
        masked_lm: The encoder it comes from, with the head that replaces words.
        data: Of the task.
        settings: Of Agora.
        max_tokens: Longest input of the classifier.
    """

    def __init__(
        self, classifier: Pretrained, masked_lm: Pretrained, data: TaskData, settings: AgoraSettings, max_tokens: int
    ) -> None:
        self._classifier, self._masked_lm, self._data, self.settings = classifier, masked_lm, data, settings
        self._encoder = TaskEncoder(classifier, data.task, data.labels, max_tokens=max_tokens)
        self._max_tokens = max_tokens
        for model in (classifier.model, masked_lm.model):
            model.to(PartialState().device)

    def says(self, units: Sequence[Unit]) -> NDArray[np.float64]:
        """(N, C) of the rows of these units."""
        examples = self._encoder(units)
        return predict(self._classifier.model, self._data.task.form, examples, batch_tokens=PREDICTION_TOKENS)

    def points(self, states: Any) -> PointMaker:
        """Makes points that repeat neither dev nor test, labelled by this teacher."""
        settings, data = self.settings, self._data
        references = [unit for split in PREDICTED_SPLITS for unit in data.units.get(split, ())]
        texts = json.dumps([unit.rows for unit in references])
        identity = {
            "teacher": self._classifier.fingerprint,
            "masked_lm": self._masked_lm.fingerprint,
            "transformation": asdict(settings.transformation),
            "references": hashlib.sha256(texts.encode()).hexdigest(),
            "max_tokens": self._max_tokens,
            "num_threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        near = NearDuplicates(
            references, max_overlap=settings.points.max_overlap, ngram_words=settings.points.ngram_words
        )
        tau = Transformation(self._masked_lm, settings.transformation)
        return PointMaker(tau, near, self.says, identity, data.task, settings.points, states)


def fine_tune_teacher(task: StudentTask) -> tuple[Finetuned, dict[str, Any]]:
    """Fine-tune a larger encoder plainly, and say whether it is strong enough to teach.

    Returns:
        The teacher, and JSON-able: ``score`` and ``bar`` and whether it ``is_over``, see `core.teacher_bar`.
    """
    finetuned = conclude(task, train_plainly(task, method="teacher"))
    predictions = finetuned.predictions
    check = check_teacher(task.data.task, task.data.labels, predictions[predictions["split"] == "dev"])
    return finetuned, asdict(check)


def fine_tune_by_agora(task: StudentTask, teacher: TaskTeacher) -> MethodResult:
    """Agora with a teacher that was checked."""
    settings = teacher.settings
    return run_agora(
        task,
        teacher.points(task.states),
        max_replays=settings.max_replays,
        max_points_share=settings.points.max_points_share,
        seed=settings.seed,
    )


def fine_tune_rivals(
    methods: Sequence[str],
    task: StudentTask,
    agora_report: Mapping[str, Any],
    teacher: TaskTeacher,
) -> list[MethodResult]:
    """The methods that Agora is held against, each with as many trials and steps."""
    settings = teacher.settings
    schedule = [ScheduledRound.from_row(row) for row in agora_report["rounds"]]
    material = Material(
        teacher.points(task.states),
        cache(lambda: teacher.says(task.data.units["train"])),
        settings.points.points_per_mistake,
        settings.distillation_share,
        settings.seed,
    )
    return [run_rival(method, task, schedule, material) for method in methods]


def student_task(
    student: Pretrained,
    data: TaskData,
    theta: Sequence[HyperparameterSet],
    settings: TrialSettings,
    states: Any,
    on_trial: Callable[..., None],
) -> StudentTask:
    """Everything a method needs, the examples encoded."""
    return StudentTask(
        student, data, data.encoded(student, max_tokens=settings.max_tokens), theta, settings, states, on_trial
    )


def answer_diagnostic(
    model: Pretrained, task: Task, examples: pd.DataFrame, *, max_tokens: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Answer a diagnostic with the model of another task.

    Returns:
        The predictions, and JSON-able what the report of a fine-tuning would say of the examples.

    Raises:
        TaskError: If the model answers with other labels than the diagnostic has.
    """
    labels = [model.model.config.id2label[place] for place in range(model.model.config.num_labels)]
    if sorted(labels) != sorted(task.labels):
        raise TaskError(
            f"Task `{task.name}` has the labels {', '.join(task.labels)}, and the model that is to answer it "
            f"{', '.join(labels)}. Fine-tune one of {' or '.join(task.scored_with)} in the same run."
        )
    data = check_examples(examples, replace(task, labels=tuple(labels)))
    encoded = data.encoded(model, max_tokens=max_tokens)
    report = {
        "task": task.name,
        "form": str(task.form),
        "metrics": list(task.metrics),
        "labels": labels,
        "num_examples": {split: len(rows) for split, rows in encoded.splits.items()},
        "num_units": {split: rows.num_units for split, rows in encoded.splits.items()},
        "truncated_share": encoded.truncated_share,
        "method": "diagnostic",
        "num_trials": 0,
        "seconds": 0.0,
        "num_tokens": 0,
    }
    return encoded.predictions(outputs_of(model, encoded)), report

"""Fine-tuning of one task from beginning to end: the teacher, the student by Agora or plainly, and the rivals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

import pandas as pd
from accelerate import PartialState

from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.errors import TaskError
from bort_kedro.finetuning.data import check_examples
from bort_kedro.finetuning.methods import MethodRecord, MethodResult, StudentTask
from bort_kedro.finetuning.objectives import answers_of, predict
from bort_kedro.finetuning.report import FinetuningReport, MethodReport
from bort_kedro.finetuning.rounds import Round
from bort_kedro.finetuning.temperature import calibrations
from bort_kedro.frozen import JsonObject
from bort_kedro.tasks.labels import output_columns
from bort_kedro.training.saved_state import States

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from bort_kedro.finetuning.data import EncodedTask, TaskData
    from bort_kedro.finetuning.methods import RoundResult
    from bort_kedro.finetuning.rounds import Draw
    from bort_kedro.finetuning.settings import TrialSettings
    from bort_kedro.finetuning.theta import HyperparameterSet
    from bort_kedro.tasks.table import Task

# Predictions need no gradients, so their batches may be larger than those of a training.
PREDICTION_TOKENS = 8192
UNSEEN_SPLITS = ("test", "submission")
PREDICTED_SPLITS = ("dev", *UNSEEN_SPLITS)
POINT_COLUMNS = ["round", "is_kept", "made_by", "source", "source_pair", "text", "text_pair", "answer"]


@dataclass(frozen=True)
class Finetuned:
    """A model for a task, and what is known of it.

    Args:
        model: On the CPU, with its tokenizer.
        predictions: See `task_data.EncodedTask.predictions`: dev, test and submission, as far as there are such.
        history: Rows ``method``, ``round``, ``setting``, ``step`` and those of the training.
        report: Its trials and what they cost.
    """

    model: Pretrained
    predictions: pd.DataFrame
    history: list[JsonObject]
    report: FinetuningReport


def train_plainly(task: StudentTask, *, method: str = "plain") -> MethodResult:
    """One trial for each hyperparameter set, the best on dev kept.

    Raises:
        TrainingError: If every trial diverges.
    """
    examples = task.encoded.splits["train"]
    trials = [task.train(examples, place, method=method, number=0) for place in range(len(task.theta))]
    plan = Round.first(len(task.theta))
    record = MethodRecord(method, task.data.task.name)
    record.add(plan, None, trials, examples)
    return record.result()


def learn_dev_too(task: StudentTask, result: MethodResult) -> MethodResult:
    """Once dev has chosen, train once more on what was best and on dev.

    The training has the hyperparameters that were best and as many passes over its examples, and no look at dev but the
    last, since it has seen every row of it. Where it diverges nothing is changed.
    """
    examples = result.examples.joined(task.encoded.splits["dev"])
    num_steps = max(1, round(result.best.num_steps * examples.num_units / result.examples.num_units))
    last = task.train(
        examples,
        result.setting,
        # Told by a name of its own, since of dev it scores what it has seen.
        method=f"{result.method} with dev",
        number=len(result.rounds),
        num_steps=num_steps,
        look_every=num_steps,
    )
    return result if last.model is None else replace(result, last=last)


def conclude(task: StudentTask, result: MethodResult) -> Finetuned:
    """What a method leaves: its model with what it says of test and the official test.

    Of dev it is what the best trial said, which had not learned from it.
    """
    kept = result.last or result.best
    assert kept.model is not None  # noqa: S101 - methods raise where every trial diverged
    model = Pretrained(kept.model, task.student.tokenizer)
    outputs = {"dev": result.best.dev_outputs}
    outputs |= outputs_of(model, task.encoded, precision=task.settings.mixed_precision, splits=UNSEEN_SPLITS)
    report = _report(task.data, task.encoded, result.report())
    if result.temperature is not None:
        found = calibrations(task.encoded, outputs, result.temperature)
        report = report.model_copy(update={"calibration": found})
    return Finetuned(model, task.encoded.predictions(outputs), result.history(), report)


def points_table(task: StudentTask, rounds: Sequence[RoundResult]) -> pd.DataFrame:
    """The new points of all rounds of a method, with what the teacher says of them; a row for each row of a point.

    Returns:
        Columns ``round``, ``is_kept`` (False where the round was replayed with other points), ``made_by``, ``source``
        and ``source_pair``, which it was made of, ``text``, ``text_pair``, ``answer``, the teacher's, and its outputs
        in the columns that `EncodedTask.predictions` has for those of a model.
    """
    tables = [
        _points_of(task, each.draw).assign(round=each.plan.number, is_kept=each.plan.number in rounds[-1].plan.draws)
        for each in rounds
        if each.draw is not None and each.draw.units
    ]
    if not tables:
        return pd.DataFrame(columns=POINT_COLUMNS)
    whole = pd.concat(tables, ignore_index=True)
    return whole[[*POINT_COLUMNS, *whole.columns.difference(POINT_COLUMNS, sort=False)]]


def _points_of(task: StudentTask, draw: Draw) -> pd.DataFrame:
    form, labels = task.data.task.form, task.encoded.labels
    # A recorded question may have more options than the one that it was drawn for, or fewer.
    rows = [
        (unit.made_by, *(source or ("", None)), *row)
        for unit in draw.units
        for row, source in zip_longest(unit.rows, unit.made_of.rows[: len(unit.rows)] if unit.made_of else ())
    ]
    answers = answers_of(form, labels, draw.targets, task.encoded.encoder(draw.units).target_starts)
    table = pd.DataFrame(rows, columns=POINT_COLUMNS[2:-1]).assign(answer=answers)
    columns = output_columns(form, labels)
    return pd.concat([table, pd.DataFrame(draw.targets, columns=columns)], axis=1) if columns else table


def _report(data: TaskData, encoded: EncodedTask, found: MethodReport) -> FinetuningReport:
    """What a method found, with what is known of the examples."""
    return FinetuningReport(
        task=data.task.name,
        form=str(data.task.form),
        metrics=data.task.metrics,
        labels=data.labels,
        num_examples={split: len(rows) for split, rows in encoded.tables.items()},
        num_units={split: rows.num_units for split, rows in encoded.splits.items()},
        truncated_share=encoded.truncated_share,
        **dict(found),
    )


def outputs_of(
    model: Pretrained, encoded: EncodedTask, *, precision: str, splits: Sequence[str] = PREDICTED_SPLITS
) -> dict[str, NDArray[np.float64]]:
    """What a model says of those of some splits that there are; it is run on the device there is, as in training."""
    model.model.to(PartialState().device)
    outputs = {
        split: predict(
            model.model, encoded.task.form, encoded.splits[split], batch_tokens=PREDICTION_TOKENS, precision=precision
        )
        for split in splits
        if split in encoded.splits
    }
    model.model.cpu()
    return outputs


def student_task(
    student: Pretrained,
    data: TaskData,
    theta: Sequence[HyperparameterSet],
    settings: TrialSettings,
    states: States,
) -> StudentTask:
    """Everything a method needs, the examples encoded."""
    return StudentTask(student, data, data.encoded(student, max_tokens=settings.max_tokens), theta, settings, states)


def answer_diagnostic(
    model: Pretrained, task: Task, examples: pd.DataFrame, *, max_tokens: int, precision: str = "no"
) -> tuple[pd.DataFrame, FinetuningReport]:
    """Answer a diagnostic with the model of another task.

    Returns:
        The predictions, and what the report of a fine-tuning says of the examples.

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
    outputs = outputs_of(model, encoded, precision=precision)
    return encoded.predictions(outputs), _report(data, encoded, MethodReport(method="diagnostic"))

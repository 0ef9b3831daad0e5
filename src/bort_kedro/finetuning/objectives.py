"""What each form of task asks of a model: its loss, its answers, and which of them are mistakes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from bort_kedro.finetuning.encoding import NO_OPTION, Batch, EncodedExamples
from bort_kedro.tasks.table import RIGHT, WRONG, Form
from bort_kedro.training.steps import Loss
from bort_kedro.training.threads import autocast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def logits_of(model: nn.Module, batch: Batch) -> Tensor:
    """(B, C) in float32."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
    logits: Tensor = model(**inputs).logits
    return logits.float()


def objective_of(form: Form, class_weights: Sequence[float] | None = None) -> Loss:
    """The loss of a form of task: cross-entropy with the targets in nats, or the squared error of a regression.

    Targets may be distributions, so that a teacher's beliefs are learned as hard labels are. Of multiple choice the
    options of a question share one softmax.

    Args:
        form: Of the task.
        class_weights: One for each label, of classification; a row counts by that of its target.
    """
    weights = None if class_weights is None else torch.tensor(list(class_weights))

    def classification(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits, targets = logits_of(model, batch), batch["targets"]
        counted = targets if weights is None else targets * weights.to(targets)
        loss = -(counted * logits.log_softmax(-1)).sum() / counted.sum()
        return {"loss": loss, "accuracy": (logits.argmax(-1) == targets.argmax(-1)).float().mean()}

    def regression(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"loss": nn.functional.mse_loss(logits_of(model, batch), batch["targets"])}

    def multiple_choice(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        scores, targets = (
            by_question(logits_of(model, batch), batch["option_rows"], fill=float("-inf")),
            batch["targets"],
        )
        wanted = by_question(targets, batch["option_rows"], fill=0.0)
        # A place without an option has no probability and no share; 0 * -inf would be no number.
        log_shares = scores.log_softmax(-1).masked_fill(batch["option_rows"] == NO_OPTION, 0.0)
        is_right = wanted.gather(1, scores.argmax(-1, keepdim=True)) > 0
        return {"loss": -(wanted * log_shares).sum(-1).mean(), "accuracy": is_right.float().mean()}

    return {
        Form.CLASSIFICATION: classification,
        Form.REGRESSION: regression,
        Form.MULTIPLE_CHOICE: multiple_choice,
    }[form]


def by_question(values: Tensor, option_rows: Tensor, *, fill: float) -> Tensor:
    """(U, O) the values (B, 1) of each question's options, ``fill`` where it has no more."""
    gathered = values[:, 0][option_rows.clamp(min=0)]
    return gathered.masked_fill(option_rows == NO_OPTION, fill)


def predict(
    model: nn.Module, form: Form, examples: EncodedExamples, *, batch_tokens: int, precision: str = "no"
) -> NDArray[np.float64]:
    """What a model says of every row; dropout is off, and the model is left in evaluation mode.

    Args:
        model: On its device.
        form: Of the task.
        examples: The rows.
        batch_tokens: Padded tokens of a batch.
        precision: Of the passes, such as that of the training.

    Returns:
        (N, C): probabilities of the labels, the value of a regression, or the probability of an option among those of
        its question.
    """
    model.eval()
    device = next(model.parameters()).device
    outputs = np.zeros(examples.targets.shape)
    for units in examples.batches(batch_tokens=batch_tokens):
        batch = {name: value.to(device) for name, value in examples.batch(units).items()}
        with torch.inference_mode():
            with autocast(device, precision):
                logits = logits_of(model, batch).double()
            if form == Form.CLASSIFICATION:
                logits = logits.softmax(-1)
            elif form == Form.MULTIPLE_CHOICE:
                shares = by_question(logits, batch["option_rows"], fill=float("-inf")).softmax(-1)
                logits = shares[batch["option_rows"] != NO_OPTION][:, None]
        outputs[examples.rows_of(units)] = logits.cpu().numpy()
    return outputs


def likeliest_options(outputs: NDArray[np.float64], starts: Sequence[int] | NDArray[np.int64]) -> list[int]:
    """(U,) the row of each question's likeliest option, the first among equals.

    Args:
        outputs: (N, 1) of the rows.
        starts: (U + 1,) first rows of the questions, and the number of rows.
    """
    return [start + int(outputs[start:stop, 0].argmax()) for start, stop in pairwise(starts)]


def answers_of(form: Form, labels: Sequence[str], outputs: NDArray[np.float64], starts: NDArray[np.int64]) -> list[str]:
    """(N,) the answer to every row as text: a label, a number, or `right` for the likeliest option of a question."""
    if form == Form.REGRESSION:
        return [f"{value:.6g}" for value in outputs[:, 0]]
    if form == Form.MULTIPLE_CHOICE:
        answers = [WRONG] * len(outputs)
        for row in likeliest_options(outputs, starts):
            answers[row] = RIGHT
        return answers
    return [labels[index] for index in outputs.argmax(-1)]


def mistakes_of(form: Form, outputs: NDArray[np.float64], examples: EncodedExamples) -> list[int]:
    """Units that are answered wrongly.

    A regression has no wrong answers, only bad ones: our extension counts those further from the truth than half the
    standard deviation of the true values.
    """
    targets, starts = examples.targets, examples.starts
    if form == Form.REGRESSION:
        is_wrong = np.abs(outputs - targets)[:, 0] > targets.std() / 2
    elif form == Form.MULTIPLE_CHOICE:
        is_wrong = targets[likeliest_options(outputs, starts), 0] == 0
    else:
        is_wrong = outputs.argmax(-1) != targets.argmax(-1)
    return np.flatnonzero(is_wrong).tolist()


def balanced_weights(examples: EncodedExamples) -> list[float]:
    """One weight for each label, inverse to its share of the targets as scikit-learn's ``balanced``; 0 for a label that
    never occurs."""
    counts = examples.targets.sum(axis=0)
    return [float(counts.sum() / (len(counts) * count)) if count else 0.0 for count in counts]

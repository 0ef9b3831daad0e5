"""A model with what its task asks of it: losses, what it says of examples, its answers and its mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from bort_kedro.finetuning.encoding import Batch, EncodedExamples
from bort_kedro.finetuning.forms import FORMS
from bort_kedro.tasks.table import Form
from bort_kedro.training.steps import Loss
from bort_kedro.training.threads import autocast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def logits_of(model: nn.Module, batch: Batch) -> Tensor:
    """(B, C) in float32, of words (A, C): those of the tokens that answer."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
    logits: Tensor = model(**inputs).logits
    if "answering" in batch:
        logits = logits.flatten(0, 1)[batch["answering"]]
    return logits.float()


def objective_of(form: Form, class_weights: Sequence[float] | None = None) -> Loss:
    """The loss of a form of task, see `forms`.

    Args:
        form: Of the task.
        class_weights: One for each label, of forms that have labels; a target counts by that of its label.
    """
    asked, weights = FORMS[form], None if class_weights is None else torch.tensor(list(class_weights))
    return lambda model, batch: asked.loss(logits_of(model, batch), batch, weights)


def predict(
    model: nn.Module, form: Form, examples: EncodedExamples, *, batch_tokens: int, precision: str = "no"
) -> NDArray[np.float64]:
    """What a model says of every target; dropout is off, and the model is left in evaluation mode.

    Args:
        model: On its device.
        form: Of the task.
        examples: The rows.
        batch_tokens: Padded tokens of a batch.
        precision: Of the passes, such as that of the training.

    Returns:
        (T, C): probabilities of the labels, the value of a regression, or the probability of an option among those of
        its question.
    """
    model.eval()
    device = next(model.parameters()).device
    outputs = np.zeros(examples.targets.shape)
    divided = examples.divided
    for units in divided.batches(batch_tokens=batch_tokens):
        batch = {name: value.to(device) for name, value in divided.batch(units).items()}
        with torch.inference_mode():
            with autocast(device, precision):
                logits = logits_of(model, batch).double()
            said = FORMS[form].outputs(logits, batch)
        outputs[divided.targets_of(units)] = said.cpu().numpy()
    return outputs


def answers_of(form: Form, labels: Sequence[str], outputs: NDArray[np.float64], starts: NDArray[np.int64]) -> list[str]:
    """The answer to every row as text: a label, a number, `right` for the likeliest option of a question, or tags.

    Args:
        form: Of the task.
        labels: In the order of the outputs.
        outputs: (T, C) of `predict`.
        starts: (U + 1,) ``target_starts`` of the examples.
    """
    return FORMS[form].answers(outputs, labels, starts)


def mistakes_of(form: Form, outputs: NDArray[np.float64], examples: EncodedExamples) -> list[int]:
    """Units that are answered wrongly."""
    return np.flatnonzero(FORMS[form].is_mistaken(outputs, examples.targets, examples.target_starts)).tolist()


def balanced_weights(examples: EncodedExamples) -> list[float]:
    """One weight for each label, inverse to its share of the targets as scikit-learn's ``balanced``; 0 for a label that
    never occurs."""
    counts = examples.targets.sum(axis=0)
    return [float(counts.sum() / (len(counts) * count)) if count else 0.0 for count in counts]

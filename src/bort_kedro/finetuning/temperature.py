"""One temperature for a fine-tuned classifier, found on dev and kept in the weights of its last layer.

Every format that a model is exported to has it then, and none has to know of it.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from bort_kedro.evaluation.calibration import Calibration, at_temperature, calibration_of, fit_temperature
from bort_kedro.finetuning.forms import FORMS
from bort_kedro.finetuning.objectives import logits_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from bort_kedro.finetuning.data import EncodedTask
    from bort_kedro.finetuning.encoding import Batch
    from bort_kedro.finetuning.methods import MethodResult, StudentTask

LOGGER = logging.getLogger(__name__)
# Of the largest logit: what rounding may make of it.
ROUNDING = 1e-3
# Units of dev that a model is asked with its new weights.
NUM_ASKED = 4


def calibrate(task: StudentTask, result: MethodResult) -> MethodResult:
    """Divide the logits of the model that a method leaves by the temperature that fits dev best.

    It is fitted to what the best trial says, which had not learned from dev. No answer changes.

    Returns:
        The same with a new model, with ``dev_outputs`` at that temperature; a regression, which has none, as it is.
    """
    form, dev, best = task.data.task.form, task.encoded.splits["dev"], result.best
    questions = FORMS[form].questions(best.dev_outputs, dev.target_starts)
    if questions is None:
        return result
    kept, outputs = result.last or best, best.dev_outputs.ravel()
    assert kept.model is not None  # noqa: S101 - methods raise where every trial diverged
    temperature = fit_temperature(outputs, dev.targets.ravel(), questions)
    batch = dev.batch(range(min(NUM_ASKED, dev.num_units)))
    model = with_divided_logits(kept.model, temperature, batch)
    if model is None:
        LOGGER.warning(
            "Task `%s`: the probabilities of its model stay as they are, at temperature 1 instead of %.2f, since "
            "the layer that makes the logits of the family `%s` was not found.",
            task.data.task.name,
            temperature,
            kept.model.config.model_type,
        )
        model, temperature = kept.model, 1.0
    best = replace(best, dev_outputs=at_temperature(outputs, temperature, questions).reshape(best.dev_outputs.shape))
    if result.last is None:
        return replace(result, best=replace(best, model=model), temperature=temperature)
    return replace(result, best=best, last=replace(result.last, model=model), temperature=temperature)


@torch.no_grad()
def with_divided_logits(model: PreTrainedModel, temperature: float, batch: Batch) -> PreTrainedModel | None:
    """A copy of a classifier of any family whose logits are divided by a number.

    The last linear layer with as many outputs as there are labels makes them, in all classifiers of transformers for
    encoders. Whether it does is asked of the copy.

    Args:
        model: In evaluation mode; not changed.
        temperature: The number.
        batch: Of `EncodedExamples.batch`, to ask it, on the device of the model.

    Returns:
        None where the logits did not come out divided.
    """
    divided = copy.deepcopy(model)
    layers = [
        layer
        for layer in divided.modules()
        if isinstance(layer, nn.Linear) and layer.out_features == model.config.num_labels
    ]
    for parameter in layers[-1].parameters() if layers else ():
        parameter.div_(temperature)
    before, after = logits_of(model, batch), logits_of(divided, batch) * temperature
    return divided if (after - before).abs().max() <= ROUNDING * before.abs().max() else None


def calibrations(
    encoded: EncodedTask, outputs: Mapping[str, NDArray[np.float64]], temperature: float
) -> dict[str, Calibration]:
    """How well the probabilities of a calibrated model hold on each labelled split that it answered.

    Args:
        encoded: Has the true answers.
        outputs: By split, of a form that has probabilities, with the temperature in them.
        temperature: That logits were divided by.
    """
    found = {}
    for split in ("dev", "test"):
        if split in outputs:
            examples = encoded.splits[split]
            questions = FORMS[encoded.task.form].questions(outputs[split], examples.target_starts)
            assert questions is not None  # noqa: S101 - a regression has no temperature
            found[split] = calibration_of(outputs[split].ravel(), examples.targets.ravel(), questions, temperature)
    return found

"""One fine-tuning: a model trained with one set of hyperparameters, and found again where it was trained before."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from bort_kedro import __version__
from bort_kedro.encoders.encoder import build_classifier
from bort_kedro.errors import TrainingError
from bort_kedro.finetuning.forms import FORMS
from bort_kedro.finetuning.objectives import balanced_weights, objective_of, predict
from bort_kedro.finetuning.report import TrialReport
from bort_kedro.frozen import JsonObject
from bort_kedro.training.early_stopping import EarlyStopping
from bort_kedro.training.loop import train
from bort_kedro.training.saved_state import States
from bort_kedro.training.schedules import steps_of_warmup
from bort_kedro.training.settings import OptimizationSettings
from bort_kedro.training.threads import resolve_precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.finetuning.data import EncodedTask
    from bort_kedro.finetuning.encoding import EncodedExamples
    from bort_kedro.finetuning.settings import TrialSettings
    from bort_kedro.finetuning.theta import HyperparameterSet

LOGGER = logging.getLogger(__name__)
# What a training that diverged scores: no metric of `tasks.metrics` goes lower.
DIVERGED = -1.0


@dataclass(frozen=True)
class Trial:
    """A finished fine-tuning.

    Args:
        hyperparameters: That it was trained with.
        score: Of the task's first metric on dev, of the weights that were best there.
        dev_outputs: (T, C) what it says of dev, see `task_objectives.predict`.
        model: On the CPU, in evaluation mode; None of one that diverged, and in records.
        num_steps: Steps that were allowed.
        num_steps_done: Steps until early stopping ended it; 0 of one that diverged.
        look_every: Steps between two looks at dev, on which patience counts.
        seconds: Training time, looks at dev included.
        num_tokens: Trained on, padding left out; 0 of one that diverged.
        history: Rows of the training.
        looks: ``step`` and ``score`` of each look at dev.
        has_diverged: Whether it ended because its loss did.
    """

    hyperparameters: HyperparameterSet
    score: float
    dev_outputs: NDArray[np.float64]
    model: PreTrainedModel | None
    num_steps: int
    num_steps_done: int
    look_every: int
    seconds: float
    history: list[dict[str, float]] = field(default_factory=list)
    looks: list[dict[str, float]] = field(default_factory=list)
    has_diverged: bool = False
    num_tokens: int = 0

    def report(self) -> TrialReport:
        """Without weights, outputs and curves."""
        return TrialReport(
            **asdict(self.hyperparameters),
            num_steps=self.num_steps,
            num_steps_done=self.num_steps_done,
            look_every=self.look_every,
            dev_score=self.score,
            has_diverged=self.has_diverged,
            seconds=self.seconds,
            num_tokens=self.num_tokens,
        )


def output_names(task: EncodedTask) -> list[str]:
    """Names of the head's outputs."""
    return FORMS[task.task.form].output_names(task.labels)


def train_trial(
    encoder: Pretrained,
    task: EncodedTask,
    train_examples: EncodedExamples,
    hyperparameters: HyperparameterSet,
    settings: TrialSettings,
    *,
    states: States,
    num_steps: int | None = None,
    look_every: int | None = None,
    description: str = "",
) -> Trial:
    """Fine-tune a fresh copy of an encoder and keep its best weights on dev.

    Args:
        encoder: Pretrained; copied, never changed.
        task: Gives labels, dev and the metric. No other split is touched.
        train_examples: What is learned, with its targets.
        hyperparameters: A member of Theta.
        settings: What all trials share.
        states: Handle with ``of(name, identity)``, such as `datasets.training_states.TrainingStates`; a trial with
            the same identity is found there and not trained again.
        num_steps: Allowed; None is ``num_epochs`` passes over the examples.
        look_every: Steps between two looks at dev; None is ``looks_per_epoch`` of the examples.
        description: For the progress bar and errors; empty for silence.
    """
    form, dev, seed = task.task.form, task.splits["dev"], hyperparameters.seed
    batch_tokens = hyperparameters.batch_tokens
    per_epoch = train_examples.steps_per_epoch(batch_tokens=batch_tokens, seed=seed)
    allowed = num_steps or max(1, round(settings.num_epochs * per_epoch))
    optimization = trial_optimization(hyperparameters, settings, allowed)
    asked = FORMS[form]
    model = build_classifier(
        encoder.model, labels=output_names(task), seed=seed, dropout=settings.dropout, model_class=asked.model_class
    )
    dev_outputs = partial(
        predict, form=form, examples=dev, batch_tokens=batch_tokens, precision=optimization.mixed_precision
    )
    own_look = max(1, per_epoch // settings.looks_per_epoch)
    early_stopping = EarlyStopping(
        lambda trained: task.score("dev", dev_outputs(trained)),
        every_steps=look_every or own_look,
        patience=settings.patience,
        warmup_steps=steps_of_warmup(allowed, hyperparameters.warmup_share),
    )
    every = early_stopping.every_steps
    identity = trial_identity(encoder, task, train_examples, optimization, hyperparameters, settings)
    if every != own_look:
        # It follows from the examples and the settings otherwise.
        identity["look_every"] = every
    nothing = np.zeros(dev.targets.shape)
    diverged = Trial(hyperparameters, DIVERGED, nothing, None, allowed, 0, every, 0.0, has_diverged=True)
    is_weighted = settings.class_weights == "balanced" and form.has_labels
    try:
        result = train(
            model,
            objective_of(form, balanced_weights(train_examples) if is_weighted else None),
            train_examples.training_batches(batch_tokens=batch_tokens, seed=seed),
            optimization,
            states=states.of(f"finetune/{task.task.name}", identity),
            description=description,
            early_stopping=early_stopping,
        )
        score = float(early_stopping.best["score"])
        if not math.isfinite(score):
            raise TrainingError(f"{description}: no look at dev gave a number.")
    except TrainingError as fault:
        LOGGER.warning("%s. It counts as the worst of its round.", str(fault).split(". ")[0].removesuffix("."))
        return diverged
    # Where it was trained, so that what it says is what was scored.
    outputs = dev_outputs(model)
    return replace(
        diverged,
        score=score,
        dev_outputs=outputs,
        model=model.cpu(),
        num_steps_done=result.num_steps,
        seconds=result.seconds,
        history=result.history,
        looks=early_stopping.scores,
        has_diverged=False,
        num_tokens=result.num_tokens,
    )


def trial_optimization(
    hyperparameters: HyperparameterSet, settings: TrialSettings, num_steps: int
) -> OptimizationSettings:
    """How the weights of one trial move."""
    optimization = OptimizationSettings(
        num_steps=num_steps,
        learning_rate=hyperparameters.learning_rate,
        warmup_share=hyperparameters.warmup_share,
        weight_decay=hyperparameters.weight_decay,
        adam_beta2=settings.adam_beta2,
        adam_epsilon=settings.adam_epsilon,
        max_gradient_norm=settings.max_gradient_norm,
        seed=hyperparameters.seed,
        mixed_precision=settings.mixed_precision,
        checkpoint_every_steps=settings.checkpoint_every_steps,
        schedule="linear",
        bias_correction=True,
        gradient_accumulation_steps=1,
    )
    # Saved states are told apart by what `auto` is on this machine.
    return optimization.changed(mixed_precision=resolve_precision(settings.mixed_precision))


def trial_identity(
    encoder: Pretrained,
    task: EncodedTask,
    train_examples: EncodedExamples,
    optimization: OptimizationSettings,
    hyperparameters: HyperparameterSet,
    settings: TrialSettings,
) -> JsonObject:
    """All that a trial's weights depend on; a change of any part trains anew."""
    return {
        "encoder": encoder.fingerprint,
        "labels": output_names(task),
        "metric": task.task.metrics[0],
        "train": train_examples.fingerprint,
        "dev": task.splits["dev"].fingerprint,
        # How often states are kept changes nothing in the result.
        "optimization": optimization.model_dump(exclude={"checkpoint_every_steps"}, exclude_defaults=True),
        "batch_tokens": hyperparameters.batch_tokens,
        "looks_per_epoch": settings.looks_per_epoch,
        "patience_after_warmup": settings.patience,
        "class_weights": settings.class_weights,
        "dropout": settings.dropout,
        "num_threads": settings.num_threads,
        "versions": {"bort_kedro": __version__, "torch": torch.__version__},
    }

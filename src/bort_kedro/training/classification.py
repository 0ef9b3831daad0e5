"""Fine-tuning a classifier on texts or pairs of texts, choosing among a few settings by dev accuracy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from bort_kedro import __version__
from bort_kedro.core.batching import plan_epoch
from bort_kedro.models.encoder import build_classifier
from bort_kedro.training.loop import OptimizationSettings, train
from bort_kedro.training.task_encoding import Batch, EncodedExamples, EncodedTask, encode_task
from bort_kedro.training.threads import cpu_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import BertForSequenceClassification, PreTrainedModel

    from bort_kedro.core.saved_state import StateStore
    from bort_kedro.models.pretrained import Pretrained


@dataclass(frozen=True)
class FinetuningSettings:
    """How one task is learned. Units and meaning stand in `params.FinetuneTrainingParams`."""

    max_tokens: int
    batch_tokens: int
    num_epochs: float
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    warmup_share: float
    weight_decay: float
    adam_beta2: float
    adam_epsilon: float
    max_gradient_norm: float
    dropout: float
    mixed_precision: str
    checkpoint_every_steps: int
    num_threads: int

    def grid(self, examples: EncodedExamples) -> list[OptimizationSettings]:
        """Every learning rate with every seed, rates first; epochs become steps over ``examples``."""
        return [
            OptimizationSettings(
                num_steps=examples.steps(num_epochs=self.num_epochs, batch_tokens=self.batch_tokens, seed=seed),
                learning_rate=learning_rate,
                warmup_share=self.warmup_share,
                weight_decay=self.weight_decay,
                adam_beta2=self.adam_beta2,
                adam_epsilon=self.adam_epsilon,
                max_gradient_norm=self.max_gradient_norm,
                seed=seed,
                mixed_precision=self.mixed_precision,
                checkpoint_every_steps=self.checkpoint_every_steps,
            )
            for learning_rate in self.learning_rates
            for seed in self.seeds
        ]


def classification_objective(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Mean cross-entropy of a batch in nats, with the accuracy beside it; both scalars."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()
    accuracy = (logits.argmax(-1) == batch["labels"]).float().mean()
    return {"loss": nn.functional.cross_entropy(logits, batch["labels"]), "accuracy": accuracy}


def predict_probabilities(
    model: BertForSequenceClassification, examples: EncodedExamples, *, batch_tokens: int
) -> NDArray[np.float64]:
    """(N, C) probability of each label, rows in the order of the examples. Dropout is off."""
    model.eval()
    device = next(model.parameters()).device
    probabilities = np.empty((len(examples), int(model.config.num_labels or 0)))
    for indices in plan_epoch(examples.lengths, batch_tokens=batch_tokens, seed=0, epoch=0):
        batch = {name: value.to(device) for name, value in examples.batch(indices.tolist()).items()}
        with torch.inference_mode():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        probabilities[indices] = logits.double().softmax(-1).cpu().numpy()
    return probabilities


def accuracy_of(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Share of rows whose likeliest label is the right one."""
    return float((probabilities.argmax(-1) == labels).mean())


@dataclass(frozen=True)
class Trial:
    """One setting of the grid and what it scored.

    Args:
        index: Place in the grid, from 0.
        settings: What was tried.
        dev_accuracy: Share of dev examples labelled rightly at the end.
        seconds: Training time.
    """

    index: int
    settings: OptimizationSettings
    dev_accuracy: float
    seconds: float

    def to_row(self) -> dict[str, Any]:
        """For a report: the setting's varying parts and the score."""
        kept = {name: getattr(self.settings, name) for name in ("learning_rate", "seed", "num_steps")}
        return {
            "trial": self.index,
            **kept,
            "dev_accuracy": self.dev_accuracy,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class TrainedClassifier:
    """The best trial's model, and the record of all.

    Args:
        model: On the CPU, in evaluation mode.
        best: The trial it comes from.
        trials: All, in the order of the grid.
        history: Rows of every trial, told apart by ``trial``.
    """

    model: BertForSequenceClassification
    best: Trial
    trials: list[Trial]
    history: list[dict[str, float]]


def train_classifier(
    encoder: PreTrainedModel,
    task: EncodedTask,
    grid: Sequence[OptimizationSettings],
    *,
    batch_tokens: int,
    dropout: float,
    states_of: Callable[[int], StateStore | None] = lambda index: None,
    description: str = "",
) -> TrainedClassifier:
    """Train one classifier for each setting and keep the best on dev, the first among equals.

    Args:
        encoder: Pretrained; copied, never changed.
        task: Encoded examples. The test split is not touched.
        grid: At least one setting; each one's ``seed`` draws the new head, the batches and the dropout.
        batch_tokens: Padded tokens of a batch.
        dropout: Of encoder and head while training.
        states_of: Where the states of a trial are kept, given its place in the grid.
        description: For the progress bar; empty for silence.

    Raises:
        TrainingError: If a training diverges.
    """
    trials: list[Trial] = []
    history: list[dict[str, float]] = []
    dev, best_model, best = task.splits["dev"], None, None
    for index, settings in enumerate(grid):
        model = build_classifier(encoder, labels=list(task.labels), seed=settings.seed, dropout=dropout)
        result = train(
            model,
            classification_objective,
            task.splits["train"].training_batches(batch_tokens=batch_tokens, seed=settings.seed),
            settings,
            states=states_of(index),
            description=f"{description} {index + 1}/{len(grid)}" if len(grid) > 1 else description,
        )
        score = accuracy_of(predict_probabilities(model, dev, batch_tokens=batch_tokens), dev.labels)
        trials.append(Trial(index, settings, score, result.seconds))
        history += [{"trial": index, **row} for row in result.history]
        if best is None or score > best.dev_accuracy:
            best_model, best = model.cpu(), trials[-1]
    if best is None or best_model is None:
        raise ValueError("the grid of settings is empty")
    return TrainedClassifier(best_model, best, trials, history)


def predictions_table(model: BertForSequenceClassification, task: EncodedTask, *, batch_tokens: int) -> pd.DataFrame:
    """Predictions on dev and test, rows in the order of the examples.

    Returns:
        Columns ``split``, ``label``, ``prediction`` and a ``probability_<label>`` for each label.
    """
    names, tables = np.array(task.labels, dtype=object), []
    for split in ("dev", "test"):
        examples = task.splits[split]
        probabilities = predict_probabilities(model, examples, batch_tokens=batch_tokens)
        table = pd.DataFrame(
            {"split": split, "label": names[examples.labels], "prediction": names[probabilities.argmax(-1)]}
        )
        for index, label in enumerate(task.labels):
            table[f"probability_{label}"] = probabilities[:, index]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True)
class Finetuning:
    """What fine-tuning on one task leaves.

    Args:
        model: The best trial's, on the CPU.
        history: Rows ``trial``, ``step``, ``loss``, ``accuracy``, ``learning_rate``, ``gradient_norm``.
        predictions: See `predictions_table`.
        report: JSON-able: labels, sizes, truncated share, trials, the best of them, seconds.
    """

    model: BertForSequenceClassification
    history: list[dict[str, float]]
    predictions: pd.DataFrame
    report: dict[str, Any]


def finetune(
    pretrained: Pretrained, examples: pd.DataFrame, settings: FinetuningSettings, *, states: Any, task: str
) -> Finetuning:
    """Fine-tune an encoder on a task, resuming where an earlier run of the same settings stopped.

    Args:
        pretrained: The encoder, never changed, and its tokenizer.
        examples: Columns ``split``, ``text``, ``text_pair``, ``label``.
        settings: As in the parameters.
        states: Handle with ``of(name, identity)``, such as `datasets.training_states.TrainingStates`.
        task: Name, for states, progress and errors.

    Raises:
        TaskError: If the examples cannot be used (see `task_encoding.label_names`).
        ConfigurationError: If the encoder has too few positions.
        TrainingError: If a training diverges.
    """
    encoded = encode_task(
        examples,
        pretrained.tokenizer,
        task=task,
        max_tokens=settings.max_tokens,
        max_positions=pretrained.model.config.max_position_embeddings,
    )
    grid = settings.grid(encoded.splits["train"])

    def states_of(index: int) -> Any:
        return states.of(f"finetune/{task}-{index}", trial_identity(pretrained, encoded, settings, grid[index]))

    with cpu_threads(settings.num_threads):
        trained = train_classifier(
            pretrained.model,
            encoded,
            grid,
            batch_tokens=settings.batch_tokens,
            dropout=settings.dropout,
            states_of=states_of,
            description=f"fine-tuning on {task}",
        )
        predictions = predictions_table(trained.model, encoded, batch_tokens=settings.batch_tokens)
    report = {
        "task": task,
        "labels": list(encoded.labels),
        "num_examples": {split: len(rows) for split, rows in encoded.splits.items()},
        "truncated_share": encoded.truncated_share,
        "trials": [trial.to_row() for trial in trained.trials],
        "best_trial": trained.best.index,
        "seconds": sum(trial.seconds for trial in trained.trials),
    }
    return Finetuning(trained.model, trained.history, predictions, report)


def trial_identity(
    pretrained: Pretrained, task: EncodedTask, settings: FinetuningSettings, trial: OptimizationSettings
) -> dict[str, Any]:
    """All that a trial's weights depend on; a change of any part trains anew."""
    optimization = asdict(trial)
    # How often states are kept changes nothing in the result.
    del optimization["checkpoint_every_steps"]
    return {
        "encoder": pretrained.fingerprint,
        "examples": task.fingerprint,
        "optimization": optimization,
        "batch_tokens": settings.batch_tokens,
        "dropout": settings.dropout,
        "num_threads": settings.num_threads,
        "versions": {"bort_kedro": __version__, "torch": torch.__version__},
    }

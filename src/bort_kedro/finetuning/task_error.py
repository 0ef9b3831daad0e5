"""How much an encoder errs on a task after one plain fine-tuning, for whoever compares many encoders."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.errors import FailedTrainingError
from bort_kedro.evaluation.intervals import score_standard_error
from bort_kedro.evaluation.scores import constant_answers
from bort_kedro.finetuning.data import EncodedTask, TaskData
from bort_kedro.finetuning.objectives import answers_of
from bort_kedro.finetuning.settings import TrialSettings
from bort_kedro.finetuning.theta import HyperparameterSet
from bort_kedro.finetuning.trials import Trial, train_trial
from bort_kedro.frozen import JsonObject
from bort_kedro.tasks.metrics import score_rows
from bort_kedro.training.saved_state import States
from bort_kedro.training.threads import cpu_threads

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SPLITS = ("train", "dev")


def constant_error(data: TaskData) -> float:
    """That on dev of the best answer that ignores the text."""
    task, dev = data.task, data.tables["dev"]
    return 1.0 - float(score_rows(task, task.metrics[0], dev, constant_answers(task, dev)))


@dataclass(frozen=True)
class TaskError:
    """1 - the score on dev of an encoder that was fine-tuned on train; a value that travels to a worker.

    Args:
        data: Of the task; no other split is looked at.
        tokenizer: Of the encoders.
        hyperparameters: Of the fine-tuning, but for the seed.
        settings: Likewise.
        states: Keeps the fine-tunings.
    """

    data: TaskData
    tokenizer: PreTrainedTokenizerFast
    hyperparameters: HyperparameterSet
    settings: TrialSettings
    states: States

    @cached_property
    def identity(self) -> JsonObject:
        """All that the error depends on beside the encoder and the seed."""
        rows = pd.concat([self.data.tables[split] for split in SPLITS]).to_json(orient="values")
        return {
            "task": self.data.task.name,
            "labels": list(self.data.labels),
            "metric": self.data.task.metrics[0],
            "examples": hashlib.sha256(rows.encode()).hexdigest()[:16],
            "hyperparameters": asdict(self.hyperparameters) | {"seed": None},
            "settings": self.settings.model_dump(include={*TrialSettings.model_fields} - {"checkpoint_every_steps"}),
        }

    def __call__(
        self, model: PreTrainedModel, seed: int, tokenizer: PreTrainedTokenizerFast | None = None
    ) -> JsonObject:
        """The error, its standard error over the examples of dev, and the ``seconds`` and ``num_tokens`` it took.

        Args:
            model: The encoder; it is not changed.
            seed: Of head, batches and dropout.
            tokenizer: Of the encoder, where it is another one.

        Raises:
            FailedTrainingError: If the fine-tuning diverges.
            ConfigurationError: If the encoder takes only shorter inputs.
        """
        encoder = Pretrained(model, tokenizer or self.tokenizer)
        data = replace(self.data, tables={split: self.data.tables[split] for split in SPLITS})
        task, trial = self.fine_tuned(encoder, data, seed)
        answers = answers_of(data.task.form, data.labels, trial.dev_outputs, task.splits["dev"].target_starts)
        return {
            "error": 1.0 - trial.score,
            "error_standard_error": score_standard_error(data.task, data.tables["dev"], answers),
            "seconds": trial.seconds,
            "num_tokens": trial.num_tokens,
        }

    def fine_tuned(self, encoder: Pretrained, data: TaskData, seed: int) -> tuple[EncodedTask, Trial]:
        """The examples in the encoder's ids, and what it became on train.

        Args:
            encoder: It is not changed.
            data: As much of the task as is to be encoded, train and dev at least.
            seed: As above, as are the errors raised.
        """
        name, chosen = data.task.name, replace(self.hyperparameters, seed=seed)
        with cpu_threads(self.settings.num_threads):
            task = data.encoded(encoder, max_tokens=self.settings.max_tokens)
            trial = train_trial(encoder, task, task.splits["train"], chosen, self.settings, states=self.states)
        if trial.has_diverged:
            raise FailedTrainingError(name, f"its fine-tuning on task {name} diverged", "")
        return task, trial

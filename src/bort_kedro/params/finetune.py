"""Typed parameters of the finetune stage; values live in ``conf/*/parameters_finetune.yml`` alone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bort_kedro.core.builtin_tasks import BUILTIN_TASKS
from bort_kedro.params.base import FrozenModel

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class MaxExamplesParams(FrozenModel):
    """Upper bounds on the examples of a built-in task; fewer are made where the corpus gives fewer."""

    train: int = Field(ge=2, description="Examples to train on.")
    dev: int = Field(ge=2, description="Examples that choose among the settings.")
    test: int = Field(ge=2, description="Examples scored once, at the end.")


class BuiltinTasksParams(FrozenModel):
    """How the built-in tasks are made from the documents of corpus split `tasks`."""

    seed: int = Field(ge=0, description="Draws the document splits and the examples.")
    dev_share: float = Field(gt=0, lt=1, description="Share of the task documents kept for dev.")
    test_share: float = Field(gt=0, lt=1, description="Share of the task documents kept for test.")
    min_words: int = Field(ge=2, description="Shortest sentence used, in words.")
    max_words: int = Field(ge=2, description="Longest sentence used, in words.")
    shuffled_words: int = Field(ge=2, description="Words permuted in a shuffled sentence of `order`.")
    max_examples: MaxExamplesParams = Field(description="Upper bounds per split.")

    @model_validator(mode="after")
    def _is_possible(self) -> BuiltinTasksParams:
        if self.dev_share + self.test_share >= 1:
            raise ValueError(
                f"dev_share {self.dev_share} and test_share {self.test_share} leave nothing to train on; "
                "their sum must be below 1"
            )
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        if self.shuffled_words >= self.max_words:
            raise ValueError(
                f"shuffled_words {self.shuffled_words} must be below max_words {self.max_words}: the first "
                "word of a sentence keeps its place"
            )
        return self


class FinetuneTrainingParams(FrozenModel):
    """How one task is learned: a grid of learning rates and seeds, the best on dev kept."""

    max_tokens: int = Field(ge=8, description="Longest input, special tokens included; longer ones are cut.")
    batch_tokens: int = Field(ge=8, description="Padded tokens of a batch.")
    num_epochs: float = Field(gt=0, description="Passes over the training examples.")
    learning_rates: tuple[float, ...] = Field(min_length=1, description="Peak learning rates to try, each above 0.")
    seeds: tuple[Seed, ...] = Field(min_length=1, description="Seeds to try: head, order of batches, dropout.")
    warmup_share: float = Field(ge=0, le=1, description="Share of the steps that raise the learning rate.")
    weight_decay: float = Field(ge=0, description="AdamW weight decay, on matrices only.")
    adam_beta2: float = Field(gt=0, lt=1, description="AdamW decay of the squared gradients.")
    adam_epsilon: float = Field(gt=0, description="AdamW epsilon.")
    max_gradient_norm: float = Field(gt=0, description="Gradients are scaled down to this norm.")
    dropout: float = Field(ge=0, lt=1, description="Dropout of encoder and head while fine-tuning.")
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(description="Precision of accelerate's autocast.")
    checkpoint_every_steps: int = Field(gt=0, description="Steps between two saved training states.")
    num_threads: int = Field(gt=0, description="CPU threads; part of the result, since sums depend on it.")

    @model_validator(mode="after")
    def _rates_are_positive(self) -> FinetuneTrainingParams:
        low = [rate for rate in self.learning_rates if rate <= 0]
        if low:
            raise ValueError(f"learning_rates holds {low}; each must be above 0")
        return self


class FinetuneParams(FrozenModel):
    """Everything under `finetune`."""

    tasks: tuple[str, ...] = Field(
        min_length=1, description="Built-in tasks, or names whose `<task>.examples` is in your catalog."
    )
    builtin_tasks: BuiltinTasksParams = Field(description="How the built-in tasks are made.")
    training: FinetuneTrainingParams = Field(description="How each task is learned.")

    @model_validator(mode="after")
    def _names_are_usable(self) -> FinetuneParams:
        faulty = [name for name in self.tasks if not name.isidentifier() or self.tasks.count(name) > 1]
        if faulty:
            raise ValueError(
                f"tasks holds {faulty}; each name must stand once and be letters, digits and underscores, "
                f"since it becomes part of dataset names. Built-in: {', '.join(BUILTIN_TASKS)}"
            )
        return self

"""Typed parameters of the finetune stage; values live in ``conf/*/parameters_finetune.yml`` alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bort_kedro.frozen import FrozenModel
from bort_kedro.tasks.table import TASKS, Task, find_task, own_task

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
TRANSFORMATIONS = ("masked_lm", "swap_words", "delete_words", "crop_words", "shuffle_spans")


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


class TrialParams(FrozenModel):
    """How one task is learned: Theta, every combination of the lists, and what all its trials share."""

    learning_rates: tuple[Positive, ...] = Field(min_length=1, description="Peak learning rates.")
    weight_decays: tuple[NotNegative, ...] = Field(min_length=1, description="AdamW's, on matrices only.")
    warmup_shares: tuple[Share, ...] = Field(min_length=1, description="Shares of the steps that raise the rate.")
    batch_tokens: tuple[Annotated[int, Field(ge=8)], ...] = Field(min_length=1, description="Padded tokens of a batch.")
    seeds: tuple[Seed, ...] = Field(min_length=1, description="Of the head, the order of batches and dropout.")
    max_sets: int | None = Field(gt=0, description="Draw so many of the combinations; null takes all.")
    max_tokens: int = Field(ge=8, description="Longest input, special tokens included; longer ones are cut.")
    num_epochs: float = Field(gt=0, description="Passes over the training examples, at most.")
    looks_per_epoch: int = Field(gt=0, description="How often dev is scored; the best weights there are kept.")
    patience: int | None = Field(gt=0, description="Looks without gain that end a trial early; null never does.")
    class_weights: Literal["none", "balanced"] = Field(description="Whether rare classes count more in the loss.")
    adam_beta2: float = Field(gt=0, lt=1, description="AdamW decay of the squared gradients.")
    adam_epsilon: float = Field(gt=0, description="AdamW epsilon.")
    max_gradient_norm: float = Field(gt=0, description="Gradients are scaled down to this norm.")
    dropout: float = Field(ge=0, lt=1, description="Of encoder and head while fine-tuning.")
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(description="Precision of accelerate's autocast.")
    checkpoint_every_steps: int = Field(gt=0, description="Steps between two saved training states.")
    num_threads: int = Field(gt=0, description="CPU threads; part of the result, since sums depend on it.")

    def theta(self) -> dict[str, Any]:
        """The part that Theta is made of."""
        return {name: getattr(self, name) for name in THETA}

    def shared(self) -> dict[str, Any]:
        """The part that all trials share."""
        return {name: value for name, value in self.model_dump().items() if name not in THETA}


THETA = ("learning_rates", "weight_decays", "warmup_shares", "batch_tokens", "seeds", "max_sets")


class FinetuneTeacherParams(FrozenModel):
    """The larger encoder that labels new points."""

    pretrained: str | None = Field(
        description="Hub id or folder of a masked-LM encoder; null is `teacher_encoder` of the pretraining."
    )
    training: TrialParams = Field(description="How it is fine-tuned on each task, plainly.")


class TransformationParams(FrozenModel):
    """tau: how a text becomes a similar one."""

    weights: dict[Literal[TRANSFORMATIONS], NotNegative] = Field(  # type: ignore[valid-type]
        description="How often each is drawn, in proportion."
    )
    changed_share: float = Field(gt=0, lt=1, description="Share of the words that change.")
    temperature: float = Field(gt=0, description="Of the masked-LM head's distribution.")
    top_k: int = Field(gt=0, description="Likeliest tokens that a replacement is drawn from.")
    batch_tokens: int = Field(ge=8, description="Padded tokens of a batch of the masked-LM encoder.")
    max_tokens: int = Field(ge=8, description="Of a text that it sees; words further on stay.")

    @model_validator(mode="after")
    def _something_is_drawn(self) -> TransformationParams:
        if not any(self.weights.values()):
            raise ValueError(f"weights are {self.weights}; one at least must be above 0")
        return self


class AgoraParams(FrozenModel):
    """Agora: learn from a teacher where the student errs."""

    seed: int = Field(ge=0, description="Of the points.")
    max_replays: int = Field(ge=0, description="Rounds that may be repeated with other points, in all.")
    points_per_mistake: int = Field(gt=0, description="New points made of each mistake on dev.")
    max_points_share: float = Field(gt=0, description="Points of a round, at most, as a share of the train split.")
    max_overlap: float = Field(
        gt=0, le=1, description="Points that share this much of their word n-grams with one of dev or test are copies."
    )
    ngram_words: int = Field(gt=0, description="Words of an n-gram of that check.")
    teacher_labels: Literal["hard", "soft"] = Field(description="The likeliest label, as published, or all beliefs.")
    distillation_share: float = Field(
        ge=0, le=1, description="Of the rival `distilled`: weight of the teacher's beliefs beside the labels."
    )
    transformation: TransformationParams


class OwnTaskParams(FrozenModel):
    """A task of the user's own: files and what their columns mean."""

    files: dict[Literal["train", "dev", "test"], str] = Field(
        description="train, dev and, if there is one, test: .tsv, .csv or .jsonl, seen from the project's folder."
    )
    columns: dict[Literal["text", "text_pair", "label", "options"], str | tuple[str, ...]] = Field(
        description="Their names in the files; options is a list, of multiple choice."
    )
    form: Literal["classification", "regression", "multiple_choice"] = Field(
        "classification", description="What is predicted."
    )
    labels: tuple[str | bool | int, ...] = Field(
        (), description="Allowed labels, in order; left out, those found in train."
    )
    metrics: tuple[str, ...] = Field((), description="Names of tasks.metrics; the first chooses on dev.")
    truncation: Literal["longest_first", "text", "text_pair"] = Field(
        "longest_first", description="Which text of a pair loses tokens first."
    )


class FinetuneParams(FrozenModel):
    """Everything under `finetune`."""

    tasks: tuple[str, ...] = Field(min_length=1, description="Names of the table of tasks, or of `own_tasks`.")
    own_tasks: dict[str, OwnTaskParams] = Field(description="Your own tasks, by name.")
    read_from: Literal["files", "hub"] = Field(description="Where GLUE, SuperGLUE and RACE are read.")
    files: dict[str, dict[str, str]] = Field(
        description="For a task, other files than its official ones: train, dev, test, seen from the task's folder."
    )
    skip_bad_rows: bool = Field(description="Leave malformed rows out and count them, instead of stopping.")
    split_seed: int = Field(ge=0, description="Halves the official dev where the official test has no labels.")
    builtin_tasks: BuiltinTasksParams = Field(description="How the built-in tasks are made.")
    method: Literal["agora", "plain"] = Field(description="How the student is fine-tuned.")
    rivals: tuple[Literal["plain", "distilled", "random_augmentation"], ...] = Field(
        description="Trained beside Agora with as many steps, to compare."
    )
    weak_teacher: Literal["stop", "plain"] = Field(
        description="Where a teacher is not over its bar: stop the run, or fine-tune that task plainly."
    )
    training: TrialParams = Field(description="How the student learns each task.")
    teacher: FinetuneTeacherParams
    agora: AgoraParams

    @model_validator(mode="after")
    def _tasks_are_known(self) -> FinetuneParams:
        faulty = [name for name in self.tasks if not name.isidentifier() or self.tasks.count(name) > 1]
        if faulty:
            raise ValueError(
                f"tasks holds {faulty}; each name must stand once and be letters, digits and underscores, "
                "since it becomes part of dataset names"
            )
        unknown = [name for name in self.tasks if name not in TASKS and name not in self.own_tasks]
        if unknown:
            raise ValueError(
                f"tasks holds {unknown}, which are neither in the table of tasks ({', '.join(TASKS)}) nor in own_tasks "
                f"({', '.join(self.own_tasks) or 'none'})"
            )
        strangers = [name for name in self.files if name not in self.tasks]
        if strangers:
            raise ValueError(f"files names {strangers}, which tasks does not hold ({', '.join(self.tasks)})")
        unread = [name for name in self.files if self.read_from == "hub" and name in TASKS and TASKS[name].hub[0]]
        if unread:
            raise ValueError(f"files names {unread}, and read_from is hub, which reads no file; set it to files")
        if len(set(self.rivals)) < len(self.rivals):
            raise ValueError(f"rivals is {list(self.rivals)}; each may stand once")
        taken = [name for name in self.own_tasks if name in TASKS]
        if taken:
            raise ValueError(f"own_tasks holds {taken}, which the table of tasks has already; choose other names")
        for name in self.tasks:
            needed = TASKS[name].scored_with if name in TASKS else ()
            if needed and not set(needed) & set(self.tasks):
                raise ValueError(
                    f"tasks holds {name}, which is scored with the model of {' or '.join(needed)}; add it to tasks"
                )
        return self

    def reading(self, task: str) -> dict[str, Any]:
        """Where a task is read from, in the names of `tasks.reading.choose.read_task`."""
        return {
            "read_from": self.read_from,
            "files": self.files.get(task, {}),
            "skip_bad_rows": self.skip_bad_rows,
        }


def task_of(name: str, finetune: FinetuneParams) -> Task:
    """The row of the table of tasks, or of the user's own."""
    own = finetune.own_tasks.get(name)
    return own_task(name, **own.model_dump()) if own else find_task(name)

"""How much the benchmark of a real encoder spends: the short form, the full one, and one of seconds to try it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Setting:
    """What is searched, distilled and fine-tuned.

    Args:
        caps: Share of the encoder's operations that a student may have, by the name of the student.
        budget: Candidates of the search that are trained.
        search_steps: Of a candidate.
        distillation_steps: Of a student.
        characters: Of the corpus, drawn at random; None takes all.
        max_train: Units of a task that are learned from; None takes all.
        max_dev: Units that choose among the passes.
        max_test: Units that are scored; None takes all.
        tokens_seen: Of a task's train split, repeated as far as ``passes`` allows.
        passes: Fewest and most over a train split.
        learning_rates: Tried for each arm, task and seed; dev chooses.
        seeds: Of heads, batches and dropout.
        timed_rounds: Of the runtimes.
    """

    caps: dict[str, float]
    budget: int
    search_steps: int
    distillation_steps: int
    characters: int | None
    max_train: int | None
    max_dev: int
    max_test: int | None
    tokens_seen: int
    passes: tuple[int, int]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    timed_rounds: int

    def conditions(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


MAX_TOKENS = 128
# Of a step of the distillation, and of a fine-tuning's.
DISTILLATION_TOKENS, TASK_TOKENS = 1024, 512
CAPS = {"half": 0.5, "quarter": 0.25}

SHORT = Setting(
    caps=CAPS,
    budget=8,
    search_steps=30,
    distillation_steps=500,
    characters=None,
    max_train=3000,
    max_dev=300,
    max_test=1000,
    tokens_seen=200_000,
    passes=(1, 5),
    learning_rates=(1e-4,),
    seeds=(0,),
    timed_rounds=20,
)
FULL = Setting(
    caps=CAPS,
    budget=40,
    search_steps=200,
    distillation_steps=10_000,
    characters=None,
    max_train=None,
    max_dev=1000,
    max_test=None,
    tokens_seen=500_000,
    passes=(3, 10),
    learning_rates=(5e-5, 1e-4, 2e-4),
    seeds=(0, 1, 2),
    timed_rounds=40,
)


def quick(num_steps: int) -> Setting:
    """So many steps of everything, on a few rows."""
    return replace(
        SHORT,
        budget=2,
        search_steps=num_steps,
        distillation_steps=num_steps,
        characters=200_000,
        max_train=16,
        max_dev=8,
        max_test=16,
        tokens_seen=1,
        passes=(1, 1),
        timed_rounds=1,
    )

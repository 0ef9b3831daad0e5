"""From what was measured to the figures that have a target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.page import Figure
from benchmarks.pretrain.material import Setting
from benchmarks.pretrain.overhead import BATCHES, StepParts
from benchmarks.pretrain.systems import Taken
from bort_kedro.encoders.costs import count_parameters
from bort_kedro.encoders.training_cost import forward_flops
from bort_kedro.reporting.markdown import MISSING, number, percent

# Keys of the trainings: name of the system, precision.
TRAINER, OURS = ("trainer", "no"), ("ours", "no")
NAIVE, LIVE, CACHED = ("trainer_with_teacher", "no"), ("ours_live", "no"), ("ours_cached", "no")
OURS_BF16, LIVE_BF16, CACHED_BF16 = ("ours", "bf16"), ("ours_live", "bf16"), ("ours_cached", "bf16")
# Weight, gradient and AdamW's two moments, in fp32.
BYTES_PER_TRAINED_WEIGHT = 16


@dataclass(frozen=True)
class Goal:
    """A figure that may have a target.

    Args:
        name: Readable without the page.
        values: One for each round, empty where it was not measured.
        unit: ``x`` or ``share``.
        target: None without.
        is_floor: Whether the value must be at least the target; otherwise at most.
        is_strict: Whether a value equal to the target misses it.
        why: What explains a miss, in one or two sentences.
    """

    name: str
    values: Sequence[float]
    unit: str
    target: float | None = None
    is_floor: bool = True
    is_strict: bool = False
    why: str = ""

    @property
    def value(self) -> float | None:
        """Median of the rounds."""
        return float(np.median(self.values)) if len(self.values) else None

    @property
    def met(self) -> bool | None:
        """None without target; what was not measured is not met."""
        if self.target is None:
            return None
        if self.value is None:
            return False
        margin = self.value - self.target if self.is_floor else self.target - self.value
        return margin > 0 if self.is_strict else margin >= 0

    def figure(self) -> Figure:
        """For the JSON file."""
        return Figure(self.name, self.value, self.unit, target=self.target, met=self.met)

    def row(self) -> list[str]:
        """For the table."""
        text = percent if self.unit == "share" else lambda value: f"{number(value, 2)}x"
        if self.value is None:
            cells = ["not run", MISSING]
        else:
            cells = [text(self.value), f"{text(min(self.values))} to {text(max(self.values))}"]
        word = f"{'at least' if self.is_floor else 'under' if self.is_strict else 'at most'} "
        target = MISSING if self.target is None else word + text(self.target)
        return [self.name, *cells, target, self.figure().met_text]


@dataclass(frozen=True)
class Measured:
    """One run.

    Args:
        setting: Of the trainings.
        small: Of the small loop.
        product_rates: FLOP/s of matrix products, by ``no`` and ``bf16``.
        trainings: What each took, by system and precision, one for each round.
        loops: Parts of the real loop's steps by precision, one for each round.
        small_loops: Likewise, of the small shape.
        preparation: From `pretrain_preparation.time_preparation`.
    """

    setting: Setting
    small: Setting
    product_rates: dict[str, float]
    trainings: dict[tuple[str, str], list[Taken]]
    loops: dict[str, list[StepParts]]
    small_loops: dict[str, list[StepParts]]
    preparation: dict[str, Any]

    def step_seconds(self, key: tuple[str, str]) -> list[float]:
        """Median step of each round; empty where it was not run."""
        return [float(np.median(taken.step_seconds)) for taken in self.trainings.get(key, [])]

    def speedup(self, key: tuple[str, str], baseline: tuple[str, str]) -> list[float]:
        """How many times more tokens a second than the baseline, round by round."""
        return [base / own for base, own in zip(self.step_seconds(baseline), self.step_seconds(key), strict=False)]

    def memory(self, of: Callable[[Taken], int]) -> list[float]:
        """Ours over the Trainer's, round by round."""
        return [of(own) / of(base) for own, base in zip(self.trainings[OURS], self.trainings[TRAINER], strict=True)]

    @cached_property
    def passes_to_pay_back(self) -> list[float]:
        """Passes over the cached text until the time saved is the time that filling took; infinite if none is saved."""
        passes = []
        rounds = zip(self.trainings[CACHED], self.step_seconds(LIVE), self.step_seconds(CACHED), strict=True)
        for taken, live, cached in rounds:
            cache = taken.others["cache"]
            fill = cache["seconds"] / cache["tokens"]
            saved = (live - cached) / self.setting.step_tokens
            passes.append(fill / saved if saved > 0 else float("inf"))
        return passes


def step_flops(setting: Setting, *, teacher: bool, everywhere: bool, cached: bool = False) -> float:
    """FLOPs of a step's matrix products: backward counts twice forward, a live teacher goes forward only.

    Args:
        setting: Shapes and sizes.
        teacher: Whether there is one.
        everywhere: Whether heads and last layers run on every position rather than on the predicted ones.
        cached: Whether the teacher's answers are kept from before.
    """
    sizes = {
        "vocabulary_size": setting.vocabulary_size,
        "num_tokens": setting.step_tokens,
        "sum_of_squared_lengths": setting.batch_size * setting.sequence_length**2,
        "num_predicted": setting.step_tokens if everywhere else setting.num_predicted,
        "sum_of_predicted_lengths": None if everywhere else setting.num_predicted * setting.sequence_length,
    }
    student = 3 * forward_flops(setting.shape, **sizes)
    return student + forward_flops(setting.teacher_shape, **sizes) if teacher and not cached else student


def limit(setting: Setting, *, teacher: bool, cached: bool = False) -> float:
    """How many times fewer FLOPs a step takes when heads and last layers run on the predicted positions only."""
    plain = step_flops(setting, teacher=teacher, everywhere=True)
    return plain / step_flops(setting, teacher=teacher, everywhere=False, cached=cached)


def goals_of(measured: Measured) -> list[Goal]:
    """The rows of the first table: figures with a target, each followed by those that explain it."""
    setting, rates = measured.setting, measured.product_rates
    no_bf16 = (
        ""
        if rates["bf16"] > rates["no"]
        else f"A bf16 matrix product runs at {rates['bf16'] / 1e9:.1f} GFLOP/s on this processor and an fp32 one at "
        f"{rates['no'] / 1e9:.0f}, so bf16 was not run: a step would take minutes."
    )

    def counted(**of: bool) -> str:
        return f"Counting matrix products alone, the limit in one precision is {limit(setting, **of):.2f}x."

    def faster(name: str, key: tuple[str, str], base: tuple[str, str], target: float | None, **of: bool) -> Goal:
        why = no_bf16 if key[1] == "bf16" and no_bf16 else counted(**of)
        return Goal(name, measured.speedup(key, base), "x", target, why=why)

    goals = [
        faster("tokens/s, ours fp32 over Trainer fp32", OURS, TRAINER, 2.2, teacher=False),
        faster("tokens/s, ours bf16 over Trainer fp32", OURS_BF16, TRAINER, 3.8, teacher=False),
        faster("distillation, live bf16 over naive fp32", LIVE_BF16, NAIVE, 4.0, teacher=True),
        faster("distillation, cached bf16 over naive fp32", CACHED_BF16, NAIVE, 7.0, teacher=True, cached=True),
        faster("distillation, live fp32 over naive fp32", LIVE, NAIVE, None, teacher=True),
        faster("distillation, cached fp32 over naive fp32", CACHED, NAIVE, None, teacher=True, cached=True),
    ]
    if not no_bf16:
        goals += [
            faster("tokens/s, both in bf16", OURS_BF16, ("trainer", "bf16"), None, teacher=False),
            faster("distillation, live, both in bf16", LIVE_BF16, (NAIVE[0], "bf16"), None, teacher=True),
        ]
    return goals + _memory_goals(measured) + _loop_goals(measured) + _preparation_goals(measured)


def _memory_goals(measured: Measured) -> list[Goal]:
    setting = measured.setting
    count = count_parameters(setting.shape, vocabulary_size=setting.vocabulary_size, max_positions=512)
    both = BYTES_PER_TRAINED_WEIGHT * (count.embeddings + count.encoder)
    base = float(np.median([taken.peak_bytes for taken in measured.trainings[TRAINER]]))
    return [
        Goal(
            "peak memory, ours fp32 over Trainer fp32",
            measured.memory(lambda taken: taken.peak_bytes),
            "x",
            0.8,
            is_floor=False,
            why=f"Weights, gradients and AdamW's moments take about {both / 1e9:.1f} GB on both sides, of the Trainer's"
            f" {base / 1e9:.1f}.",
        ),
        Goal(
            "the same beyond the libraries' memory",
            measured.memory(lambda taken: taken.peak_bytes - taken.bytes_before),
            "x",
            is_floor=False,
        ),
    ]


def _loop_goals(measured: Measured) -> list[Goal]:
    loops = measured.loops["no"]
    batches = float(np.median([parts.share(BATCHES) for parts in loops]))
    return [
        Goal(
            "step outside forward, backward and optimiser, this shape",
            [parts.outside_share for parts in loops],
            "share",
            0.03,
            is_floor=False,
            is_strict=True,
            why=f"Making batches takes {percent(batches)} of a step.",
        ),
        Goal(
            f"the same, shape {measured.small.shape}, {measured.small.step_tokens} tokens a step",
            [parts.outside_share for parts in measured.small_loops["no"]],
            "share",
            is_floor=False,
        ),
    ]


def _preparation_goals(measured: Measured) -> list[Goal]:
    rounds = measured.preparation["rounds"]
    shares = {
        part: float(np.median([each["parts"][part] / sum(each["parts"].values()) for each in rounds]))
        for part in rounds[0]["parts"]
    }
    parts = ", ".join(f"{part} {percent(share)}" for part, share in shares.items())

    def speed(bare: str) -> list[float]:
        return [each[bare] / sum(each["parts"].values()) for each in rounds]

    return [
        Goal(
            "token preparation over bare encode_batch",
            speed("encode_batch"),
            "x",
            0.8,
            why=f"Of the preparation's time: {parts}.",
        ),
        Goal("token preparation over bare encode_batch_fast", speed("encode_batch_fast"), "x"),
    ]

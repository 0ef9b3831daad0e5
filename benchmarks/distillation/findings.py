"""What the trainings of the distillation experiment say: means, their errors, and differences between arms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.distillation.trainings import ARMS, CACHED, LIVE, TRIMMED, Arm, Experiment, Outcome, Probe
from bort_kedro.pretraining.report import CacheError, TrimmingCost
from bort_kedro.pretraining.scores import cache_error, trimming_cost
from bort_kedro.statistics import clustered_standard_error, is_above_noise
from bort_kedro.text.trimming import vocabulary_map

SAME_STEPS, SAME_TIME = "same steps", "same time"
SCHEDULES = (SAME_STEPS, SAME_TIME)


@dataclass(frozen=True)
class Estimate:
    """A share, or a difference of shares, with its two sources of noise.

    Args:
        value: Mean over the seeds.
        seeds_error: Standard error over the seeds.
        blocks_error: Standard error over the test blocks, of the mean over the seeds at each position.
    """

    value: float
    seeds_error: float
    blocks_error: float

    @property
    def error(self) -> float:
        """Both together, as of independent sources; a little too much, since the second holds a part of the first."""
        return math.hypot(self.seeds_error, self.blocks_error)

    @property
    def sign(self) -> int:
        """1 or -1 where the value is beyond its noise, else 0."""
        return int(is_above_noise(self.value, self.error)) - int(is_above_noise(-self.value, self.error))


def accuracy(outcomes: Sequence[Outcome]) -> Estimate:
    """Masked accuracy of one arm."""
    per_seed = [outcome.score.accuracy for outcome in outcomes]
    return Estimate(float(np.mean(per_seed)), seeds_error(per_seed), _blocks_error(_mean_correct(outcomes), outcomes))


def lead(own: Sequence[Outcome], other: Sequence[Outcome], *, has_same_tokens: bool) -> Estimate:
    """Difference of two arms' accuracies, paired by seed, and by position where both are asked for the same tokens."""
    per_seed = [a.score.accuracy - b.score.accuracy for a, b in zip(own, other, strict=True)]
    if has_same_tokens:
        blocks = _blocks_error(_mean_correct(own) - _mean_correct(other), own)
    else:
        blocks = math.hypot(*(_blocks_error(_mean_correct(outcomes), outcomes) for outcomes in (own, other)))
    return Estimate(float(np.mean(per_seed)), seeds_error(per_seed), blocks)


def seeds_error(values: Sequence[float]) -> float:
    """Standard error of a mean over seeds."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def _mean_correct(outcomes: Sequence[Outcome]) -> np.ndarray:
    """(N,) share of the seeds that are right, position by position."""
    return np.mean([outcome.score.is_correct for outcome in outcomes], axis=0)


def _blocks_error(values: np.ndarray, outcomes: Sequence[Outcome]) -> float:
    return clustered_standard_error(values, outcomes[0].score.block_of)


@dataclass(frozen=True)
class Findings:
    """All that is known of one corpus.

    Args:
        experiment: What the students share.
        probe: What the arms take.
        outcomes: By schedule and name of the arm; an arm without time for one step is missing.
        cache_errors: By name of the cached arm, from `cache_error`.
        trimming: From `trimming_cost`.
    """

    experiment: Experiment
    probe: Probe
    outcomes: dict[str, dict[str, list[Outcome]]]
    cache_errors: dict[str, CacheError]
    trimming: TrimmingCost

    def lead(self, schedule: str, own: Arm, other: Arm) -> Estimate | None:
        """Of one arm over another; None where either had no time."""
        found = self.outcomes[schedule]
        if own.name not in found or other.name not in found:
            return None
        return lead(found[own.name], found[other.name], has_same_tokens=own.is_trimmed == other.is_trimmed)

    def seconds(self, schedule: str, arm: Arm) -> float:
        """Mean time of an arm's trainings, with the filling of its cache."""
        training = float(np.mean([outcome.result.seconds for outcome in self.outcomes[schedule][arm.name]]))
        return training + (self.probe.filling_seconds[arm.name] if arm.top_k else 0.0)


def find_out(experiment: Experiment, *, num_steps: int) -> Findings:
    """Run whatever of one corpus' trainings has not been run yet."""
    probe = experiment.probe(num_steps=num_steps)
    same_steps = {arm.name: experiment.outcomes(arm, num_steps=num_steps) for arm in ARMS}
    steps = {arm: probe.steps_in_time_of_live(arm, num_steps) for arm in ARMS}
    same_time = {
        arm.name: same_steps[arm.name] if arm == LIVE else experiment.outcomes(arm, num_steps=count)
        for arm, count in steps.items()
        if count >= 1
    }
    taught, cut = same_steps[LIVE.name][0].student, same_steps[TRIMMED.name][0].student
    return Findings(
        experiment,
        probe,
        {SAME_STEPS: same_steps, SAME_TIME: same_time},
        {arm.name: _cache_error(experiment, taught, arm) for arm in CACHED},
        trimming_cost(
            cut,
            experiment.teacher,
            vocabulary_map(cut.tokenizer, experiment.teacher.tokenizer),
            experiment.trimmed.tokens,
        ),
    )


def _cache_error(experiment: Experiment, student: Any, arm: Arm) -> CacheError:
    teacher = experiment.teacher
    return cache_error(
        student,
        teacher,
        vocabulary_map(student.tokenizer, teacher.tokenizer),
        experiment.whole.tokens,
        temperature=experiment.parameters.pretrain_distill.distillation.logits.temperature,
        top_k=arm.top_k,
    )

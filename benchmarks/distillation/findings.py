"""What the trainings of the distillation experiment say: means, their errors, and differences between arms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.distillation.arms import Arm
from benchmarks.distillation.corpora import Corpus
from benchmarks.distillation.floors import floors_by_measure
from benchmarks.distillation.trainings import Before, Outcome, Probe, num_steps_of, outcome_of, prepare, probe
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.params import Parameters
from bort_kedro.search.engines import Engine, Job, run_jobs
from bort_kedro.search.settings import EngineSettings
from bort_kedro.statistics import clustered_standard_error, is_above_noise


@dataclass(frozen=True)
class Estimate:
    """A share, or a difference of shares, with its two sources of noise.

    Args:
        value: Mean over the seeds.
        seeds_error: Standard error over the seeds.
        units_error: Standard error over the test blocks or examples, of the mean over the seeds at each position.
    """

    value: float
    seeds_error: float
    units_error: float

    @property
    def error(self) -> float:
        """Both together, as of independent sources; a little too much, since the second holds a part of the first."""
        return math.hypot(self.seeds_error, self.units_error)

    @property
    def sign(self) -> int:
        """1 or -1 where the value is beyond its noise, else 0."""
        return int(is_above_noise(self.value, self.error)) - int(is_above_noise(-self.value, self.error))


def estimate(per_seed: Sequence[np.ndarray], unit_of: np.ndarray) -> Estimate:
    """The mean of (N,) values of each seed, at the same positions."""
    means = [float(values.mean()) for values in per_seed]
    units = clustered_standard_error(np.mean(per_seed, axis=0), unit_of)
    return Estimate(float(np.mean(means)), seeds_error(means), units)


def seeds_error(values: Sequence[float]) -> float:
    """Standard error of a mean over seeds."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


@dataclass(frozen=True)
class Findings:
    """All that is known of one corpus.

    Args:
        before: What the students share.
        probe: What steps take.
        outcomes: By name of the arm, one a seed.
        floors: Shares of right answers, by measure and then by floor.
    """

    before: Before
    probe: Probe
    outcomes: dict[str, list[Outcome]]
    floors: dict[str, dict[str, float]]

    @property
    def name(self) -> str:
        """Of the corpus."""
        return self.before.corpus.name

    @property
    def measures(self) -> list[str]:
        """Masked accuracy and the tasks."""
        return list(next(iter(self.outcomes.values()))[0].is_right)

    def share(self, arm: Arm, measure: str) -> Estimate:
        """Of right answers."""
        own = self.outcomes[arm.name]
        return estimate([each.is_right[measure] for each in own], own[0].unit_of[measure])

    def lead(self, own: Arm, other: Arm, measure: str) -> Estimate:
        """Difference of two arms' shares, paired by seed and position."""
        pairs = zip(self.outcomes[own.name], self.outcomes[other.name], strict=True)
        differences = [a.is_right[measure].astype(float) - b.is_right[measure] for a, b in pairs]
        return estimate(differences, self.outcomes[own.name][0].unit_of[measure])


def find_out(
    corpora: Sequence[Corpus],
    parameters: Parameters,
    shape: BertShape,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    states: Path,
    *,
    num_steps: int,
    num_workers: int,
) -> list[Findings]:
    """Run whatever has not been run yet; only the timing of steps has the machine to itself."""
    kind = "loky" if num_workers > 1 else "sequential"
    with Engine(EngineSettings(engine=kind, num_workers=num_workers, cluster_address=None)) as engine:
        jobs = [Job(each.name, prepare, (each, parameters, shape, arms, states / each.name)) for each in corpora]
        made = {each.corpus.name: each for each in run_jobs(jobs, engine, description="training teachers")}
        before = [made[corpus.name] for corpus in corpora]
        probes = {each.corpus.name: probe(each, shape, states, num_steps=num_steps) for each in before}
        jobs = [
            Job(
                f"{each.corpus.name}, {arm.name}, seed {seed}",
                _named_outcome,
                (each, shape, arm, seed, steps[arm.name], states / each.corpus.name),
            )
            for each in before
            for steps in [num_steps_of(each, probes[each.corpus.name], arms, num_steps)]
            for seed in seeds
            for arm in arms
        ]
        found = dict(run_jobs(jobs, engine, description="training students"))
    return [
        Findings(
            each,
            probes[each.corpus.name],
            {arm.name: [found[each.corpus.name, arm.name, seed] for seed in seeds] for arm in arms},
            floors_by_measure(each.corpus, parameters),
        )
        for each in before
    ]


def _named_outcome(
    before: Before, shape: BertShape, arm: Arm, seed: int, num_steps: int, folder: Path
) -> tuple[tuple[str, str, int], Outcome]:
    """Results come in any order."""
    return (before.corpus.name, arm.name, seed), outcome_of(before, shape, arm, seed, num_steps, folder)

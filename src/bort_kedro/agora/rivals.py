"""The methods Agora is held against, each with the trials of Agora: as many, as long, with the same hyperparameters.

A trial of Agora on a grown train set takes more steps than one on the train split alone; its counterpart is given the
same number. So every method may spend the same steps of the student, and whether they are spent on new points, on a
teacher's beliefs or on the labelled examples again is all that differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bort_kedro.finetuning.methods import MethodRecord, MethodResult, StudentTask
from bort_kedro.finetuning.rounds import Round

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bort_kedro.agora.points import PointMaker
    from bort_kedro.finetuning.encoding import EncodedExamples
    from bort_kedro.finetuning.report import RoundReport
    from bort_kedro.finetuning.rounds import Draw

# Between the seeds of two rounds of a method that learns from the same examples each time.
ROUND_SEED_STRIDE = 1000
# Random points made for each one wanted, since some are copies; what is too much is left out.
MADE_PER_WANTED = 1.5


@dataclass(frozen=True)
class Material:
    """What methods may learn from beside the examples.

    Args:
        points: tau and the teacher.
        train_beliefs: What teachers that have not seen them say of the rows of the train split, asked for when they
            are needed; None where nobody says anything of some.
        points_per_source: That tau makes.
        distillation_share: Weight of the teacher's beliefs in the targets of `distilled`.
        seed: Of random points.
    """

    points: PointMaker
    train_beliefs: Callable[[], NDArray[np.float64]] | None
    points_per_source: int
    distillation_share: float
    seed: int

    def num_sources(self, num_points: int) -> int:
        """Units to make so many points of."""
        return math.ceil(MADE_PER_WANTED * num_points / self.points_per_source)


@dataclass(frozen=True)
class ScheduledRound:
    """A round of Agora as its rivals repeat it.

    Args:
        plan: Number, hyperparameter sets and draws.
        num_steps: Of each trial; None is as many epochs as set.
        look_every: Steps between two looks at dev of each trial, so that patience is as long as Agora's; None likewise.
        num_points: That the round added; None where it added none.
    """

    plan: Round
    num_steps: tuple[int | None, ...]
    look_every: tuple[int | None, ...]
    num_points: int | None

    @classmethod
    def first(cls, num_settings: int) -> ScheduledRound:
        """Every setting once, without an Agora beside it."""
        return cls(Round.first(num_settings), (None,) * num_settings, (None,) * num_settings, None)

    @classmethod
    def of(cls, done: RoundReport) -> ScheduledRound:
        """From a round of Agora's report."""
        return cls(
            done.plan,
            tuple(trial.num_steps for trial in done.trials),
            tuple(trial.look_every for trial in done.trials),
            done.points.num_kept if done.points else None,
        )


def run_rival(method: str, task: StudentTask, schedule: Sequence[ScheduledRound], material: Material) -> MethodResult:
    """Fine-tune by another method with the trials that Agora had.

    Args:
        method: A name of `RIVALS`.
        task: The same as Agora's.
        schedule: Agora's rounds.
        material: The teacher and tau.

    Raises:
        TrainingError: If every trial of the first round diverges.
    """
    draws: dict[int, Draw] = {}
    record = MethodRecord(method, task.data.task.name)
    for each in schedule:
        examples = RIVALS[method](task, each, draws, material)
        # The same examples with the same seed would be the same training; points make their own difference.
        shift = 0 if draws else each.plan.number * ROUND_SEED_STRIDE
        trials = [
            task.train(
                examples,
                place,
                method=method,
                number=each.plan.number,
                num_steps=num_steps,
                look_every=look_every,
                seed_shift=shift,
            )
            for place, num_steps, look_every in zip(each.plan.settings, each.num_steps, each.look_every, strict=True)
        ]
        record.add(each.plan, draws.get(each.plan.number), trials, examples)
    return record.result()


def _plain(task: StudentTask, each: ScheduledRound, draws: dict[int, Draw], material: Material) -> EncodedExamples:
    """The labelled examples and nothing else."""
    return task.encoded.splits["train"]


def _distilled(task: StudentTask, each: ScheduledRound, draws: dict[int, Draw], material: Material) -> EncodedExamples:
    """The labelled examples, with targets between their labels and what the teacher believes of them.

    At temperature 1 the cross-entropy with mixed targets is the mixture of both losses, but for a constant; of a
    regression likewise the squared errors.
    """
    assert material.train_beliefs is not None  # noqa: S101 - nobody asks for this method where there are none
    train, share = task.encoded.splits["train"], material.distillation_share
    return train.answered((1 - share) * train.targets + share * material.train_beliefs())


def _random_points(
    task: StudentTask, each: ScheduledRound, draws: dict[int, Draw], material: Material
) -> EncodedExamples:
    """As many points as Agora had, made of random train units instead of mistakes on dev."""
    if each.num_points is not None:
        units = task.data.units["train"]
        order = np.random.default_rng([material.seed, each.plan.number]).permutation(len(units))
        draws[each.plan.number] = material.points.make(
            [units[place] for place in order[: material.num_sources(each.num_points)]],
            seed=material.seed + each.plan.number,
            max_points=each.num_points,
        )
    return task.with_points([draws[number] for number in each.plan.draws])


RIVALS: dict[str, Callable[[StudentTask, ScheduledRound, dict[int, Draw], Material], EncodedExamples]] = {
    "plain": _plain,
    "distilled": _distilled,
    "random_augmentation": _random_points,
}

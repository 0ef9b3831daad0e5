"""The methods Agora is held against, each with the trials of Agora: as many, as long, with the same hyperparameters.

A trial of Agora on a grown train set takes more steps than one on the train split alone; its counterpart is given the
same number. So every method may spend the same steps of the student, and whether they are spent on new points, on a
teacher's beliefs or on the labelled examples again is all that differs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bort_kedro.finetuning.methods import MethodRecord, MethodResult, StudentTask
from bort_kedro.finetuning.rounds import Round

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bort_kedro.agora.points import Teaching
    from bort_kedro.finetuning.encoding import EncodedExamples
    from bort_kedro.finetuning.report import RoundReport
    from bort_kedro.finetuning.rounds import Draw

LOGGER = logging.getLogger(__name__)
# Between the seeds of two rounds of a method that learns from the same examples each time.
ROUND_SEED_STRIDE = 1000
# Random points made for each one wanted, since some are copies; what is too much is left out.
MADE_PER_WANTED = 1.5


@dataclass(frozen=True)
class ScheduledRound:
    """A round of Agora as its rivals repeat it.

    Args:
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


def run_rival(method: str, task: StudentTask, schedule: Sequence[ScheduledRound], teaching: Teaching) -> MethodResult:
    """Fine-tune by another method, of `RIVALS`, with the trials that Agora had.

    Raises:
        TrainingError: If every trial of the first round diverges.
    """
    draws: dict[int, Draw] = {}
    record, examples_of = MethodRecord(method, task.data.task.name), RIVALS[method](task, teaching)
    for each in schedule:
        examples = examples_of(each, draws)
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


# What a method learns in a round of Agora; draws of points are added to those of the rounds before.
ExamplesOf = Callable[["ScheduledRound", "dict[int, Draw]"], "EncodedExamples"]


def _plain(task: StudentTask, teaching: Teaching) -> ExamplesOf:
    """The labelled examples and nothing else."""
    return _always(task.encoded.splits["train"])


def _distilled(task: StudentTask, teaching: Teaching) -> ExamplesOf:
    """The labelled examples, with targets between their labels and what the teacher believes of them.

    At temperature 1 the cross-entropy with mixed targets is the mixture of both losses, but for a constant; of a
    regression likewise the squared errors.
    """
    assert teaching.train_beliefs is not None  # noqa: S101 - nobody asks for this method where there are none
    train, share = task.encoded.splits["train"], teaching.teacher.settings.distillation_share
    return _always(train.answered((1 - share) * train.targets + share * teaching.train_beliefs()))


def _weak_supervision(task: StudentTask, teaching: Teaching) -> ExamplesOf:
    """The labelled examples, and as further ones all texts that were labelled beforehand, however rightly.

    References:
        Ratner et al. 2017 (Snorkel), arXiv 1711.10160, for the term: labels of sources that may be wrong.
    """
    assert teaching.recorded is not None  # noqa: S101 - nobody asks for this method where there are none
    further = teaching.recorded()
    LOGGER.info(
        "Task `%s`: %d recorded texts are learned as further rows of train; %d others are near-duplicates of dev or "
        "test.",
        task.data.task.name,
        len(further.units),
        further.num_copies,
    )
    return _always(task.with_points([further]))


def _random_points(task: StudentTask, teaching: Teaching) -> ExamplesOf:
    """As many points as Agora had, made of random train units instead of mistakes on dev."""
    settings, units = teaching.teacher.settings, task.data.units["train"]
    points = teaching.teacher.points(task.states)

    def examples_of(each: ScheduledRound, draws: dict[int, Draw]) -> EncodedExamples:
        if each.num_points is not None:
            order = np.random.default_rng([settings.seed, each.plan.number]).permutation(len(units))
            num_sources = math.ceil(MADE_PER_WANTED * each.num_points / settings.points_per_mistake)
            draws[each.plan.number] = points.make(
                [units[place] for place in order[:num_sources]],
                seed=settings.seed + each.plan.number,
                max_points=each.num_points,
            )
        return task.with_points([draws[number] for number in each.plan.draws])

    return examples_of


def _always(examples: EncodedExamples) -> ExamplesOf:
    return lambda each, draws: examples


RIVALS: dict[str, Callable[[StudentTask, Teaching], ExamplesOf]] = {
    "plain": _plain,
    "distilled": _distilled,
    "weak_supervision": _weak_supervision,
    "random_augmentation": _random_points,
}

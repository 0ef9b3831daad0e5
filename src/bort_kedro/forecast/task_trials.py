"""Trials of a task on some of its examples as one kind of training: how many, how long, and how often they are scored.

Lengths are in passes over the train split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bort_kedro.finetuning.settings import FinetuningSettings
from bort_kedro.forecast.facts import Examples, Facts, tokens_of
from bort_kedro.forecast.work import TRIALS, Encoder, Step, Work, passed

FINETUNE = "finetune"
# A registered model lies in MLflow too, and beside it its exports: fp32, and two in int8.
COPIES = 2 + 1.5


@dataclass(frozen=True)
class Learner:
    """An encoder that is fine-tuned.

    Args:
        encoder: What it is.
        settings: How it learns.
        num_sets: Of Theta.
        is_teacher: Whether it learns as a teacher does.
    """

    encoder: Encoder
    settings: FinetuningSettings
    num_sets: int
    is_teacher: bool = False


@dataclass(frozen=True)
class Trials:
    """How much a learner learns.

    Args:
        count: Of the trials, at most.
        passes: Of all of them together, at most.
        lasts: Passes of each training that learns dev too, at most.
        needed: How often every set of Theta is trained on the train split in any case, a training that learns dev
            too behind it where there are such.
        smallest: Of the examples, the share that the trial with the fewest learns.
    """

    count: int
    passes: float
    lasts: tuple[float, ...] = ()
    needed: int = 0
    smallest: float = 1.0


def trial_work(
    node: str,
    what: str,
    learner: Learner,
    trials: Trials,
    examples: Examples,
    facts: Facts,
    *,
    asked: Sequence[tuple[Encoder, float]] = (),
    kind: str = TRIALS,
) -> Work:
    """The trials as work.

    Args:
        node: That does it.
        what: Is trained, in words.
        learner: Who learns.
        trials: How much.
        examples: That are learned; its others are predicted once by one of the trials.
        facts: What is there.
        asked: Encoders that are asked beside it, each about so many tokens in all.
        kind: As `Work` has it.
    """
    settings, needed = learner.settings, trials.needed
    step, per_epoch = step_of(learner.encoder, settings, examples, facts)
    pass_steps = settings.num_epochs * per_epoch
    trainings = trials.count + len(trials.lasts)
    num_steps = max(1, round(pass_steps * (trials.passes + sum(trials.lasts)) / trainings))
    # A training that learns dev too is looked at when it ends alone.
    on_the_way = settings.looks_per_epoch * settings.num_epochs * trials.passes + len(trials.lasts)
    looks = round(on_the_way / trainings) + 1
    seen = (looks * examples.num_dev + examples.num_others // trainings) * step.length
    first_steps = max(1, round(pass_steps))
    least_of_theta = learner.num_sets * _least_steps(settings, first_steps, per_epoch)
    least_last = pass_steps * (1 + examples.num_dev / examples.num_train) if trials.lasts else 0
    least_per_theta = learner.num_sets + bool(trials.lasts)
    return Work(
        FINETUNE,
        node,
        what,
        step,
        num_steps,
        trainings,
        passes=(passed(step, seen), *(passed(step, round(tokens / trainings), encoder) for encoder, tokens in asked)),
        num_looks=looks,
        num_states=1 + num_steps // settings.checkpoint_every_steps,
        is_limit=settings.patience is not None or trainings > needed * least_per_theta,
        first_steps=max(1, round(trials.smallest * first_steps)),
        least_steps=min(num_steps, round((least_of_theta + least_last) / least_per_theta)),
        least_trainings=needed * least_per_theta,
        other_bytes=round(COPIES * learner.encoder.weight_bytes) if kind == TRIALS else 0,
        is_teacher=learner.is_teacher,
        kind=kind,
    )


def most_of_agora(num_sets: int, max_replays: int, max_points_share: float) -> tuple[int, float]:
    """Trials that Agora may take at most, and how often these see the train split, in train splits.

    Each round that is accepted drops one set at least and adds points at most; the first always is, and a replay then
    takes all that are left, with as many points as the round that it repeats.

    Args:
        num_sets: Of Theta.
        max_replays: In the whole run.
        max_points_share: Points of a round, as a share of the train split.
    """
    rounds = [(num_sets - number, 1 + number * max_points_share) for number in range(num_sets)]
    # Where they take most.
    replayed = max(rounds[1:], key=lambda each: each[0] * each[1], default=(0, 0.0))
    rounds += [replayed] * max_replays
    return sum(sets for sets, _ in rounds), sum(sets * size for sets, size in rounds)


def step_of(encoder: Encoder, settings: FinetuningSettings, examples: Examples, facts: Facts) -> tuple[Step, float]:
    """A step, and steps that see the train split once; of several batch sizes the mean."""
    batch = sum(settings.batch_tokens) / len(settings.batch_tokens)
    tokens = min(settings.max_tokens, tokens_of(examples.words, encoder.vocabulary_size))
    step = Step(
        encoder,
        tokens=round(batch),
        length=round(tokens),
        masked_share=0.0,
        precision=facts.precision(settings.mixed_precision),
        num_threads=settings.num_threads,
    )
    return step, examples.num_train * tokens / batch


def _least_steps(settings: FinetuningSettings, num_steps: int, per_epoch: float) -> int:
    """Of a trial that early stopping ends as soon as it may."""
    if settings.patience is None:
        return num_steps
    warmup = int(min(settings.warmup_shares) * num_steps)
    return min(num_steps, warmup + settings.patience * max(1, int(per_epoch / settings.looks_per_epoch)))

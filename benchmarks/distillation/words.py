"""Sentences of the distillation experiment's page; the figures decide which of them stand there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.distillation.findings import SAME_STEPS, SAME_TIME, SCHEDULES, Estimate, Findings
from benchmarks.distillation.trainings import ARMS, CACHED, LIVE, SEEDS, TRIMMED, UNTAUGHT, Arm
from bort_kedro.reporting.markdown import percent

# Who is held against whom: every taught arm against none, and what stands in for the live teacher against it.
PAIRS = [
    *((arm, UNTAUGHT) for arm in ARMS if arm.is_taught),
    *((arm, LIVE) for arm in (*CACHED, TRIMMED)),
]
AS_WORDS = {SAME_STEPS: "for the same steps", SAME_TIME: "for the same time"}


def hundredths(value: float, standard_error: float, *, sign: str = "") -> str:
    """A share or a difference of shares in hundredths, with its standard error."""
    return f"{100 * value:{sign}.2f} ± {100 * standard_error:.2f}"


def comparison(found: Sequence[Findings], own: Arm, other: Arm) -> str:
    """One pair of arms on every corpus and schedule."""
    leads = {
        (schedule, each.experiment.corpus.name): each.lead(schedule, own, other)
        for schedule in SCHEDULES
        for each in found
    }
    signs = [0 if ahead is None else ahead.sign for ahead in leads.values()]
    parts = [
        f"{AS_WORDS[schedule]} " + ", ".join(f"{_phrase(leads[schedule, name])} on {name}" for name in _names(found))
        for schedule in SCHEDULES
    ]
    return (
        f"**{own.name.capitalize()} against {other.name}**: better in {signs.count(1)} of {len(signs)}, worse in "
        f"{signs.count(-1)}; {'; '.join(parts)}."
    )


def _names(found: Sequence[Findings]) -> list[str]:
    return [each.experiment.corpus.name for each in found]


def _phrase(ahead: Estimate | None) -> str:
    if ahead is None:
        return "no time for a step"
    if ahead.sign == 0:
        return f"within noise ({hundredths(ahead.value, ahead.error, sign='+')})"
    word = "better" if ahead.sign > 0 else "worse"
    return f"{word} by {hundredths(abs(ahead.value), ahead.error)}"


def failures(found: Sequence[Findings], num_steps: int) -> Iterator[str]:
    """Whatever did not do what it is there for; one sentence that nothing did, where nothing did."""
    sentences = [sentence for each in found for sentence in _failures_of(each, num_steps)]
    yield from sentences or ["Every teacher helped on every corpus, for the same steps and for the same time."]


def _failures_of(found: Findings, num_steps: int) -> Iterator[str]:
    name = found.experiment.corpus.name
    for schedule in SCHEDULES:
        failed = [
            f"{arm.name} ({_phrase(ahead)})"
            for arm in ARMS
            if arm.is_taught and ((ahead := found.lead(schedule, arm, UNTAUGHT)) is None or ahead.sign <= 0)
        ]
        if failed:
            yield f"{name}, {schedule}: not better than no teacher: {'; '.join(failed)}."
    best = max(
        float(np.mean([o.score.accuracy for o in arm])) for arms in found.outcomes.values() for arm in arms.values()
    )
    if best >= found.experiment.teacher_score.accuracy:
        yield (
            f"{name}: the teacher guesses {percent(found.experiment.teacher_score.accuracy)} right and the best arm "
            f"{percent(best)}: the teacher ends no better than its students."
        )
    for arm in CACHED:
        if found.probe.steps_in_time_of_live(arm, num_steps) < num_steps:
            yield f"{name}: {arm.name} with the filling takes longer than the live teacher over {num_steps} steps."
    if found.probe.step_ratio[TRIMMED.name] >= 1:
        yield f"{name}: a step with the trimmed vocabulary is no faster than with the whole one."
    for arm in (*CACHED, TRIMMED):
        ahead = found.lead(SAME_STEPS, arm, LIVE)
        if ahead is not None and ahead.sign < 0:
            yield f"{name}, {SAME_STEPS}: {arm.name} is {_phrase(ahead)} than the live teacher."


def scales(found: Sequence[Findings]) -> str:
    """How the losses with and without a teacher differ in size, and what that changes."""
    settings = found[0].experiment.parameters.pretrain_distill.student.optimization
    parts = []
    for each in found:
        ends, clipped = {}, {}
        for arm in (UNTAUGHT, LIVE):
            histories = [outcome.result.history for outcome in each.outcomes[SAME_STEPS][arm.name]]
            ends[arm] = np.mean([row["loss"] for history in histories for row in history[-len(history) // 10 :]])
            clipped[arm] = np.mean(
                [row["gradient_norm"] > settings.max_gradient_norm for history in histories for row in history]
            )
        parts.append(
            f"on {each.experiment.corpus.name} the training loss ends at {ends[UNTAUGHT]:.2f} without a teacher and at "
            f"{ends[LIVE]:.2f} with the live one, and {percent(clipped[UNTAUGHT])} and {percent(clipped[LIVE])} of the "
            "steps were clipped"
        )
    return (
        f"The two losses are not of one scale: {'; '.join(parts)}. AdamW divides a constant factor of the loss out "
        f"(but for its epsilon), the clipping of gradients at norm {settings.max_gradient_norm:g} does not; learning "
        f"rate {settings.learning_rate:g} and clipping are those of `conf/base` in every arm, tuned for none here."
    )


def limits(found: Sequence[Findings]) -> Iterator[str]:
    """What the figures do not say."""
    sequence_length = found[0].experiment.parameters.corpus.sequence_length
    yield (
        f"Tiny encoders, texts and vocabularies, and sequences of {sequence_length} tokens: nothing here says how "
        "large students fare."
    )
    yield (
        f"{len(SEEDS)} seeds give an error over seeds with {len(SEEDS) - 1} degrees of freedom; twice the error is "
        "then less sure than usual, and differences near it should not be leaned on. Nothing is corrected for the "
        "number of comparisons."
    )
    yield "One teacher for each corpus, of one seed; another teacher may teach better or worse."
    yield "The teacher's own training is left out of every time. Who has to train it first pays it on top."
    yield (
        "Same time holds for this machine and these shapes: the larger the teacher beside the student, the more steps "
        "a student without one gets for the time. The steps follow from step times of the probe; the seconds in the "
        "tables are of whole trainings, saved states included, and vary with the machine's load."
    )

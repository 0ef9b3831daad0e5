"""The trials that a method can afford in given seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bort_kedro.agora.rivals import ScheduledRound
from bort_kedro.finetuning.methods import MethodResult
from bort_kedro.finetuning.rounds import Round


def within(schedule: Sequence[ScheduledRound], done: MethodResult, *, seconds: float) -> list[ScheduledRound]:
    """The rounds of a method in so many seconds: those done as far as they fit, then further ones with other seeds.

    Args:
        schedule: The rounds that were done.
        done: What they took, trial by trial.
        seconds: For the trials; the first is done in any case.

    Returns:
        Rounds that begin as ``schedule`` does; each further one repeats a trial of the first round, whose mean seconds
        it is taken to need.
    """
    left, kept = seconds, []
    for each, its in zip(schedule, done.rounds, strict=True):
        costs = np.cumsum([trial.seconds for trial in its.trials])
        count = max(int(np.searchsorted(costs, left, side="right")), 0 if kept else 1)
        if count:
            plan = replace(each.plan, settings=each.plan.settings[:count])
            kept.append(replace(each, plan=plan, num_steps=each.num_steps[:count], look_every=each.look_every[:count]))
            left -= float(costs[count - 1])
        if count < len(costs):
            return kept
    first = schedule[0]
    mean = float(np.mean([trial.seconds for trial in done.rounds[0].trials]))
    for extra in range(int(left / mean)):
        place, number = extra % len(first.num_steps), len(schedule) + extra
        plan = Round(number, (first.plan.settings[place],), is_replay=False, draws=(), mistakes_of=None)
        kept.append(ScheduledRound(plan, (first.num_steps[place],), (first.look_every[place],), None))
    return kept

"""Agora: fine-tune by learning from a teacher where the student errs, and drop the hyperparameters that stay worst.

The loop is de Wynter (2020, arXiv 2010.07990) as far as it is public; `docs/decisions/0015-agora.md` has what we added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bort_kedro.agora.loop import AgoraRun
from bort_kedro.finetuning.methods import MethodRecord, MethodResult, RoundResult, StudentTask, best_of
from bort_kedro.finetuning.objectives import mistakes_of
from bort_kedro.finetuning.rounds import Draw

if TYPE_CHECKING:
    from bort_kedro.agora.points import Teacher
    from bort_kedro.tasks.units import Unit


def run_agora(task: StudentTask, teacher: Teacher) -> MethodResult:
    """Fine-tune by Agora with a teacher that was checked.

    Each round trains every hyperparameter set that is left on the train split and the points so far, makes new points
    of the best one's mistakes on dev, at most a share of the units of train, lets the teacher label them, and drops the
    sets that stayed worst. A round that did not help is replayed with other points.

    Raises:
        TrainingError: If every trial of the first round diverges.
    """
    settings, points = teacher.settings, teacher.points(task.states)
    run = AgoraRun(len(task.theta), settings.max_replays)
    record = MethodRecord("agora", task.data.task.name)
    draws: dict[int, Draw] = {}
    train_units = task.encoded.splits["train"].num_units
    max_points = max(1, round(settings.max_points_share * train_units))
    while (plan := run.next_round()) is not None:
        if plan.mistakes_of is not None:
            sources = _mistaken_units(task, record.rounds[plan.mistakes_of])
            draws[plan.number] = points.make(sources, seed=settings.seed + plan.number, max_points=max_points)
        examples = task.with_points([draws[number] for number in plan.draws])
        trials = [task.train(examples, place, method="agora", number=plan.number) for place in plan.settings]
        record.add(plan, draws.get(plan.number), trials, examples)
        run = run.record([trial.score for trial in trials])
    return record.result()


def _mistaken_units(task: StudentTask, of: RoundResult) -> list[Unit]:
    """Dev units that the best trial of a round gets wrong."""
    outputs = best_of(of.trials).dev_outputs
    wrong = mistakes_of(task.data.task.form, outputs, task.encoded.splits["dev"])
    return [task.data.units["dev"][place] for place in wrong]

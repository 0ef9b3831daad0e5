"""What methods of fine-tuning share: the task and its student, rounds and what they found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bort_kedro.errors import TrainingError
from bort_kedro.finetuning.report import MethodReport, RoundReport, RoundTrial
from bort_kedro.finetuning.rounds import Round
from bort_kedro.finetuning.trials import Trial, train_trial
from bort_kedro.frozen import JsonObject
from bort_kedro.training.observer import TrialEnded
from bort_kedro.training.saved_state import States

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.finetuning.data import EncodedTask, TaskData
    from bort_kedro.finetuning.encoding import EncodedExamples
    from bort_kedro.finetuning.rounds import Draw
    from bort_kedro.finetuning.settings import TrialSettings
    from bort_kedro.finetuning.theta import HyperparameterSet


@dataclass(frozen=True)
class StudentTask:
    """What every method that teaches a student has.

    Args:
        student: Pretrained, never changed.
        data: The examples as texts.
        encoded: The same as ids of the student.
        theta: Hyperparameter sets.
        settings: What all trials share.
        states: Of all trials; their observer hears of each that ends.
    """

    student: Pretrained
    data: TaskData
    encoded: EncodedTask
    theta: Sequence[HyperparameterSet]
    settings: TrialSettings
    states: States

    def train(
        self,
        examples: EncodedExamples,
        place: int,
        *,
        method: str,
        number: int,
        num_steps: int | None = None,
        look_every: int | None = None,
        seed_shift: int = 0,
    ) -> Trial:
        """One trial of a method.

        Args:
            examples: To learn from.
            place: In Theta.
            method: That the trial is part of.
            number: Of the round.
            num_steps: Allowed; None is as many epochs as set.
            look_every: Steps between two looks at dev; None is as many an epoch as set.
            seed_shift: Added to the seed.
        """
        chosen = self.theta[place]
        trial = train_trial(
            self.student,
            self.encoded,
            examples,
            replace(chosen, seed=chosen.seed + seed_shift),
            self.settings,
            states=self.states,
            num_steps=num_steps,
            look_every=look_every,
            description=f"{self.data.task.name}: {method}, round {number}, setting {place + 1}",
        )
        self.tell(method, number, place, trial)
        return trial

    def tell(self, method: str, number: int, place: int, trial: Trial) -> None:
        """Let whoever listens know of a trial that has ended."""
        name, row = self.data.task.name, trial.report().to_json()
        self.states.observer.trial_ended(TrialEnded(name, method, number, place, row, trial.history, trial.looks))

    def with_points(self, draws: Sequence[Draw]) -> EncodedExamples:
        """The train split and the points of some rounds."""
        examples = self.encoded.splits["train"]
        for draw in draws:
            if draw.units:
                examples = examples.joined(self.encoded.encoder(draw.units).answered(draw.targets))
        return examples


@dataclass(frozen=True)
class RoundResult:
    """A round as it went.

    Args:
        plan: What was to be done.
        draw: Its own points; None in the first round.
        trials: In the order of ``plan.settings``.
        num_train: Units trained on.
    """

    plan: Round
    draw: Draw | None
    trials: list[Trial]
    num_train: int

    def report(self) -> RoundReport:
        """Without weights, outputs, curves and texts."""
        trials = tuple(
            RoundTrial(setting=place, **dict(trial.report()))
            for place, trial in zip(self.plan.settings, self.trials, strict=True)
        )
        points = self.draw.report() if self.draw else None
        return RoundReport(plan=self.plan, num_train=self.num_train, points=points, trials=trials)


@dataclass(frozen=True)
class MethodResult:
    """What a method of fine-tuning found.

    Args:
        method: Its name.
        best: The trial that scored best on dev, the first among equals.
        setting: Its place in Theta.
        examples: That it learned from.
        rounds: All rounds.
        last: A training after these, on the same examples and dev; None where there was none.
        temperature: That the logits of the model were divided by, see `temperature.calibrate`; None before.
    """

    method: str
    best: Trial
    setting: int
    examples: EncodedExamples
    rounds: list[RoundResult]
    last: Trial | None = None
    temperature: float | None = None

    def report(self) -> MethodReport:
        """Without weights, outputs, curves and texts."""
        trials = [trial for each in self.rounds for trial in each.trials]
        trials += [self.last] if self.last else []
        return MethodReport(
            method=self.method,
            best=self.best.report(),
            last=self.last.report() if self.last else None,
            rounds=tuple(each.report() for each in self.rounds),
            num_trials=len(trials),
            num_steps=sum(trial.num_steps for trial in trials),
            num_steps_done=sum(trial.num_steps_done for trial in trials),
            seconds=sum(trial.seconds for trial in trials),
            num_tokens=sum(trial.num_tokens for trial in trials),
        )

    def history(self) -> list[JsonObject]:
        """Rows of all trainings, with method, round and setting."""
        trained = [
            (each.plan.number, setting, trial)
            for each in self.rounds
            for setting, trial in zip(each.plan.settings, each.trials, strict=True)
        ]
        trained += [(len(self.rounds), self.setting, self.last)] if self.last else []
        return [
            {"method": self.method, "round": number, "setting": setting, **row}
            for number, setting, trial in trained
            for row in trial.history
        ]


class MethodRecord:
    """The rounds of a method as they end, with the best trial of them all.

    Of all models only the best is kept.

    Args:
        method: Its name.
        task: Name of the task.
    """

    def __init__(self, method: str, task: str) -> None:
        self._method, self._task = method, task
        self.rounds: list[RoundResult] = []
        self._best: tuple[Trial, int, EncodedExamples] | None = None

    def add(self, plan: Round, draw: Draw | None, trials: Sequence[Trial], examples: EncodedExamples) -> None:
        """Keep a round.

        Raises:
            TrainingError: If every trial up to here diverged.
        """
        best = best_of([*([self._best[0]] if self._best else []), *trials])
        if self._best is None or best is not self._best[0]:
            setting = next(place for place, trial in zip(plan.settings, trials, strict=True) if trial is best)
            self._best = best, setting, examples
        if best.model is None:
            raise TrainingError(
                f"Task `{self._task}`: every training diverged. Lower learning_rates or max_gradient_norm, or set "
                "mixed_precision to `no`, in params:finetune.training."
            )
        kept = [replace(trial, model=None) for trial in trials]
        self.rounds.append(RoundResult(plan, draw, kept, examples.num_units))

    def result(self) -> MethodResult:
        """What was found in the rounds, of which there is at least one."""
        assert self._best is not None  # noqa: S101 - Theta is never empty, so every method has a round
        return MethodResult(self._method, *self._best, self.rounds)


def best_of(trials: Sequence[Trial]) -> Trial:
    """The best on dev, the first among equals."""
    return max(trials, key=lambda trial: trial.score)

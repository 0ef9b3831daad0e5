"""What a fine-tuning reports: its trials, rounds and costs."""

from __future__ import annotations

from pydantic import Field

from bort_kedro.evaluation.calibration import Calibration
from bort_kedro.finetuning.rounds import DrawReport, Round
from bort_kedro.frozen import FrozenModel


class TrialReport(FrozenModel):
    """How a trial was trained and what it reached; `trials.Trial` says what each is."""

    learning_rate: float
    weight_decay: float
    warmup_share: float
    batch_tokens: int
    seed: int
    num_steps: int
    num_steps_done: int
    look_every: int
    dev_score: float
    has_diverged: bool
    seconds: float
    num_tokens: int


class RoundTrial(TrialReport):
    """A trial of a round, with its place in Theta."""

    setting: int


class RoundReport(FrozenModel):
    """A round as it went.

    Args:
        plan: What was to be done.
        num_train: Units trained on.
        points: Its own; None in the first round.
        trials: In the order of ``plan.settings``.
    """

    plan: Round
    num_train: int
    points: DrawReport | None
    trials: tuple[RoundTrial, ...]


class MethodReport(FrozenModel):
    """What a method of fine-tuning found; a diagnostic, which trains nothing, has neither trial nor round.

    Args:
        method: Its name, such as ``agora``.
        best: The trial that was best on dev; its weights were kept, unless there was a last training.
        last: On what the best one learned from and dev, with its weights kept.
        rounds: All there were.
        num_trials: In all rounds.
        num_steps: Allowed.
        num_steps_done: Until early stopping ended each trial.
        seconds: Of all trials.
        num_tokens: Trained on, padding left out.
    """

    method: str
    best: TrialReport | None = None
    last: TrialReport | None = None
    rounds: tuple[RoundReport, ...] = ()
    num_trials: int = 0
    num_steps: int = 0
    num_steps_done: int = 0
    seconds: float = 0.0
    num_tokens: int = 0


class MethodScore(FrozenModel):
    """What cross-validation on train says of a method.

    Args:
        score: Of all folds together, by the task's first metric.
        lead: Over plain fine-tuning, paired by unit.
        lead_error: Standard error of the lead.
    """

    score: float
    lead: float
    lead_error: float


class FinetuningReport(MethodReport):
    """The same with what is known of the task's examples.

    Args:
        compared: Methods that this one was chosen among, by name; empty where it was set.
        compared_trials: Trainings that were taken for it, of a ``teacher`` and of the ``student``.
        task: Its name.
        form: Of the task.
        metrics: Of the task, the first to choose by.
        labels: In the order of the outputs.
        num_examples: Rows by split.
        num_units: Units by split.
        truncated_share: Share of the inputs that are cut.
        calibration: Of probabilities on dev and test, with the temperature that is in the model; empty of regressions,
            teachers and diagnostics.
    """

    compared: dict[str, MethodScore] = Field(default_factory=dict)
    compared_trials: dict[str, int] = Field(default_factory=dict)
    task: str
    form: str
    metrics: tuple[str, ...]
    labels: tuple[str, ...]
    num_examples: dict[str, int]
    num_units: dict[str, int]
    truncated_share: float
    calibration: dict[str, Calibration] = Field(default_factory=dict)

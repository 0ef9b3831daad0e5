"""Agora against its rivals on the built-in tasks; a seed draws pretraining, splits, teacher, head and points anew."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.configured import raw_parameters
from benchmarks.finetune.equal_time import within
from benchmarks.finetune.leads import AGORA, right_on_test
from benchmarks.finetune.students import latest, pretrained_student
from benchmarks.finetune.variants import ALIKE, NO_ORDER, REPRESENTATIVE, WITHOUT_ORDER, AlikePoints
from benchmarks.finetune.variants import with_representative_dev as representative
from benchmarks.floors import floor_accuracies
from benchmarks.own_process import fresh_processes, on_the_cpu, quietly
from bort_kedro.agora.out_of_fold import out_of_fold_beliefs
from bort_kedro.agora.points import PointMaker, Teaching
from bort_kedro.agora.rivals import ScheduledRound, run_rival
from bort_kedro.agora.run import run_agora
from bort_kedro.agora.settings import AgoraSettings
from bort_kedro.agora.teacher import TaskTeacher, fine_tune_teacher
from bort_kedro.agora.teacher_bar import TeacherReport
from bort_kedro.agora.teaching import EncoderTeaches
from bort_kedro.agora.transformation import Transformation
from bort_kedro.configuration import check_parameters
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.finetuning.data import check_examples
from bort_kedro.finetuning.finetune import conclude, learn_dev_too, student_task
from bort_kedro.finetuning.methods import MethodResult, StudentTask
from bort_kedro.finetuning.rounds import Draw
from bort_kedro.finetuning.theta import build_theta
from bort_kedro.frozen import JsonObject
from bort_kedro.params import FinetuneParams
from bort_kedro.params.finetune import task_of
from bort_kedro.pipelines.tasks.nodes import builder_of
from bort_kedro.tasks.units import Unit
from bort_kedro.training.observer import SilentObserver, TrialEnded
from bort_kedro.training.saved_state import SavedState, States

SEEDS = (0, 1, 2, 3, 4)
BUILTIN = ("order", "library", "adjacent")
# The teacher of the third is under its bar with every seed, a student on two cores being no wiser than chance there.
COMPARED = ("order", "library")
RIVALS = ("plain", "distilled", "random_augmentation")
# Two trainings of tiny models side by side are faster than one with two threads.
NUM_PROCESSES = 2


@dataclass(frozen=True)
class Answered:
    """A method with one seed.

    Args:
        right: (N,) whether each test example is answered rightly.
        num_steps_done: Of the student, until early stopping.
        seconds: Of the student's trainings.
        seconds_before: Of what the method needs beside them: trainings of teachers, making points.
    """

    right: np.ndarray
    num_steps_done: int
    seconds: float
    seconds_before: float

    @property
    def total(self) -> float:
        """All seconds."""
        return self.seconds + self.seconds_before


@dataclass(frozen=True)
class Outcome:
    """One task with one seed.

    Args:
        task: Its name.
        seed: Of all that is drawn.
        teacher: As it was held against its bar.
        teacher_test_score: Its accuracy on test.
        at_equal_steps: By method, each as dev chooses it and once more with dev learned too.
        at_equal_time: By those that learn dev too, each in Agora's seconds, the teacher's and the points' among them.
        variants: By name in `variants.VARIANTS`, what Agora answers with another tau or dev.
        floors: Accuracy on test of each of `evaluation.floors.FLOORS`.
        rounds: Of Agora, as in its report.
    """

    task: str
    seed: int
    teacher: TeacherReport
    teacher_test_score: float
    at_equal_steps: dict[str, Answered]
    at_equal_time: dict[str, Answered]
    variants: dict[str, Answered]
    floors: dict[str, float]
    rounds: list[JsonObject]


class SecondsOfTrials(SilentObserver):
    """Sums up what trainings took, also those that were found."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def trial_ended(self, trial: TrialEnded) -> None:
        """One more."""
        self.seconds += trial.row["seconds"]


class Unkept:
    """States that keep nothing: of points that are found the time would be lost."""

    def of(self, name: str, identity: JsonObject) -> Unkept:
        """Whatever they are."""
        return self

    def latest(self) -> None:
        """None."""

    def put(self, state: SavedState) -> None:
        """Nowhere."""


class TimedTeacher:
    """A teacher that makes points and sums up the processor seconds.

    Args:
        teacher: Whose labels they have.
        maker: Of the points.
    """

    def __init__(self, teacher: TaskTeacher, maker: PointMaker) -> None:
        self.settings, self.says, self._maker, self.seconds = teacher.settings, teacher.says, maker, 0.0

    def points(self, states: States) -> TimedTeacher:
        """They have no states."""
        return self

    def make(self, sources: Sequence[Unit], *, seed: int, max_points: int) -> Draw:
        """As the maker does."""
        began = time.process_time()
        draw = self._maker.make(sources, seed=seed, max_points=max_points)
        self.seconds += time.process_time() - began
        return draw


def base_finetuning(**changes: Any) -> FinetuneParams:
    """The parameters of ``conf/base`` with some of them changed, by their nesting under `finetune`."""
    return check_parameters(raw_parameters(finetune=changes)).finetune


def seeded(seed: int, agora: Mapping[str, Any] | None = None) -> FinetuneParams:
    """Of one seed, with changes of Agora's parameters."""
    return base_finetuning(
        training={"seeds": [seed], "num_threads": 1},
        teacher={"training": {"seeds": [seed], "num_threads": 1}},
        agora={**(agora or {}), "seed": 1000 * seed},
        builtin_tasks={"seed": seed},
        split_seed=seed,
    )


@dataclass(frozen=True)
class Lesson:
    """One task of one seed, and all that its methods need.

    Args:
        examples: In their splits.
        finetune: Parameters of the seed.
        own: The student's task.
    """

    examples: pd.DataFrame
    finetune: FinetuneParams
    own: StudentTask

    @classmethod
    def of(
        cls, task: str, examples: pd.DataFrame, student: Pretrained, finetune: FinetuneParams, states: Path
    ) -> Lesson:
        """With trainings kept in a folder."""

        data, training = check_examples(examples, task_of(task, finetune)), finetune.training
        theta = build_theta(training, draw_seed=finetune.split_seed)
        return cls(examples, finetune, student_task(student, data, theta, training, TrainingStates(states, keep=1)))

    @cached_property
    def teaching(self) -> StudentTask:
        """The teacher's task, which is another copy of the student."""
        asked = self.finetune
        training, num_folds, seed = asked.teacher.training, asked.num_folds, asked.split_seed
        return EncoderTeaches(self.own.student, training, asked.agora, num_folds, seed).task_beside(self.own)

    def teacher(self, classifier: Pretrained, settings: AgoraSettings, *, alike: bool = False) -> TimedTeacher:
        """Fine-tuned before, with points made by tau."""
        data, student = self.own.data, self.own.student
        teacher = TaskTeacher(classifier, student, data, settings, self.finetune.teacher.training.max_tokens)
        tau = Transformation(student, settings.transformation)
        source = AlikePoints(tau, settings.ngram_words) if alike else tau
        return TimedTeacher(teacher, PointMaker(data, source, teacher.says, {}, settings, Unkept()))

    def by_agora(
        self, classifier: Pretrained, settings: AgoraSettings, *, alike: bool = False
    ) -> tuple[MethodResult, float]:
        """What Agora finds, and the seconds of making its points."""
        teacher = self.teacher(classifier, settings, alike=alike)
        return run_agora(self.own, teacher), teacher.seconds


@quietly()
def outcome_of(task: str, seed: int, states: Path) -> Outcome:
    """Agora, whatever the bar says, and all rivals of one task and seed; trainings in the states are found there."""
    finetune, kept = seeded(seed), states / "builtin"
    documents = pd.read_parquet(latest("02_intermediate/corpus_documents.parquet/*/*.parquet"))
    examples, _ = builder_of(task)(documents, finetune)
    student = pretrained_student(seed, states / "students")
    lesson = Lesson.of(task, examples, student, finetune, kept)
    taught, report = fine_tune_teacher(lesson.teaching)
    on_test = taught.predictions[taught.predictions["split"] == "test"]
    agora, made = lesson.by_agora(taught.model, finetune.agora)
    found, timed = rivals_of(lesson, taught.model, report, agora, made, kept)
    return Outcome(
        task,
        seed,
        report,
        float((on_test["label"] == on_test["prediction"]).mean()),
        found,
        timed,
        variants_of(lesson, taught.model, report, kept),
        floor_accuracies(task, examples, finetune),
        [each.to_json() for each in agora.report().rounds],
    )


def rivals_of(
    lesson: Lesson, classifier: Pretrained, report: TeacherReport, agora: MethodResult, made: float, kept: Path
) -> tuple[dict[str, Answered], dict[str, Answered]]:
    """Agora and its rivals at equal steps, and at equal time."""
    own = lesson.own
    schedule = [ScheduledRound.of(each) for each in agora.report().rounds]
    folds = SecondsOfTrials()
    beliefs = out_of_fold_beliefs(
        replace(lesson.teaching, states=TrainingStates(kept, 1, folds)),
        num_folds=lesson.finetune.num_folds,
        seed=lesson.finetune.split_seed,
    )
    teacher = lesson.teacher(classifier, lesson.finetune.agora)
    teaching = Teaching(teacher, lambda: beliefs)
    results = {rival: run_rival(rival, own, schedule, teaching) for rival in RIVALS}
    before = {AGORA: report.seconds + made, "random_augmentation": report.seconds + teacher.seconds}
    before |= {"plain": 0.0, "distilled": folds.seconds}
    results[AGORA] = agora
    found = {}
    for method, result in results.items():
        found[method] = answered(own, result, before[method])
        found[with_dev(method)] = answered(own, learn_dev_too(own, result), before[method])
    # Random points take Agora's time as they take its steps.
    timed = {with_dev(method): found[with_dev(method)] for method in (AGORA, "random_augmentation")}
    budget = timed[with_dev(AGORA)].total
    for rival in ("plain", "distilled"):
        last = found[with_dev(rival)].seconds - found[rival].seconds
        affordable = within(schedule, results[rival], seconds=budget - before[rival] - last)
        result = learn_dev_too(own, run_rival(rival, own, affordable, teaching))
        timed[with_dev(rival)] = answered(own, result, before[rival])
    return found, timed


def with_dev(method: str) -> str:
    """The name of a method that learns dev too, once dev has chosen."""
    return f"{method}_with_dev"


def variants_of(lesson: Lesson, classifier: Pretrained, report: TeacherReport, kept: Path) -> dict[str, Answered]:
    """Agora with another tau, fewer points, or another dev, for which the teacher is fine-tuned anew."""
    settings, other = lesson.finetune.agora, seeded(lesson.finetune.split_seed, WITHOUT_ORDER).agora
    found = {NO_ORDER: lesson.by_agora(classifier, other), ALIKE: lesson.by_agora(classifier, settings, alike=True)}
    answers = {name: answered(lesson.own, result, report.seconds + made) for name, (result, made) in found.items()}
    examples, task = representative(lesson.examples, lesson.finetune.split_seed), lesson.own.data.task.name
    dealt = Lesson.of(task, examples, lesson.own.student, lesson.finetune, kept)
    taught, its_report = fine_tune_teacher(dealt.teaching)
    result, made = dealt.by_agora(taught.model, settings)
    return answers | {REPRESENTATIVE: answered(dealt.own, result, its_report.seconds + made)}


def answered(task: StudentTask, result: MethodResult, seconds_before: float = 0.0) -> Answered:
    """What a method answers to test, and what it took."""
    is_right, report = right_on_test(conclude(task, result).predictions), result.report()
    return Answered(is_right, report.num_steps_done, report.seconds, seconds_before)


def outcomes(tasks: Sequence[str], seeds: Sequence[int], states: Path) -> list[Outcome]:
    """All tasks with all seeds."""
    with fresh_processes(NUM_PROCESSES, on_the_cpu(1)) as pool:
        # Once each, before two tasks want the same.
        list(pool.map(partial(pretrained_student, states=states / "students"), seeds))
        running = [pool.submit(outcome_of, task, seed, states) for seed in seeds for task in tasks]
        return [each.result() for each in running]

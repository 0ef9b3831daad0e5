"""The trainings of the distillation experiment: what comes before the students, the students, and their tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.distillation.arms import (
    CANDIDATE,
    LEARNT,
    LOGITS,
    LONGER,
    MAXIMUM_POINT,
    TEACHER,
    TOKENS,
    Arm,
)
from benchmarks.distillation.corpora import Corpus, base_parameters
from benchmarks.finetune.leads import right_on_test
from bort_kedro.datasets.pending import pending
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.device import describe_device
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.encoders.student_start import from_candidate, from_teacher
from bort_kedro.params import Parameters
from bort_kedro.pipelines.finetune.nodes import student_tuner_of
from bort_kedro.pretraining.distillation import Distillation
from bort_kedro.pretraining.pretrain import definite, new_encoder, pretrain, score
from bort_kedro.pretraining.settings import PretrainingSettings
from bort_kedro.search.short_training import Inheritance, ShortTraining
from bort_kedro.text.trimming import vocabulary_map
from bort_kedro.training.loop import TrainingResult

SEEDS = (0, 1, 2)
# Step times are medians over rounds in which all that is timed takes turns.
PROBE_ROUNDS = 5
PROBE_STEPS = 30


@dataclass(frozen=True)
class Before:
    """What is trained once for all students of a corpus.

    Args:
        corpus: Of the experiment.
        parameters: Of ``conf/base``.
        encoders: By name, see `arms.STARTS`.
        seconds: Of the training of each, without those before it.
        steps: Likewise.
        accuracy: Masked, of each on the test split.
    """

    corpus: Corpus
    parameters: Parameters
    encoders: dict[str, Pretrained]
    seconds: dict[str, float]
    steps: dict[str, int]
    accuracy: dict[str, float]

    def teacher_seconds(self, arm: Arm) -> float:
        """Of all that is trained before a student of an arm."""
        return sum(self.seconds[name] for name in arm.before)


def prepare(corpus: Corpus, parameters: Parameters, shape: BertShape, arms: Sequence[Arm], states: Path) -> Before:
    """T and the candidate as the search trains them, and T trained further as the pretraining does, and longer.

    What no arm needs but T and the teacher is left out.
    """
    needed = {name for arm in arms for name in arm.before}
    search, further = parameters.search, parameters.pretrain_distill.teacher
    own = definite(search.maximum_point_training())
    # So that all of its steps are twice the teacher's.
    again = own.optimization.num_steps + further.optimization.num_steps
    kept = TrainingStates(states, keep=1)
    encoders: dict[str, Pretrained] = {}
    seconds: dict[str, float] = {}
    steps: dict[str, int] = {}

    def train(name: str, settings: PretrainingSettings, start: str | None) -> None:
        model = new_encoder(
            search.stated_maximum(),
            corpus.tokens,
            max_positions=parameters.corpus.max_positions,
            settings=settings,
        )
        if start is not None:
            model.load_state_dict(encoders[start].model.state_dict())
        named = encoders[start].fingerprint if start else "random"
        result = pretrain(model, corpus.tokens, definite(settings), states=kept, name=name, start=named)
        encoders[name] = Pretrained(model.requires_grad_(False), corpus.tokenizer)
        seconds[name], steps[name] = result.seconds, result.num_steps

    train(MAXIMUM_POINT, own, None)
    train(TEACHER, further, MAXIMUM_POINT)
    if LONGER in needed:
        train(LONGER, with_steps(further, again, seed=further.optimization.seed + 1), TEACHER)
    short = ShortTraining(
        corpus.tokens,
        definite(search.training),
        parameters.corpus.max_positions,
        kept,
        Inheritance(encoders[MAXIMUM_POINT], every_id(corpus), search.narrowing),
    )
    if CANDIDATE in needed:
        seed, steps[CANDIDATE] = search.training.optimization.seed, search.training.optimization.num_steps
        seconds[CANDIDATE] = short.run(shape, {}, seed, steps[CANDIDATE])["seconds"]
        encoders[CANDIDATE] = Pretrained(short.trained(shape, {}, seed), corpus.tokenizer)
    accuracy = {
        name: score(encoder.model, corpus.tokens, split="test", num_threads=1).accuracy
        for name, encoder in encoders.items()
    }
    return Before(corpus, parameters, encoders, seconds, steps, accuracy)


def every_id(corpus: Corpus) -> torch.Tensor:
    """(V,) the teacher's id of each of the student's: they share a tokenizer."""
    return torch.arange(corpus.tokens.vocabulary.size)


def with_steps(settings: PretrainingSettings, num_steps: int, **changes: int) -> PretrainingSettings:
    """The same training of another length."""
    return definite(settings.changed(optimization=settings.optimization.changed(num_steps=num_steps, **changes)))


def train_student(
    before: Before, shape: BertShape, arm: Arm, *, seed: int, num_steps: int, states: TrainingStates | None
) -> tuple[Pretrained, TrainingResult]:
    """A student of one arm and seed."""
    corpus, parameters = before.corpus, before.parameters
    settings = with_steps(parameters.pretrain_distill.student, num_steps, seed=seed)
    model = new_encoder(shape, corpus.tokens, max_positions=parameters.corpus.max_positions, settings=settings)
    if arm.start == CANDIDATE:
        from_candidate(model, before.encoders[CANDIDATE])
    elif arm.start != "random":
        from_teacher(model, before.encoders[arm.start], every_id(corpus), layers=None, narrowing="svd")
    start = "random" if arm.start == "random" else Pretrained(model, corpus.tokenizer).fingerprint
    distillation = None
    if arm.learns != TOKENS:
        learnt = base_parameters(**LEARNT[arm.learns]).pretrain_distill.distillation
        own_map = vocabulary_map(corpus.tokenizer, corpus.tokenizer)
        distillation = Distillation(before.encoders[TEACHER], own_map, learnt)
    name = f"students/{arm.name.replace(',', '').replace(' ', '-')}"
    result = pretrain(model, corpus.tokens, settings, states=states, name=name, start=start, distillation=distillation)
    return Pretrained(model, corpus.tokenizer), result


@dataclass(frozen=True)
class Outcome:
    """One trained student.

    Args:
        arm: Its name.
        seed: Of weights where they are drawn, of order and masks, and of the fine-tuning.
        num_steps: Of its training.
        loss: On the test split, in nats.
        is_right: By measure, (N,) whether each hidden token or each example of a task's test split is answered rightly.
        unit_of: By measure, (N,) the block or example that each lies in, which is independent of the others.
    """

    arm: str
    seed: int
    num_steps: int
    loss: float
    is_right: dict[str, np.ndarray]
    unit_of: dict[str, np.ndarray]


MASKED = "masked accuracy"


def outcome_of(before: Before, shape: BertShape, arm: Arm, seed: int, num_steps: int, folder: Path) -> Outcome:
    """Train a student, score it, and fine-tune it plainly on each task; what is in the states is found there."""
    states = TrainingStates(folder, keep=1)
    student, _ = train_student(before, shape, arm, seed=seed, num_steps=num_steps, states=states)
    own = score(student.model, before.corpus.tokens, split="test", num_threads=1)
    is_right, unit_of = {MASKED: own.is_correct}, {MASKED: own.block_of}
    finetune = before.parameters.finetune
    finetune = finetune.changed(training=finetune.training.changed(seeds=(seed,)))
    for task, examples in before.corpus.examples.items():
        _, _, predictions, *_ = student_tuner_of(task)(examples, student, states, finetune)
        is_right[task] = right_on_test(predictions)
        unit_of[task] = np.arange(len(is_right[task]))
    return Outcome(arm.name, seed, num_steps, own.loss, is_right, unit_of)


@dataclass(frozen=True)
class Probe:
    """What a step takes, by what is learnt, and under `TEACHER` a step of the teacher's own training.

    Args:
        seconds: Median over the rounds.
        ratio: To a step of the published loss in the same round, median likewise.
    """

    seconds: dict[str, float]
    ratio: dict[str, float]

    def steps_of(self, arm: Arm, num_steps: int, before: Mapping[str, int]) -> int:
        """Steps of an arm in the time of so many of the published loss, and of the trainings whose time it has.

        Args:
            arm: Whose.
            num_steps: Of the published loss.
            before: Steps of T and the teacher, which are as large as each other, by name.
        """
        time = num_steps + sum(before[name] for name in arm.has_time_of) * self.ratio[TEACHER]
        return max(1, int(time / self.ratio[arm.learns]))


def probe(before: Before, shape: BertShape, states: Path, *, num_steps: int) -> Probe:
    """Step times, measured once: on them hang the steps of trainings that may be interrupted."""
    identity = {
        "tokens": before.corpus.tokens.fingerprint,
        "teacher": before.encoders[TEACHER].fingerprint,
        "settings": before.parameters.pretrain_distill.student.identity(),
        "learnt": LEARNT,
        "shape": shape.to_row(),
        "device": describe_device(),
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    file = states / f"probe-{key}.json"
    if not file.exists():
        measured = _measure(before, shape, min(PROBE_STEPS, num_steps))
        with pending(file) as temporary:
            temporary.write_text(json.dumps(asdict(measured), indent=2) + "\n", "utf-8")
    return Probe(**json.loads(file.read_text("utf-8")))


def _measure(before: Before, shape: BertShape, num_steps: int) -> Probe:
    timed: list[str] = [*LEARNT, TEACHER]
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for name in timed:
        _step_seconds(before, shape, name, num_steps)
    for start in range(PROBE_ROUNDS):
        for name in (*timed[start:], *timed[:start]):
            seconds[name].append(_step_seconds(before, shape, name, num_steps))
    live = np.array(seconds[LOGITS])
    return Probe(
        {name: float(np.median(times)) for name, times in seconds.items()},
        {name: float(np.median(np.array(times) / live)) for name, times in seconds.items()},
    )


def _step_seconds(before: Before, shape: BertShape, name: str, num_steps: int) -> float:
    if name == TEACHER:
        settings, tokens = before.parameters.pretrain_distill.teacher, before.corpus.tokens
        model: Any = new_encoder(
            before.parameters.search.stated_maximum(),
            tokens,
            max_positions=before.parameters.corpus.max_positions,
            settings=settings,
        )
        result = pretrain(model, tokens, with_steps(settings, num_steps), states=None, name=name)
    else:
        _, result = train_student(before, shape, Arm("", "random", name), seed=0, num_steps=num_steps, states=None)
    return result.seconds / num_steps


def num_steps_of(before: Before, found: Probe, arms: Sequence[Arm], num_steps: int) -> dict[str, int]:
    """By name of the arm."""
    return {arm.name: found.steps_of(arm, num_steps, before.steps) for arm in arms}

"""The trainings that say whether a teacher helps: students of one shape, for equal steps and for equal time."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.distillation.corpora import MIN_COUNT, VOCABULARY_SIZE, Corpus, Text, text_of
from bort_kedro.datasets.atomic import pending
from bort_kedro.datasets.teacher_cache import TeacherCaches
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.device import describe_device
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.params import Parameters
from bort_kedro.pretraining.distillation import Distillation, TeacherCache
from bort_kedro.pretraining.masked_lm import MaskedLmScore
from bort_kedro.pretraining.pretrain import definite, new_encoder, pretrain, score
from bort_kedro.pretraining.settings import PretrainingSettings
from bort_kedro.text.tokenizer import train_tokenizer
from bort_kedro.text.trimming import count_ids, trim_tokenizer, trimming_report, vocabulary_map
from bort_kedro.training.loop import TrainingResult

SEEDS = (0, 1, 2)
SHAPE = BertShape(2, 4, 96, 128)
TEACHER_SHAPE = BertShape(4, 4, 256, 1024)
# From random weights, where the teacher of conf/base goes on from what the search trained.
TEACHER_STEPS = 700
STUDENT_STEPS = 500
# Masks repeat after so many passes; only then does a cache ask the teacher less often than a live teacher is asked.
CACHE_EPOCHS = 1
# Step times are medians over rounds in which the arms take turns.
PROBE_ROUNDS = 5
PROBE_STEPS = 40


@dataclass(frozen=True)
class Arm:
    """One way to train the student.

    Args:
        name: For readers.
        is_taught: Whether there is a teacher.
        is_trimmed: Whether the vocabulary is that of the corpus alone.
        top_k: Tokens that a cache keeps of the teacher; None asks it at every step.
    """

    name: str
    is_taught: bool = True
    is_trimmed: bool = False
    top_k: int | None = None


UNTAUGHT = Arm("no teacher", is_taught=False)
LIVE = Arm("live teacher")
CACHED = (Arm("cached teacher, top 64", top_k=64),)
TRIMMED = Arm("live teacher, trimmed vocabulary", is_trimmed=True)
ARMS = (UNTAUGHT, LIVE, *CACHED, TRIMMED)


@dataclass(frozen=True)
class Outcome:
    """One trained student.

    Args:
        student: With its tokenizer.
        num_steps: Of its training.
        result: Of its training; its seconds leave the filling of a cache out.
        score: On the test split of its own tokens.
    """

    student: Pretrained
    num_steps: int
    result: TrainingResult
    score: MaskedLmScore


@dataclass(frozen=True)
class Probe:
    """What the arms take, by name.

    Args:
        step_seconds: Median over the rounds.
        step_ratio: Of a step to one of the live teacher's in the same round, median likewise.
        filling_seconds: Of a cache; of an arm without one the little that a training takes to start.
        cache_bytes: On the disk.
    """

    step_seconds: dict[str, float]
    step_ratio: dict[str, float]
    filling_seconds: dict[str, float]
    cache_bytes: dict[str, int]

    def steps_in_time_of_live(self, arm: Arm, num_steps: int) -> int:
        """Steps of an arm in the time of so many under the live teacher, filling counted; below 1 if that is longer."""
        if arm == LIVE:
            return num_steps
        filling = self.filling_seconds[arm.name] if arm.top_k else 0.0
        return int((num_steps - filling / self.step_seconds[LIVE.name]) / self.step_ratio[arm.name])


@dataclass(frozen=True)
class Experiment:
    """What the students of one corpus share.

    Args:
        corpus: Of the experiment.
        parameters: Of ``conf/base``.
        whole: The corpus under the general tokenizer.
        trimmed: The same under the tokenizer without the ids that are rare in it.
        trimming: From `trimming_report`, its held-out texts being those of the test split.
        teacher: Trained on the corpus.
        teacher_result: Of that training.
        teacher_score: On the test split.
        states: Folder of training states and caches.
    """

    corpus: Corpus
    parameters: Parameters
    whole: Text
    trimmed: Text
    trimming: dict[str, Any]
    teacher: Pretrained
    teacher_result: TrainingResult
    teacher_score: MaskedLmScore
    states: Path

    def text(self, arm: Arm) -> Text:
        """What an arm learns from."""
        return self.trimmed if arm.is_trimmed else self.whole

    def settings(self, *, seed: int, num_steps: int) -> PretrainingSettings:
        """Of every student."""
        return _changed(self.parameters.pretrain_distill.student, seed=seed, num_steps=num_steps)

    def train(self, arm: Arm, *, seed: int, num_steps: int, keeps_states: bool) -> tuple[Pretrained, TrainingResult]:
        """A student of one arm and seed; silent and without states where none are kept."""
        text, settings = self.text(arm), self.settings(seed=seed, num_steps=num_steps)
        model = new_encoder(SHAPE, text.tokens, max_positions=self.parameters.corpus.max_positions, settings=settings)
        result = pretrain(
            model,
            text.tokens,
            settings,
            states=TrainingStates(self.states, keep=1) if keeps_states else None,
            name=SHAPE.identifier,
            distillation=self._distillation(arm),
            description=f"{self.corpus.name}, {arm.name}, {num_steps} steps, seed {seed}" if keeps_states else "",
        )
        return Pretrained(model, text.tokenizer), result

    def _distillation(self, arm: Arm) -> Distillation | None:
        if not arm.is_taught:
            return None
        return Distillation(
            self.teacher,
            vocabulary_map(self.text(arm).tokenizer, self.teacher.tokenizer),
            self.parameters.pretrain_distill.distillation,
            cache=TeacherCache(arm.top_k, CACHE_EPOCHS, TeacherCaches(self.caches)) if arm.top_k else None,
        )

    def outcomes(self, arm: Arm, *, num_steps: int) -> list[Outcome]:
        """A trained and scored student for each seed; trainings that are finished already are not repeated."""
        found = []
        for seed in SEEDS:
            student, result = self.train(arm, seed=seed, num_steps=num_steps, keeps_states=True)
            own = score(student.model, self.text(arm).tokens, split="test", num_threads=self.num_threads)
            found.append(Outcome(student, num_steps, result, own))
        return found

    @property
    def caches(self) -> Path:
        """Folder of the teacher caches."""
        return self.states / "teacher_caches"

    @property
    def num_threads(self) -> int:
        """While training and scoring."""
        return self.parameters.pretrain_distill.student.num_threads

    def probe(self, *, num_steps: int) -> Probe:
        """Step times of the arms, measured once: on them hang the steps of trainings that may be interrupted."""
        identity = {
            "teacher": self.teacher.fingerprint,
            "tokens": [self.whole.tokens.fingerprint, self.trimmed.tokens.fingerprint],
            "settings": self.settings(seed=0, num_steps=num_steps).identity(),
            "arms": [asdict(arm) for arm in ARMS],
            "device": describe_device(),
        }
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
        file = self.states / f"probe-{key}.json"
        if not file.exists():
            measured = self._measure(min(PROBE_STEPS, num_steps))
            with pending(file) as temporary:
                temporary.write_text(json.dumps(asdict(measured), indent=2) + "\n", "utf-8")
        return Probe(**json.loads(file.read_text("utf-8")))

    def _measure(self, num_steps: int) -> Probe:
        # Whole fillings are timed; the trainings of the first seed go on with what they leave.
        shutil.rmtree(self.caches, ignore_errors=True)
        filling, sizes, seconds = {}, {}, {arm.name: [] for arm in ARMS}
        for arm in ARMS:
            began, before = time.perf_counter(), _size(self.caches)
            _, result = self.train(arm, seed=SEEDS[0], num_steps=num_steps, keeps_states=False)
            filling[arm.name] = time.perf_counter() - began - result.seconds
            sizes[arm.name] = _size(self.caches) - before
        for start in range(PROBE_ROUNDS):
            for arm in (*ARMS[start:], *ARMS[:start]):
                _, result = self.train(arm, seed=SEEDS[0], num_steps=num_steps, keeps_states=False)
                seconds[arm.name].append(result.seconds / num_steps)
        live = np.array(seconds[LIVE.name])
        return Probe(
            step_seconds={name: float(np.median(times)) for name, times in seconds.items()},
            step_ratio={name: float(np.median(np.array(times) / live)) for name, times in seconds.items()},
            filling_seconds=filling,
            cache_bytes=sizes,
        )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def experiments(
    corpora: Sequence[Corpus], parameters: Parameters, states: Path, *, teacher_steps: int
) -> list[Experiment]:
    """One for each corpus: a tokenizer for all, trained on all, and a teacher for each, trained on it alone."""
    train = [text for corpus in corpora for text in corpus.texts("train")]
    tokenizer = train_tokenizer(train, vocabulary_size=VOCABULARY_SIZE, max_positions=parameters.corpus.max_positions)
    return [
        _experiment(corpus, tokenizer, parameters, states / corpus.name, teacher_steps=teacher_steps)
        for corpus in corpora
    ]


def _changed(settings: PretrainingSettings, **optimization: int) -> PretrainingSettings:
    return definite(settings.changed(optimization=settings.optimization.changed(**optimization)))


def _experiment(
    corpus: Corpus, tokenizer: Any, parameters: Parameters, states: Path, *, teacher_steps: int
) -> Experiment:
    counts = count_ids(tokenizer, corpus.texts("train"))
    trimmed = trim_tokenizer(tokenizer, counts, min_count=MIN_COUNT)
    whole = text_of(corpus, tokenizer, parameters)
    settings = _changed(parameters.pretrain_distill.teacher, num_steps=teacher_steps)
    model = new_encoder(TEACHER_SHAPE, whole.tokens, max_positions=parameters.corpus.max_positions, settings=settings)
    result = pretrain(
        model,
        whole.tokens,
        settings,
        states=TrainingStates(states, keep=1),
        name="teacher",
        description=f"{corpus.name}, teacher, {teacher_steps} steps",
    )
    return Experiment(
        corpus,
        parameters,
        whole,
        text_of(corpus, trimmed, parameters),
        trimming_report(
            tokenizer,
            trimmed,
            train_counts=counts,
            train_texts=corpus.texts("train"),
            held_out_texts=corpus.texts("test"),
        ),
        Pretrained(model.requires_grad_(False), tokenizer),
        result,
        score(model, whole.tokens, split="test", num_threads=settings.num_threads),
        states,
    )

"""The short training of one shape to one of its rungs, and what is kept of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.encoders.student_start import from_teacher
from bort_kedro.errors import FailedTrainingError
from bort_kedro.frozen import JsonObject
from bort_kedro.pretraining.masked_lm import PositionMeasure, divergence_from
from bort_kedro.pretraining.pretrain import (
    EVALUATION_BATCH_TOKENS,
    EVALUATION_MASKED_SHARE,
    EVALUATION_SEED,
    encoder_config,
    evaluation_blocks,
    new_encoder,
    pretrain,
    pretraining_identity,
    score,
)
from bort_kedro.pretraining.settings import PretrainingSettings
from bort_kedro.pretraining.teacher_distance import teacher_distance
from bort_kedro.search.candidates import candidate_training
from bort_kedro.text.tokens import Tokens
from bort_kedro.training.loop import StateBeyondStopError, TrainingResult
from bort_kedro.training.memory import memory_shortage_told
from bort_kedro.training.observer import SilentObserver
from bort_kedro.training.saved_state import SavedState, States, StateStore
from bort_kedro.training.settings import OptimizationSettings
from bort_kedro.training.threads import autocast, cpu_threads

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BertForMaskedLM, PreTrainedModel

    from bort_kedro.pretraining.distillation import Distillation
    from bort_kedro.pretraining.masked_blocks import Batch


# Where the ends of trainings are kept.
SCORES, FAILURES = "search/scores", "search/failures"


@dataclass(frozen=True)
class Inheritance:
    """Layers of T in the place of drawn weights.

    Args:
        kept_ids: (V,) the id that T has for each id of the candidates.
        narrowing: How its widths become a candidate's; see `encoders.student_start.from_teacher`.
    """

    maximum_point: Pretrained
    kept_ids: torch.Tensor
    narrowing: Literal["truncation", "svd"]

    @property
    def name(self) -> str:
        """What a candidate's training depends on."""
        return f"{self.narrowing} of {self.maximum_point.fingerprint}"

    def give(self, model: BertForMaskedLM) -> None:
        """Let a candidate begin so (in place)."""
        from_teacher(model, self.maximum_point, self.kept_ids, layers=None, narrowing=self.narrowing)


@dataclass(frozen=True)
class Comparison:
    """A measure of the error that is taken against T.

    Args:
        maximum_point: T, and how its layers are read, whatever weight that has in a training.
    """

    measure: str
    maximum_point: Distillation

    @property
    def name(self) -> str:
        """What a score depends on."""
        read = self.maximum_point.settings.relations.model_dump(include={"num_heads", "teacher_layer"})
        how = f" by {read}" if self.measure == "distance" else ""
        return f"{self.measure} from {self.maximum_point.teacher.fingerprint}{how}"

    def others(self) -> dict[str, PositionMeasure]:
        """What is measured where tokens are hidden; see `masked_lm.evaluate_masked_lm`."""
        return {self.measure: divergence_from(self.maximum_point.teacher_logits)}


def comparison(measure: str, maximum_point: Distillation) -> Comparison | None:
    """None for a measure that is taken without T."""
    return Comparison(measure, maximum_point) if measure in ("divergence", "distance") else None


class TaskMeasure(Protocol):
    """How much an encoder errs on a task; it travels to a worker."""

    @property
    def identity(self) -> JsonObject:
        """All that this depends on beside the encoder and the seed."""

    def __call__(self, model: PreTrainedModel, seed: int, tokenizer: Any = None) -> JsonObject:
        """``error``, ``error_standard_error``, and the ``seconds`` and ``num_tokens`` of the fine-tuning that it took.

        A tokenizer that is None is that of the candidates.
        """


@dataclass(frozen=True)
class ShortTraining:
    """All that the short training of one shape needs; a value that travels to a worker.

    Args:
        tokens: The ``train`` split is learned, ``validation`` scored.
        settings: Of a training; the seed is the first one.
        states: Handle with ``of(name, identity)``; keeps checkpoints and finished scores.
        inheritance: What a candidate takes from T before it is trained; None leaves the weights as drawn.
        comparison: What is measured against T once it is trained; None runs no T.
        distillation: What it learns of T while it is trained; None trains it on the true tokens alone.
        task: Measures the error in the place of all that hidden tokens tell.
        is_told: Whether the observer of the states hears of candidates while they train: where that is in its own
            process, and of the first seed, whose curve is a candidate's.
    """

    tokens: Tokens
    settings: PretrainingSettings
    max_positions: int
    states: States
    inheritance: Inheritance | None = None
    comparison: Comparison | None = None
    distillation: Distillation | None = None
    task: TaskMeasure | None = None
    is_told: bool = False

    @property
    def start(self) -> str:
        """Names the weights that a training begins with, beside its seed."""
        return self.inheritance.name if self.inheritance else "random"

    def run(self, shape: BertShape, changes: dict[str, float], seed: int, num_steps: int) -> JsonObject:
        """Train one shape to a step, score it on the validation split, and keep the score.

        Changes take the place of the settings' own, and the schedule is always that of the full training. A score that
        was kept is found again, and a later step goes on from the checkpoint of an earlier one. So is a failure, as
        long as no setting changed, those included that no result depends on: some save memory.

        Returns:
            ``error``, ``loss`` and the measure against T, each with its ``_standard_error``; ``seconds`` and
            ``num_tokens`` of training; ``history``. Of a training that came apart or outgrew the memory
            ``failure``, the reason, and ``seconds``.
        """
        if (kept := self.kept(shape, changes, seed, num_steps)) is not None:
            return kept
        settings = with_changes(self.settings, changes | {"seed": seed})
        scores, failures = self._stores(shape, settings, num_steps)
        began = time.perf_counter()
        try:
            with building_told(shape):
                record = self._train_and_score(shape, settings, num_steps)
            scores.put(SavedState(num_steps, {}, record))
        except FailedTrainingError as fault:
            record = failure_record(fault.reason, seconds=time.perf_counter() - began)
            failures.put(SavedState(num_steps, {}, record))
        return record

    def kept(self, shape: BertShape, changes: dict[str, float], seed: int, num_steps: int) -> JsonObject | None:
        """What `run` would find again, a failure included; None where it would train."""
        settings = with_changes(self.settings, changes | {"seed": seed})
        found = (store.latest() for store in self._stores(shape, settings, num_steps))
        return next((dict(state.record) for state in found if state is not None), None)

    def keep_failure(
        self, shape: BertShape, changes: dict[str, float], seed: int, num_steps: int, record: JsonObject
    ) -> None:
        """Keep that a training failed, for one that could not do so itself."""
        settings = with_changes(self.settings, changes | {"seed": seed})
        self._stores(shape, settings, num_steps)[1].put(SavedState(num_steps, {}, record))

    def identity(self, shape: BertShape, settings: PretrainingSettings) -> JsonObject:
        """All that the weights of one training depend on."""
        config = encoder_config(shape, self.tokens, max_positions=self.max_positions, settings=settings)
        return pretraining_identity(config, self.tokens, settings, start=self.start, distillation=self.distillation)

    def _stores(self, shape: BertShape, settings: PretrainingSettings, num_steps: int) -> tuple[StateStore, StateStore]:
        """Where the score of a training is kept, and where its failure."""
        identity = self.score_identity(shape, settings, num_steps)
        return (
            self.states.of(f"{SCORES}/{shape.identifier}", identity),
            self.states.of(f"{FAILURES}/{shape.identifier}", identity | {"all_settings": settings.to_json()}),
        )

    def score_identity(self, shape: BertShape, settings: PretrainingSettings, num_steps: int) -> JsonObject:
        """All that the score of one training depends on."""
        by_tokens = {
            "seed": EVALUATION_SEED,
            "masked_share": EVALUATION_MASKED_SHARE,
            "precision": settings.optimization.mixed_precision,
            **({"against": self.comparison.name} if self.comparison else {}),
        }
        evaluation = self.task.identity if self.task else by_tokens
        return self.identity(shape, settings) | {"stop_at": num_steps, "evaluation": evaluation}

    def trained(self, shape: BertShape, changes: dict[str, float], seed: int) -> BertForMaskedLM:
        """A shape at the end of its short training, as `run` left it: trained again only where its states were removed.

        Raises:
            FailedTrainingError: If it has to be trained, and fails.
        """
        settings = with_changes(self.settings, changes | {"seed": seed})
        return self._train(shape, settings, settings.optimization.num_steps)[0]

    def _train_and_score(self, shape: BertShape, settings: PretrainingSettings, num_steps: int) -> JsonObject:
        model, result = self._train(shape, settings, num_steps)
        if self.task is None:
            errors = errors_of(model, self.tokens, settings, shape, compared=self.comparison)
        else:
            errors = self.task(model, settings.optimization.seed)
        return {
            **errors,
            "seconds": round(result.seconds + errors.get("seconds", 0.0), 1),
            "num_tokens": result.num_tokens + errors.get("num_tokens", 0),
            "history": result.history,
        }

    def _train(
        self, shape: BertShape, settings: PretrainingSettings, num_steps: int
    ) -> tuple[BertForMaskedLM, TrainingResult]:
        """A shape trained to a step."""
        model = new_encoder(shape, self.tokens, max_positions=self.max_positions, settings=settings)
        if self.inheritance is not None:
            self.inheritance.give(model)

        is_told = self.is_told and settings.optimization.seed == self.settings.optimization.seed
        observer = self.states.observer if is_told else SilentObserver()

        def train(name: str) -> tuple[BertForMaskedLM, TrainingResult]:
            return model, pretrain(
                model,
                self.tokens,
                settings,
                states=self.states,
                name=name,
                start=self.start,
                distillation=self.distillation,
                stop_at=num_steps,
                on_row=partial(observer.row_logged, candidate_training(shape.to_row())),
            )

        try:
            return train(f"search/{shape.identifier}")
        except StateBeyondStopError:
            # Another strategy trained this shape further, and states are not wound back. The model is still as new,
            # and is trained beside, in a folder that later rungs go on from.
            return train(f"search/rungs/{shape.identifier}")


def building_told(shape: BertShape) -> AbstractContextManager[None]:
    """Tell of a lack of memory outside the steps of a training as of its failure."""
    return memory_shortage_told(shape.identifier, "the memory is too small to build and to score it", "")


def errors_of(
    model: PreTrainedModel,
    tokens: Tokens,
    settings: PretrainingSettings,
    shape: BertShape,
    description: str = "",
    *,
    compared: Comparison | None,
    logits_of: Callable[[Batch], Tensor] | None = None,
) -> JsonObject:
    """What a trained shape reaches on the validation split, in the precision of its training.

    A distance that it is compared by stands in the place of all that hidden tokens tell. A description of "" shows no
    progress; for ``logits_of`` see `masked_lm.evaluate_masked_lm`.

    Raises:
        FailedTrainingError: If its loss, or the distance, is not finite.
    """
    precision = settings.optimization.mixed_precision
    if compared is not None and compared.measure == "distance":
        with cpu_threads(settings.num_threads), autocast(model.device, precision):
            found = teacher_distance(
                model,
                compared.maximum_point,
                evaluation_blocks(tokens, "validation"),
                batch_tokens=EVALUATION_BATCH_TOKENS,
                description=description,
            ).errors()
        measured, value = "distance", found["error"]
    else:
        found = score(
            model,
            tokens,
            split="validation",
            num_threads=settings.num_threads,
            precision=precision,
            description=description,
            logits_of=logits_of,
            others=compared.others() if compared else {},
        ).errors()
        measured, value = "loss", found["loss"]
    if not math.isfinite(value):
        raise FailedTrainingError(shape.identifier, f"its {measured} on the validation split is not finite", "")
    return found


def with_changes(settings: PretrainingSettings, changes: dict[str, float]) -> PretrainingSettings:
    """Settings with some fields replaced, those of the optimisation included."""
    optimization = {name: value for name, value in changes.items() if name in OptimizationSettings.model_fields}
    rest = {name: value for name, value in changes.items() if name not in optimization}
    return settings.changed(**rest, optimization=settings.optimization.changed(**optimization))


def failure_record(reason: str, *, seconds: float = 0.0) -> JsonObject:
    """What is kept of a training in the place of its score."""
    return {"failure": reason, "seconds": round(seconds, 1)}


def steps_of(share: float, num_steps: int) -> int:
    """Optimiser steps of a share of the full training, at least one."""
    return max(1, round(share * num_steps))

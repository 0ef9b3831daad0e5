"""The error of candidate shapes by short training: seeds, hyperparameter sets, rungs, and what is kept of each."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.errors import FailedTrainingError
from bort_kedro.frozen import JsonObject
from bort_kedro.pretraining.pretrain import (
    EVALUATION_MASKED_SHARE,
    EVALUATION_SEED,
    encoder_config,
    new_encoder,
    pretrain,
    pretraining_identity,
    score,
)
from bort_kedro.pretraining.settings import PretrainingSettings
from bort_kedro.search.engines import Engine, Job, Restart, run_jobs
from bort_kedro.search.strategies import Outcome, Trial
from bort_kedro.search.w_coefficient import require_above_zero
from bort_kedro.statistics import is_on_plateau
from bort_kedro.text.tokens import Tokens
from bort_kedro.training.loop import StateBeyondStopError, TrainingResult
from bort_kedro.training.memory import memory_shortage_told
from bort_kedro.training.saved_state import SavedState, States, StateStore
from bort_kedro.training.settings import OptimizationSettings

if TYPE_CHECKING:
    from transformers import BertForMaskedLM


@dataclass(frozen=True)
class ShortTraining:
    """All that the short training of one shape needs; a value that travels to a worker.

    Args:
        tokens: The ``train`` split is learned, ``validation`` scored.
        settings: Of a training; the seed is the first one.
        max_positions: Rows of the position embeddings.
        states: Handle with ``of(name, identity)``; keeps checkpoints and finished scores.
    """

    tokens: Tokens
    settings: PretrainingSettings
    max_positions: int
    states: States

    def run(self, shape: BertShape, changes: dict[str, float], seed: int, num_steps: int) -> JsonObject:
        """Train one shape to a step, score it on the validation split, and keep the score.

        A score that was kept is found again, and a later step goes on from the checkpoint of an earlier one. So is a
        failure, as long as no setting changed, those included that no result depends on: some save memory.

        Args:
            shape: The candidate.
            changes: Hyperparameters in the place of the settings' own.
            seed: Of weights, batches and masks.
            num_steps: Where to stop; the schedule is always that of the full training.

        Returns:
            ``error`` and ``loss``, each with its ``_standard_error``; ``seconds`` and ``num_tokens`` of training;
            ``history``. Of a training that came apart or outgrew the memory ``failure``, the reason, and ``seconds``.
        """
        settings = with_changes(self.settings, changes | {"seed": seed})
        scores, failures = self._stores(shape, settings, num_steps)
        for kept in (scores, failures):
            if (found := kept.latest()) is not None:
                return dict(found.record)
        began = time.perf_counter()
        try:
            with memory_shortage_told(shape.identifier, "the memory is too small to build and to score it", ""):
                record = self._train_and_score(shape, settings, num_steps)
            scores.put(SavedState(num_steps, {}, record))
        except FailedTrainingError as fault:
            record = failure_record(fault.reason, seconds=time.perf_counter() - began)
            failures.put(SavedState(num_steps, {}, record))
        return record

    def keep_failure(
        self, shape: BertShape, changes: dict[str, float], seed: int, num_steps: int, record: JsonObject
    ) -> None:
        """Keep that a training failed, for one that could not do so itself."""
        settings = with_changes(self.settings, changes | {"seed": seed})
        self._stores(shape, settings, num_steps)[1].put(SavedState(num_steps, {}, record))

    def _stores(self, shape: BertShape, settings: PretrainingSettings, num_steps: int) -> tuple[StateStore, StateStore]:
        """Where the score of a training is kept, and where its failure."""
        config = encoder_config(shape, self.tokens, max_positions=self.max_positions, settings=settings)
        identity = pretraining_identity(config, self.tokens, settings, start="random") | {
            "stop_at": num_steps,
            "evaluation": {
                "seed": EVALUATION_SEED,
                "masked_share": EVALUATION_MASKED_SHARE,
                "precision": settings.optimization.mixed_precision,
            },
        }
        return (
            self.states.of(f"search/scores/{shape.identifier}", identity),
            self.states.of(f"search/failures/{shape.identifier}", identity | {"all_settings": settings.to_json()}),
        )

    def _train_and_score(self, shape: BertShape, settings: PretrainingSettings, num_steps: int) -> JsonObject:
        model = new_encoder(shape, self.tokens, max_positions=self.max_positions, settings=settings)
        result = self._train(model, settings, shape, num_steps)
        precision = settings.optimization.mixed_precision
        quality = score(model, self.tokens, split="validation", num_threads=settings.num_threads, precision=precision)
        if not math.isfinite(quality.loss):
            raise FailedTrainingError(shape.identifier, "its loss on the validation split is not finite", "")
        return {
            **quality.errors(),
            "seconds": round(result.seconds, 1),
            "num_tokens": result.num_tokens,
            "history": result.history,
        }

    def _train(
        self, model: BertForMaskedLM, settings: PretrainingSettings, shape: BertShape, num_steps: int
    ) -> TrainingResult:
        """Train the model in place."""

        def train(name: str) -> TrainingResult:
            return pretrain(model, self.tokens, settings, states=self.states, name=name, stop_at=num_steps)

        try:
            return train(f"search/{shape.identifier}")
        except StateBeyondStopError:
            # Another strategy trained this shape further, and states are not wound back. The model is still as new,
            # and is trained beside, in a folder that later rungs go on from.
            return train(f"search/rungs/{shape.identifier}")


def with_changes(settings: PretrainingSettings, changes: dict[str, float]) -> PretrainingSettings:
    """Settings with some fields replaced, those of the optimisation included."""
    optimization = {name: value for name, value in changes.items() if name in OptimizationSettings.model_fields}
    rest = {name: value for name, value in changes.items() if name not in optimization}
    return settings.changed(**rest, optimization=settings.optimization.changed(**optimization))


def failure_record(reason: str, *, seconds: float = 0.0) -> JsonObject:
    """What is kept of a training in the place of its score."""
    return {"failure": reason, "seconds": round(seconds, 1)}


def combine_seeds(values: Sequence[float], standard_errors: Sequence[float]) -> tuple[float, float]:
    """Mean over seeds, and its standard error: the spread of the seeds beside the noise of the validation split.

    All seeds are scored on the same tokens, so more seeds do not make that noise smaller. With one seed
    the spread is unknown, and the noise alone is what is returned.
    """
    noise = float(np.mean(np.square(standard_errors)))
    spread = float(np.var(values, ddof=1) / len(values)) if len(values) > 1 else 0.0
    return float(np.mean(values)), float(np.sqrt(noise + spread))


@dataclass
class TrainedErrors:
    """The source of errors that trains; calling it answers the trials of a round.

    Args:
        shapes: The ordered space.
        training: What one training needs.
        measure: ``error`` or ``loss``, whichever W takes.
        hyperparameter_sets: Theta: changes to the settings; a candidate's error is that of its best set.
        num_seeds: Trainings of each candidate and set, with the seeds from the settings' own upwards.
        engine: How trainings run side by side; whoever made it ends its workers.
        unigram_error: Error of always predicting the most frequent token; None where it is unknown.
        rows: Filled as trials are answered: one for each trial, in the order of asking. ``failure`` says why trainings
            failed; a set that did with any seed does not count, and a row without another has no error.
        history: Likewise, one for each logged step of the best set and first seed.
        restarts: Likewise, one for each worker that died.
    """

    shapes: Sequence[BertShape]
    training: ShortTraining
    measure: str
    hyperparameter_sets: Sequence[dict[str, float]]
    num_seeds: int
    engine: Engine
    unigram_error: float | None
    rows: list[JsonObject] = field(default_factory=list)
    history: list[JsonObject] = field(default_factory=list)
    restarts: list[Restart] = field(default_factory=list)

    def __call__(self, trials: Sequence[Trial]) -> Iterator[tuple[Trial, Outcome]]:
        found = self._train(trials)
        for trial in trials:
            row = self._best_set(trial, found)
            self.rows.append(row)
            # Told of the error, whichever measure W takes.
            on_plateau = is_on_plateau(row["error"], row["error_standard_error"], self.unigram_error)
            error, noise = row[self.measure], row[f"{self.measure}_standard_error"]
            if math.isnan(error):
                yield trial, Outcome(math.inf, trial.share)
            else:
                require_above_zero(error, f"candidate {self.shapes[trial.index]}")
                capped = None if self.measure == "error" else row["error"]
                yield trial, Outcome(error, trial.share, noise, bool(on_plateau), capped)

    def _train(self, trials: Sequence[Trial]) -> dict[tuple[int, int, int], JsonObject]:
        """Scores by (candidate, hyperparameter set, seed)."""
        optimization = self.training.settings.optimization
        # Longest first, so that no worker is left alone with the largest candidate at the end.
        jobs = [
            Job(
                name=f"{self.shapes[trial.index].identifier}, set {number}, seed {seed}",
                function=_run_and_name,
                arguments=(
                    (trial.index, number, seed),
                    self.training,
                    (self.shapes[trial.index], changes, seed, steps_of(trial.share, optimization.num_steps)),
                ),
            )
            for trial in sorted(trials, key=lambda trial: -trial.index)
            for number, changes in enumerate(self.hyperparameter_sets)
            for seed in range(optimization.seed, optimization.seed + self.num_seeds)
        ]
        lost: dict[tuple[int, int, int], Any] = {}

        def on_lost(job: Job, reason: str) -> tuple[tuple[int, int, int], JsonObject]:
            key, _, arguments = cast("tuple[Any, ...]", job.arguments)
            record = failure_record(f"its worker died, as when memory runs out ({reason})")
            lost[key] = (*arguments, record)
            return key, record

        found = dict(
            run_jobs(
                jobs,
                self.engine,
                description="training candidates",
                on_restart=self.restarts.append,
                on_lost=on_lost,
            )
        )
        # Where every worker dies, none of the trainings need be at fault.
        if len(lost) < len(jobs):
            for arguments in lost.values():
                self.training.keep_failure(*arguments)
        return found

    def _best_set(self, trial: Trial, found: dict[tuple[int, int, int], JsonObject]) -> JsonObject:
        """The row of a trial: means over seeds under the hyperparameter set of the lowest error."""
        shape, first_seed = self.shapes[trial.index], self.training.settings.optimization.seed
        seeds = range(first_seed, first_seed + self.num_seeds)
        rows = []
        for number in range(len(self.hyperparameter_sets)):
            records = [found[trial.index, number, seed] for seed in seeds]
            row: JsonObject = {
                "candidate": trial.index,
                **shape.to_row(),
                "share": trial.share,
                "hyperparameter_set": number,
                "num_seeds": self.num_seeds,
            }
            has_failed = any("failure" in record for record in records)
            for name in ("error", "loss"):
                names = (name, f"{name}_standard_error")
                values, noise = ([record.get(key, math.nan) for record in records] for key in names)
                row |= dict(zip(names, (math.nan,) * 2 if has_failed else combine_seeds(values, noise), strict=True))
            row["seconds"] = round(sum(record["seconds"] for record in records), 1)
            row["num_tokens"] = sum(record.get("num_tokens", 0) for record in records)
            rows.append(row)
        best = min(rows, key=lambda row: (math.isnan(row[self.measure]), row[self.measure]))
        # What the other sets cost was spent on this candidate, too.
        best["seconds"] = round(sum(row["seconds"] for row in rows), 1)
        best["num_tokens"] = sum(row["num_tokens"] for row in rows)
        best["failure"] = self._failures(trial, found)
        if not math.isnan(best[self.measure]):
            steps = found[trial.index, best["hyperparameter_set"], first_seed]["history"]
            self.history += [{"shape": shape.identifier, "share": trial.share, **step} for step in steps]
        return best

    def _failures(self, trial: Trial, found: dict[tuple[int, int, int], JsonObject]) -> str | None:
        """Why trainings of a trial failed, each after its set and seed where there are several."""
        has_many = len(self.hyperparameter_sets) * self.num_seeds > 1
        reasons = [
            f"set {number}, seed {seed}: {record['failure']}" if has_many else record["failure"]
            for (index, number, seed), record in sorted(found.items())
            if index == trial.index and "failure" in record
        ]
        return "; ".join(reasons) or None


def steps_of(share: float, num_steps: int) -> int:
    """Optimiser steps of a share of the full training, at least one."""
    return max(1, round(share * num_steps))


def _run_and_name(key: Any, training: ShortTraining, arguments: tuple[Any, ...]) -> tuple[Any, JsonObject]:
    """A job whose result says whose it is, since results come in any order."""
    return key, training.run(*arguments)

"""The errors of candidates by short training: seeds, hyperparameter sets, and what earlier searches have trained."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.frozen import JsonObject
from bort_kedro.search.engines import Engine, Job, Restart, run_jobs
from bort_kedro.search.measures import MEASURES, measured_with
from bort_kedro.search.short_training import FAILURES, SCORES, ShortTraining, failure_record, steps_of
from bort_kedro.search.strategies import Outcome, Trial
from bort_kedro.search.w_coefficient import require_above_zero
from bort_kedro.statistics import is_on_plateau
from bort_kedro.training.saved_state import SavedState


@dataclass
class TrainedErrors:
    """The source of errors that trains; calling it answers the trials of a round.

    Args:
        measure: Of `measures.MEASURES`, whichever W takes; ``column`` is where its rows have it.
        hyperparameter_sets: Theta: changes to the settings; a candidate's error is that of its best set.
        num_seeds: Trainings of each candidate and set, with the seeds from the settings' own upwards.
        engine: How trainings run side by side; whoever made it ends its workers.
        on_answer: Told of each trial as soon as its trainings have ended, before others of its round: the row and the
            history that it will have.
        given: Rows of candidates whose errors a table has, by their index; they are not trained.
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
    on_answer: Callable[[JsonObject, list[JsonObject]], None] = lambda row, history: None
    given: Mapping[int, JsonObject] = field(default_factory=dict)
    rows: list[JsonObject] = field(default_factory=list)
    history: list[JsonObject] = field(default_factory=list)
    restarts: list[Restart] = field(default_factory=list)

    def __call__(self, trials: Sequence[Trial]) -> Iterator[tuple[Trial, Outcome]]:
        given = {trial: (self.given[trial.index], list[JsonObject]()) for trial in trials if trial.index in self.given}
        answers = given | self._train([trial for trial in trials if trial not in given])
        for trial in trials:
            row, history = answers[trial]
            self.rows.append(row)
            shape = self.shapes[trial.index].identifier
            self.history += [{"shape": shape, "share": trial.share, **step} for step in history]
            # Told of the error, whichever measure W takes.
            on_plateau = is_on_plateau(row["error"], row["error_standard_error"], self.unigram_error)
            error, noise = row[self.column], row[f"{self.column}_standard_error"]
            if math.isnan(error):
                yield trial, Outcome(math.inf, trial.share, seconds=row["seconds"])
            else:
                require_above_zero(error, f"candidate {self.shapes[trial.index]}")
                capped = None if self.column == "error" else row["error"]
                noise = 0.0 if math.isnan(noise) else noise
                yield trial, Outcome(error, trial.share, noise, bool(on_plateau), capped, row["seconds"])

    @property
    def column(self) -> str:
        """Of the measure."""
        return MEASURES[self.measure].column

    @property
    def seeds(self) -> range:
        """Of the trainings of each candidate and set."""
        first = self.training.settings.optimization.seed
        return range(first, first + self.num_seeds)

    @cached_property
    def trained_as(self) -> str:
        """Names all that an error depends on beside the shape: equal for candidates that were trained alike."""
        settings = self.training.settings
        alike = self.training.score_identity(BertShape(1, 1, 1, 1), settings, settings.optimization.num_steps)
        alike |= {"hyperparameter_sets": list(self.hyperparameter_sets), "num_seeds": self.num_seeds}
        digest = hashlib.sha256(json.dumps(alike | {"measure": self.measure}, sort_keys=True).encode()).hexdigest()
        # A word, which no reader of a table takes for a number.
        return f"training-{digest[:16]}"

    def known_from_before(self, asked_by: JsonObject) -> list[Trial]:
        """Those given, and full trials that earlier searches have trained or seen fail, as of when this one began.

        Which these were is kept under all that decides whom a search asks for, so that a search that goes on after an
        interruption, or is repeated, is told the same.
        """
        training = self.training
        given = {self.shapes[index].identifier: row[self.column] for index, row in self.given.items()}
        identity = training.identity(self.shapes[0], training.settings) | {"asked_by": asked_by, "given": given}
        store = training.states.of("search/begun", identity)
        begun = store.latest()
        names = set(begun.record["known"]) if begun else training.states.names(SCORES) | training.states.names(FAILURES)
        # Scores may be of other settings, and may have been removed since.
        others = {index: shape for index, shape in enumerate(self.shapes) if index not in self.given}
        known = [index for index, shape in others.items() if shape.identifier in names and self._is_kept(index)]
        if begun is None:
            store.put(SavedState(0, {}, {"known": [self.shapes[index].identifier for index in known]}))
        return [Trial(index) for index in (*self.given, *known)]

    def _is_kept(self, index: int) -> bool:
        """Whether the full trial of a candidate is answered without training."""
        num_steps = self.training.settings.optimization.num_steps
        return all(
            self.training.kept(self.shapes[index], changes, seed, num_steps) is not None
            for changes in self.hyperparameter_sets
            for seed in self.seeds
        )

    def _train(self, trials: Sequence[Trial]) -> dict[Trial, tuple[JsonObject, list[JsonObject]]]:
        """Row and history of each trial."""
        num_steps = self.training.settings.optimization.num_steps
        # Longest first, so that no worker is left alone with the largest candidate at the end.
        jobs = [
            Job(
                name=f"{self.shapes[trial.index].identifier}, set {number}, seed {seed}",
                function=_run_and_name,
                arguments=(
                    (trial.index, number, seed),
                    self.training,
                    (self.shapes[trial.index], changes, seed, steps_of(trial.share, num_steps)),
                ),
            )
            for trial in sorted(trials, key=lambda trial: -trial.index)
            for number, changes in enumerate(self.hyperparameter_sets)
            for seed in self.seeds
        ]
        lost: dict[tuple[int, int, int], Any] = {}

        def on_lost(job: Job, reason: str) -> tuple[tuple[int, int, int], JsonObject]:
            key, _, arguments = cast("tuple[Any, ...]", job.arguments)
            record = failure_record(f"its worker died, as when memory runs out ({reason})")
            lost[key] = (*arguments, record)
            return key, record

        # By (candidate, hyperparameter set, seed), which a round has once.
        found: dict[tuple[int, int, int], JsonObject] = {}
        answers, of_index = {}, {trial.index: trial for trial in trials}
        results = run_jobs(
            jobs, self.engine, description="training candidates", on_restart=self.restarts.append, on_lost=on_lost
        )
        with closing(results):
            for key, record in results:
                found[key] = record
                trial = of_index[key[0]]
                if sum(index == trial.index for index, _, _ in found) == len(self.hyperparameter_sets) * self.num_seeds:
                    answers[trial] = self._best_set(trial, found)
                    self.on_answer(*answers[trial])
        # Where every worker dies, none of the trainings need be at fault.
        if len(lost) < len(jobs):
            for arguments in lost.values():
                self.training.keep_failure(*arguments)
        return answers

    def _best_set(
        self, trial: Trial, found: dict[tuple[int, int, int], JsonObject]
    ) -> tuple[JsonObject, list[JsonObject]]:
        """The row of a trial, means over seeds under the hyperparameter set of the lowest error, and its history."""
        shape, rows = self.shapes[trial.index], []
        for number in range(len(self.hyperparameter_sets)):
            records = [found[trial.index, number, seed] for seed in self.seeds]
            row: JsonObject = {
                "candidate": trial.index,
                **shape.to_row(),
                "share": trial.share,
                "hyperparameter_set": number,
                "num_seeds": self.num_seeds,
                "trained_as": self.trained_as,
            }
            has_failed = any("failure" in record for record in records)
            for name in measured_with(self.measure):
                names = (name, f"{name}_standard_error")
                values, noise = ([record.get(key, math.nan) for record in records] for key in names)
                row |= dict(zip(names, (math.nan,) * 2 if has_failed else combine_seeds(values, noise), strict=True))
            row["seconds"] = round(sum(record["seconds"] for record in records), 1)
            row["num_tokens"] = sum(record.get("num_tokens", 0) for record in records)
            rows.append(row)
        best = min(rows, key=lambda row: (math.isnan(row[self.column]), row[self.column]))
        # What the other sets cost was spent on this candidate, too.
        best["seconds"] = round(sum(row["seconds"] for row in rows), 1)
        best["num_tokens"] = sum(row["num_tokens"] for row in rows)
        best["failure"] = self._failures(trial, found)
        has_failed = math.isnan(best[self.column])
        return best, [] if has_failed else found[trial.index, best["hyperparameter_set"], self.seeds[0]]["history"]

    def _failures(self, trial: Trial, found: dict[tuple[int, int, int], JsonObject]) -> str | None:
        """Why trainings of a trial failed, each after its set and seed where there are several."""
        has_many = len(self.hyperparameter_sets) * self.num_seeds > 1
        reasons = [
            f"set {number}, seed {seed}: {record['failure']}" if has_many else record["failure"]
            for (index, number, seed), record in sorted(found.items())
            if index == trial.index and "failure" in record
        ]
        return "; ".join(reasons) or None


def combine_seeds(values: Sequence[float], standard_errors: Sequence[float]) -> tuple[float, float]:
    """Mean over seeds, and its standard error: the spread of the seeds beside the noise of the validation split.

    All seeds are scored on the same tokens, so more seeds do not make that noise smaller. With one seed
    the spread is unknown, and the noise alone is what is returned.
    """
    noise = float(np.mean(np.square(standard_errors)))
    spread = float(np.var(values, ddof=1) / len(values)) if len(values) > 1 else 0.0
    return float(np.mean(values)), float(np.sqrt(noise + spread))


def _run_and_name(key: Any, training: ShortTraining, arguments: tuple[Any, ...]) -> tuple[Any, JsonObject]:
    """A job whose result says whose it is, since results come in any order."""
    return key, training.run(*arguments)

"""The page on which measure ranks shapes as a task does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.page import Figure, Part, table, write_page
from benchmarks.search.start_page import CORRELATIONS, OverSeeds, correlation
from benchmarks.search.task_trainings import LONG_SHARE, TASKS
from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.params import Parameters
from bort_kedro.reporting.markdown import number
from bort_kedro.search.short_training import steps_of

MEASURES = {
    "loss": "masked-LM loss",
    "divergence": "cross-entropy against T",
    **{task: f"error on dev of `{task}`, short fine-tuning" for task in TASKS},
}
LONG = "another long training"


@dataclass(frozen=True)
class TaskRanks:
    """What short trainings say of the shapes, and what long ones score on test.

    Args:
        rows: From `train_and_fine_tune`.
    """

    rows: pd.DataFrame

    @cached_property
    def by_seed(self) -> dict[bool, dict[int, pd.DataFrame]]:
        """The rows of each seed, shapes in the same order, of the short trainings and of the long ones."""
        return {
            bool(is_long): {
                int(seed): of_seed.sort_values(list(SHAPE_COLUMNS), ignore_index=True)
                for seed, of_seed in rows.groupby("seed")
            }
            for is_long, rows in self.rows.groupby("is_long")
        }

    def truth(self, task: str, *, without: int | None = None) -> NDArray[np.float64]:
        """(N,) the error on test, a mean over the seeds of the long trainings but one."""
        errors = [rows[task].to_numpy(float) for seed, rows in self.by_seed[True].items() if seed != without]
        return np.asarray(np.mean(errors, axis=0))

    def agreement(self, kind: str, measure: str, task: str) -> OverSeeds:
        """Rank correlation of a measure, seed by seed, with the error on test."""
        truth = self.truth(task)
        return OverSeeds(np.array([correlation(kind, rows[measure], truth) for rows in self.by_seed[False].values()]))

    def of_long(self, kind: str, task: str) -> OverSeeds:
        """The same of each long training, held against the others."""
        return OverSeeds(
            np.array(
                [
                    correlation(kind, rows[task], self.truth(task, without=seed))
                    for seed, rows in self.by_seed[True].items()
                ]
            )
        )

    def lost(self, measure: str, task: str) -> OverSeeds:
        """Points of accuracy on test that the shape with the lowest measure has less than the best."""
        truth = self.truth(task)
        chosen = [int(rows[measure].to_numpy(float).argmin()) for rows in self.by_seed[False].values()]
        return OverSeeds(100 * (truth[chosen] - truth.min()))

    def seconds(self, measure: str) -> float:
        """Of training and fine-tuning that a shape takes to be measured so."""
        of_short = self.rows[~self.rows["is_long"]]
        return float(of_short[f"{measure}_seconds" if measure in TASKS else "seconds"].mean())


def best_sentence(ranks: TaskRanks, task: str) -> str:
    """Which measure ranks shapes most as a task does, and which others the seeds cannot tell from it."""
    found = {measure: ranks.agreement("Spearman", measure, task) for measure in MEASURES}
    best = max(found, key=lambda measure: found[measure].mean)
    alike = [
        MEASURES[measure]
        for measure, each in found.items()
        if measure != best and not OverSeeds(found[best].values - each.values).is_told_from_zero
    ]
    rest = f"; not told from it by twice the standard error, seed by seed: {'; '.join(alike)}" if alike else ""
    return f"Shapes are ranked most as by `{task}` by the {MEASURES[best]} ({found[best].mean:.2f}){rest}."


def ranking_part(ranks: TaskRanks) -> Part:
    """How each measure ranks, and what it takes."""
    rows, figures = [], []
    for measure, title in MEASURES.items():
        found = {(kind, task): ranks.agreement(kind, measure, task) for task in TASKS for kind in CORRELATIONS}
        seconds = ranks.seconds(measure)
        rows.append([title, number(seconds, 1), *(each.text for each in found.values())])
        figures.append(Figure(f"{title}: seconds a shape", seconds, "s"))
        for (kind, task), each in found.items():
            figures += each.figures(f"{title}: {kind}'s rank correlation with {task}", "correlation")
    of_long = {(kind, task): ranks.of_long(kind, task) for task in TASKS for kind in CORRELATIONS}
    rows.append([LONG, "–", *(each.text for each in of_long.values())])
    for (kind, task), each in of_long.items():
        figures += each.figures(f"{LONG}: {kind}'s rank correlation with {task}", "correlation")
    header = ["measure", "seconds a shape", *(f"{kind}, `{task}`" for task in TASKS for kind in CORRELATIONS)]
    text = (
        "Rank correlation of a measure after one short training with the error on test after the long ones, a mean "
        "over their seeds; standard errors are over the seeds of the short ones. The last row holds each long training "
        "against the mean of the others, so it says how well any measure could do.\n\n"
        f"{table(header, rows)}\n\n{' '.join(best_sentence(ranks, task) for task in TASKS)}"
    )
    return Part("Which measure ranks as the task does", text, figures)


def choice_part(ranks: TaskRanks) -> Part:
    """What is lost by choosing the shape with the lowest measure."""
    rows, figures = [], []
    for measure, title in MEASURES.items():
        lost = {task: ranks.lost(measure, task) for task in TASKS}
        rows.append([title, *(each.text for each in lost.values())])
        for task, each in lost.items():
            figures += each.figures(f"{title}: points lost on {task}", "points")
    for task in TASKS:
        truth = 100 * ranks.truth(task)
        figures.append(Figure(f"{task}: points between the best shape and the worst", float(np.ptp(truth)), "points"))
    spread = "; ".join(f"`{task}` {100 * np.ptp(ranks.truth(task)):.1f}" for task in TASKS)
    text = (
        "Points of accuracy on test by which the shape with the lowest measure of a seed falls short of the best "
        f"shape. Between the best and the worst shape lie: {spread}.\n\n"
        f"{table(['measure', *(f'points lost, `{task}`' for task in TASKS)], rows)}"
    )
    return Part("What the lowest measure costs", text, figures)


def write(rows: pd.DataFrame, parameters: Parameters, *, folder: Path) -> None:
    """Write the page, its figures and the table of errors.

    Args:
        rows: From `train_and_fine_tune`.
        parameters: Of the space and its trainings.
        folder: For all files.
    """
    ranks, search = TaskRanks(rows), parameters.search
    steps, seeds = search.training.optimization.num_steps, search.num_seeds
    long_steps, epochs = steps_of(LONG_SHARE, steps), parameters.finetune.training.num_epochs
    setting = (
        f"{len(rows[list(SHAPE_COLUMNS)].drop_duplicates())} shapes, all candidates of `conf/base`, begin with layers "
        f"of one T, {search.stated_maximum()}. The short trainings are those of a search: {steps:,} steps, then for "
        f"the error on a task {search.finetuning.num_epochs:g} epochs of fine-tuning, scored on dev. The long ones, "
        f"which they are held against, take {long_steps:,} steps and {epochs:g} epochs and are scored on test. Each "
        f"has {seeds} seeds, and those of the long ones are others."
    )
    conditions = {"parameters": "conf/base", "seeds": seeds, "steps": steps, "long_steps": long_steps}
    write_page(
        "search-task",
        "What ranks shapes as a task does",
        [Part("", setting), ranking_part(ranks), choice_part(ranks)],
        conditions | {"epochs": search.finetuning.num_epochs, "long_epochs": epochs},
        files={"search-task.csv": rows.round(6).to_csv(index=False)},
        folder=folder,
    )

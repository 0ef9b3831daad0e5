"""The tasks of a folder: their official dev whole to score on, so that leads show above the noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.finetune.builtin import base_finetuning
from benchmarks.real.setting import Setting
from bort_kedro.datasets.task_files import TaskFilesDataset
from bort_kedro.errors import TaskError
from bort_kedro.evaluation.scores import units_in
from bort_kedro.finetuning.data import TaskData, check_examples
from bort_kedro.tasks.reading.choose import read_task
from bort_kedro.tasks.table import TASKS, Task, find_task

# Where the archive is not whole, the files there are: of BoolQ a few labelled examples and the official dev.
OTHER_FILES = {
    "boolq": {"train": "fewglue_train32.jsonl", "dev": "fewglue_dev32.jsonl", "test": "val.jsonl"},
}
BENCHMARKS = ("GLUE", "SuperGLUE")
# Of train, where dev has to be drawn of it.
DEV_SHARE = 0.2
# Draws the units; the same for every arm and seed.
DRAW_SEED = 0


@dataclass(frozen=True)
class TasksFound:
    """What a folder holds.

    Args:
        names: Tasks that can be trained and scored.
        faults: Of those that are there in part alone, what is wrong, by name.
    """

    names: list[str]
    faults: dict[str, str]


def tasks_in(folder: Path, setting: Setting) -> TasksFound:
    """Every task of GLUE and SuperGLUE with labelled examples to learn from and to be scored on."""
    names, faults = [], {}
    for task in TASKS.values():
        if task.benchmark not in BENCHMARKS or task.is_diagnostic:
            continue
        try:
            task_data(task.name, folder, setting)
            names.append(task.name)
        except TaskError as fault:
            faults[task.name] = str(fault)
    return TasksFound(names, faults)


def task_data(name: str, folder: Path, setting: Setting) -> TaskData:
    """The examples of a task in the splits of this benchmark.

    ``test`` is the official test where it has labels, else the whole official dev; ``dev``, which chooses among the
    passes and rates, is then drawn of train.

    Raises:
        TaskError: If files are missing or hold too little.
    """
    task = find_task(name)
    examples = _official(task, folder)
    split = examples["split"].to_numpy(copy=True)
    is_labelled = examples["label"].notna().to_numpy()
    split[(split == "test") & ~is_labelled] = "submission"
    if "test" not in split:
        split[split == "dev"] = "test"
        drawn = _mixed_units(examples, split == "train")
        count = min(setting.max_dev, round(DEV_SHARE * len(drawn)))
        split[_rows_of(drawn[:count])] = "dev"
    kept = [
        _rows_of(_mixed_units(examples, split == name)[:most])
        for name, most in (("train", setting.max_train), ("dev", setting.max_dev), ("test", setting.max_test))
    ]
    rows = np.sort(np.concatenate(kept))
    return check_examples(examples.assign(split=split).iloc[rows].reset_index(drop=True), task)


def _official(task: Task, folder: Path) -> pd.DataFrame:
    """In the official splits; of a task whose archive is not whole, from the files there are."""
    files = TaskFilesDataset(folder=str(folder)).load()
    try:
        return read_task(task, files, base_finetuning(tasks=[task.name])).examples
    except TaskError:
        if task.name not in OTHER_FILES:
            raise
        changes = {"tasks": [task.name], "files": {task.name: OTHER_FILES[task.name]}}
        return read_task(task, files, base_finetuning(**changes)).examples


def _mixed_units(examples: pd.DataFrame, is_in: np.ndarray) -> list[np.ndarray]:
    """The rows of each unit of a split, units in a random order that is always the same."""
    places = np.flatnonzero(is_in)
    units = units_in(examples.iloc[places])
    order = np.random.default_rng(DRAW_SEED).permutation(len(units))
    return [places[units[unit]] for unit in order]


def _rows_of(units: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(units) if units else np.array([], dtype=np.int64)

"""What a small student keeps of a real encoder without any pretraining; writes docs/benchmarks/real.{md,json}."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.command import command_line
from benchmarks.own_process import in_own_process, on_the_cpu
from benchmarks.page import FOLDER
from benchmarks.real.arms import Arm, arms_of
from benchmarks.real.outcomes import Job, Outcome, outcomes_of
from benchmarks.real.page import Found, write
from benchmarks.real.runtimes import time_exports
from benchmarks.real.setting import FULL, SHORT, Setting, quick
from benchmarks.real.shares import Score, scores_of
from benchmarks.real.students import make_students
from benchmarks.real.tasks import task_data, tasks_in
from bort_kedro.evaluation.floors import answer_by_floors

if TYPE_CHECKING:
    from bort_kedro.finetuning.data import TaskData

MISSING = "Name encoder, tasks and corpus: make bench-real ENCODER=folder TASKS=folder CORPUS='a/**/wiki_* b/*.txt'\n"
QUICK = "A quick try is no result: name another folder for its page with --folder.\n"


def scores_by_task(
    tasks: dict[str, TaskData], arms: Sequence[Arm], outcomes: dict[tuple[str, str, int], Outcome], setting: Setting
) -> dict[str, dict[str, Score]]:
    """Of every arm, of every runtime of those that are exported, and of the floors."""
    found = {}
    for name, data in tasks.items():
        answers: dict[str, list[Sequence[str]]] = {}
        for arm, seed in product(arms, setting.seeds):
            outcome = outcomes[arm.name, name, seed]
            answers.setdefault(arm.name, []).append(outcome.answers)
            for runtime, said in outcome.exported.items():
                answers.setdefault(f"{arm.name}/{runtime}", []).append(said)
        floors, _ = answer_by_floors(data.task, data.tables, data.tables, time.perf_counter)
        for floor, rows in floors[floors["split"] == "test"].groupby("method"):
            answers[str(floor)] = [rows["prediction"].tolist()]
        found[name] = scores_of(data.task, data.tables["test"], answers)
    return found


def measure(encoder: str, folder: Path, corpus: str, setting: Setting, states: Path) -> Found:
    """All of it; what is in the states is not done again."""
    students = make_students(encoder, shlex.split(corpus), setting, states)
    arms = arms_of(students.shape, {cap: each.shape for cap, each in students.selected.items()}, setting.caps)
    in_folder = tasks_in(folder, setting)
    tasks = {name: task_data(name, folder, setting) for name in in_folder.names}
    jobs = [
        Job(arm.name, students.encoders[arm.name], arm.is_exported, task, seed)
        for seed, task, arm in product(setting.seeds, _longest_first(tasks), arms)
    ]
    outcomes = outcomes_of(jobs, folder, setting, states)
    exported = {arm.name: students.encoders[arm.name] for arm in arms if arm.is_exported}
    runtimes = in_own_process(on_the_cpu(1), time_exports, exported, timed_rounds=setting.timed_rounds)
    seconds = {
        **students.seconds,
        "fine-tuning and exports, the time of all trainings together": sum(each.seconds for each in outcomes.values()),
    }
    return Found(
        encoder=f"`{Path(encoder).absolute().name}`, {students.about}",
        corpus=students.corpus,
        setting=setting,
        arms=arms,
        selected=students.selected,
        distilled=students.distilled,
        tasks=tasks,
        faults=in_folder.faults,
        scores=scores_by_task(tasks, arms, outcomes, setting),
        runtimes=runtimes,
        seconds=seconds,
    )


def _longest_first(tasks: dict[str, TaskData]) -> list[str]:
    """So that no process is left with a long training at the end."""
    lengths = {name: data.tables["train"]["text"].str.len().sum() for name, data in tasks.items()}
    return sorted(tasks, key=lambda name: -lengths[name])


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, distil, fine-tune and export, as far as that is not done yet, and write what it says."""
    parser = command_line(__doc__)
    parser.add_argument("encoder", nargs="?", default="", help="folder of a BERT encoder, with or without its head")
    parser.add_argument("--tasks", type=Path, help="folder of GLUE's and SuperGLUE's files")
    parser.add_argument("--corpus", default="", help="files to distil on: patterns set apart by spaces")
    parser.add_argument("--full", action="store_true", help="three seeds, all rows, more steps; a day")
    parser.add_argument("--steps", type=int, help="of everything, for a quick try; name --folder with it")
    given = parser.parse_args(arguments)
    if not (given.encoder and given.tasks and given.corpus):
        parser.exit(2, MISSING)
    if given.steps and given.folder == FOLDER:
        parser.exit(2, QUICK)
    setting = quick(given.steps) if given.steps else FULL if given.full else SHORT
    found = measure(given.encoder, given.tasks, given.corpus, setting, given.states / "real")
    write(
        found,
        command=f"make bench-real ENCODER=... TASKS=... CORPUS=...{' FULL=1' if given.full else ''}",
        folder=given.folder,
    )


if __name__ == "__main__":
    main()

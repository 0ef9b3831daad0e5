"""Does Agora gain from labels that something else has made, and how wrong may they be?

Built-in tasks whose true labels are known, with more and more of the recorded ones exchanged; writes
docs/benchmarks/recorded-labels.md with its figures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.command import command_line
from benchmarks.finetune import builtin
from benchmarks.finetune.builtin import NUM_PROCESSES, SEEDS
from benchmarks.finetune.leads import AGORA, right_on_test
from benchmarks.finetune.students import encoder_of_run, latest
from benchmarks.floors import floor_accuracies
from benchmarks.own_process import fresh_processes, quietly
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.frozen import JsonObject
from bort_kedro.params import FinetuneParams
from bort_kedro.params.finetune import WEAK_SUPERVISION
from bort_kedro.pipelines.finetune.nodes import recorded_reader_of, rival_tuner_of, student_tuner_of
from bort_kedro.pipelines.tasks.nodes import builder_of

# Shares of the recorded labels that are wrong.
NOISES = (0.0, 0.1, 0.2, 0.3, 0.4)
PLAIN, RANDOM = "plain", "random_augmentation"
# More than the corpus gives: all sentences beyond the train split are the pool.
ALL = 1_000_000
# `adjacent` draws its order last, so that a larger one does not begin with the smaller.
TASKS = ("order", "library")
OTHERS = {
    PLAIN: "labelled examples alone",
    WEAK_SUPERVISION: "and all recorded labels",
    RANDOM: "and recorded texts like random ones",
}


@dataclass(frozen=True)
class NoisyOutcome:
    """One task with one seed and one share of wrong labels.

    Args:
        task: Its name.
        seed: Of student, points and which labels are wrong.
        noise: Share of the recorded labels that are.
        check: Of the teacher, see `agora.teacher_bar`; Agora goes on whatever it says.
        num_train: Labelled examples.
        num_pool: Recorded texts of no split.
        num_points: That Agora learned from, in all rounds.
        right: By method, (N,) whether each test example is answered rightly.
        num_steps: Of Agora; others have as many, but for what learns from dev too.
        seconds: Of all of them.
        floors: Accuracy on test of each of `evaluation.floors.FLOORS`.
    """

    task: str
    seed: int
    noise: float
    check: JsonObject
    num_train: int
    num_pool: int
    num_points: int
    right: dict[str, np.ndarray]
    num_steps: int
    seconds: float
    floors: dict[str, float]


def flipped(labels: Sequence[str], share: float, *, seed: int) -> list[str]:
    """The labels with so many of them exchanged for another one; those of a smaller share are exchanged alike."""
    names = sorted(set(labels))
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    steps = generator.integers(1, len(names), size=len(labels))
    told = list(labels)
    for place in order[: round(share * len(labels))]:
        told[place] = names[(names.index(labels[place]) + steps[place]) % len(names)]
    return told


def divided(task: str, finetune: FinetuneParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The task as `make run` has it, and what the corpus gives beyond its train split."""
    documents = pd.read_parquet(latest("02_intermediate/corpus_documents.parquet/*/*.parquet"))
    sizes = finetune.builtin_tasks.max_examples
    more = finetune.builtin_tasks.changed(max_examples=sizes.changed(train=ALL))
    every, _ = builder_of(task)(documents, finetune.changed(builtin_tasks=more))
    is_beyond = (every["split"] == "train") & ((every["split"] == "train").cumsum() > sizes.train)
    return every[~is_beyond].reset_index(drop=True), every[is_beyond].reset_index(drop=True)


@quietly()
def outcome_of(task: str, seed: int, noise: float, states: Path) -> NoisyOutcome:
    """Agora with recorded labels of which a share is wrong, and the other methods in as many steps."""
    labels = states / f"{task}-{seed}-{noise:g}.jsonl"
    finetune = builtin.base_finetuning(
        tasks=[task],
        training={"seeds": [seed], "num_threads": 1},
        teacher={"recorded": {task: {"file": str(labels)}}},
        agora={"seed": 1000 * seed},
        rivals=list(OTHERS),
    )
    examples, pool = divided(task, finetune)
    dev = examples[examples["split"] == "dev"]
    recorded = pd.concat([dev, pool], ignore_index=True)
    recorded = recorded.assign(label=flipped(recorded["label"].tolist(), noise, seed=seed))
    states.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"text": row.text, "label": row.label}) for row in recorded.itertuples())
    labels.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    student = encoder_of_run("student_encoder")
    kept = TrainingStates(states, keep=1)
    table, _, taught = recorded_reader_of(task)(examples, finetune)
    # Under the bar too: what it is for is the question.
    allowed = taught | {"check": taught["check"] | {"is_over": True}}
    _, _, predictions, own, _ = student_tuner_of(task)(
        examples, student, kept, finetune, teacher_report=allowed, recorded_labels=table
    )
    _, rivals, reports = rival_tuner_of(task)(examples, student, kept, finetune, own, recorded_labels=table)
    tables = {AGORA: predictions, **dict(iter(rivals.groupby("method")))}
    seconds = sum(report["seconds"] for report in (own, *reports.values()))
    return NoisyOutcome(
        task,
        seed,
        noise,
        taught["check"],
        own["num_units"]["train"],
        len(pool),
        sum(each["points"]["num_kept"] for each in own["rounds"] if each["points"]),
        {method: right_on_test(rows) for method, rows in tables.items()},
        own["num_steps"],
        seconds,
        floor_accuracies(task, examples, finetune),
    )


def outcomes(task: str, seeds: Sequence[int], noises: Sequence[float], states: Path) -> list[NoisyOutcome]:
    """All seeds with all shares."""
    jobs = [(task, seed, noise, states) for seed in seeds for noise in noises]
    with fresh_processes(NUM_PROCESSES, {}) as pool:
        running = [pool.submit(outcome_of, *job) for job in jobs]
        return [each.result() for each in running]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not done yet, and write what it says."""
    from benchmarks.finetune.noise_page import write_noise_page

    parser = command_line(__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, help="built-in tasks")
    parser.add_argument("--num-seeds", type=int, choices=range(2, 1 + len(SEEDS)), default=3, help="of all chance")
    parser.add_argument("--noise", type=float, nargs="+", default=NOISES, help="shares of the labels that are wrong")
    given = parser.parse_args(arguments)
    seeds = SEEDS[: given.num_seeds]
    states = given.states / "finetune" / "recorded"
    write_noise_page([outcomes(task, seeds, given.noise, states) for task in given.tasks], given.folder)


if __name__ == "__main__":
    main()

"""What is it worth that the first token of a block tells some of its tokens? Writes docs/benchmarks/first-token.md.

Students that differ in `pretrain_distill.student.num_reconstructed` alone, fine-tuned plainly on the built-in tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.command import command_line
from benchmarks.finetune import builtin
from benchmarks.finetune.builtin import NUM_PROCESSES, SEEDS
from benchmarks.finetune.leads import lead_over, over_seeds, right_on_test
from benchmarks.finetune.students import latest, pretrained_student
from benchmarks.floors import floor_accuracies
from benchmarks.own_process import fresh_processes, quietly
from benchmarks.page import Figure, Part, table, write_page
from bort_kedro.datasets.token_blocks import TokenBlocksDataset
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.evaluation.floors import floors_among
from bort_kedro.pipelines.finetune.nodes import student_tuner_of
from bort_kedro.pipelines.tasks.nodes import builder_of
from bort_kedro.pretraining.pretrain import score
from bort_kedro.reporting.markdown import percent, signed_points

# Tokens that are told of each block, the first being what others are held against.
ARMS = (0, 4, 8)
TASKS = ("library", "order")
MASKED = "hidden tokens"


@dataclass(frozen=True)
class Outcome:
    """One student.

    Args:
        arm: Tokens that are told of each block.
        right: By task, and of `MASKED`, (N,) whether each test example, or hidden token, is answered rightly.
    """

    arm: int
    right: dict[str, np.ndarray]


@quietly()
def outcome_of(arm: int, seed: int, states: Path) -> Outcome:
    """Pretrain a student and fine-tune it on each task; what is in the states is found there."""
    student = pretrained_student(seed, states, num_reconstructed=arm)
    tokens = TokenBlocksDataset(str(latest("05_model_input/tokens/*/tokens"))).load()
    right = {MASKED: score(student.model, tokens, split="test", num_threads=1).is_correct}
    kept = TrainingStates(states, keep=1)
    for task, examples in _examples().items():
        finetune = builtin.base_finetuning(
            tasks=[task], method="plain", training={"seeds": [seed], "num_threads": 1}, rivals=[]
        )
        right[task] = right_on_test(student_tuner_of(task)(examples, student, kept, finetune)[2])
    return Outcome(arm, right)


def _examples() -> dict[str, pd.DataFrame]:
    documents = pd.read_parquet(latest("02_intermediate/corpus_documents.parquet/*/*.parquet"))
    return {task: builder_of(task)(documents, builtin.base_finetuning(tasks=[task]))[0] for task in TASKS}


def outcomes(arms: Sequence[int], seeds: Sequence[int], states: Path) -> dict[int, list[Outcome]]:
    """By arm, each seed."""
    with fresh_processes(NUM_PROCESSES, {}) as pool:
        running = {(arm, seed): pool.submit(outcome_of, arm, seed, states) for seed in seeds for arm in arms}
        return {arm: [running[arm, seed].result() for seed in seeds] for arm in arms}


def part_of(found: dict[int, list[Outcome]], floors: dict[str, dict[str, float]]) -> Part:
    """Scores of all arms, what each gains over the first, and the floors.

    Args:
        found: By arm, each seed.
        floors: Of each task, accuracy on test of each of `evaluation.floors.FLOORS`.
    """
    without, *others = found
    measures = [MASKED, *floors]
    by_arm = {arm: {name: [each.right[name] for each in own] for name in measures} for arm, own in found.items()}
    leads = {
        (arm, name): lead_over(
            str(without),
            [{str(of): by_arm[of][name][place] for of in (arm, without)} for place in range(len(found[arm]))],
            ours=str(arm),
            same_examples=True,
        )
        for arm in others
        for name in measures
    }
    scores = [
        [str(arm), *(over_seeds([each.mean() for each in of[name]]) for name in measures)] for arm, of in by_arm.items()
    ]
    words = floors_among(list(floors.values()))
    scores += [
        [f"*{floor.words}*", "–", *(percent(floors[task][name]) for task in floors)] for name, floor in words.items()
    ]
    ahead = [
        [str(arm), *(signed_points(leads[arm, name].value, leads[arm, name].error) for name in measures)]
        for arm in others
    ]
    text = f"""Students of the default's shape in as many steps, which begin where the last `make run` selected them and
differ in how many tokens of a block its first one tells. They are fine-tuned plainly with the settings of `conf/base`,
and once more on dev. Accuracy on the test split, mean and standard error over {len(found[without])} seeds of
pretraining and fine-tuning:

{table(["Told of a block", *measures], scores)}

Points ahead of {without}, paired by seed and by example; the standard error joins that over the seeds and that over the
examples:

{table(["Told of a block", *measures], ahead)}"""
    figures = [
        Figure(f"{name}, {arm} told: accuracy", float(np.mean([each.mean() for each in of[name]])), "share")
        for arm, of in by_arm.items()
        for name in measures
    ]
    for (arm, name), lead in leads.items():
        figures += [
            Figure(f"{name}, {arm} told: lead over {without}", lead.value, "share"),
            Figure(f"{name}, {arm} told: standard error of the lead", lead.error, "share"),
        ]
    return Part("", text, figures)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not done yet, and write what it says."""
    parser = command_line(__doc__)
    parser.add_argument("--arms", type=int, nargs="+", default=ARMS, help="tokens that are told of each block")
    parser.add_argument("--num-seeds", type=int, choices=range(2, 1 + len(SEEDS)), default=3, help="of all chance")
    given = parser.parse_args(arguments)
    seeds = SEEDS[: given.num_seeds]
    found = outcomes(given.arms, seeds, given.states / "finetune" / "first-token")
    floors = {
        task: floor_accuracies(task, examples, builtin.base_finetuning(tasks=[task]))
        for task, examples in _examples().items()
    }
    write_page(
        "first-token",
        "Tokens told from the first one",
        [part_of(found, floors)],
        {"parameters": "conf/base", "seeds": list(seeds), "num_reconstructed": list(given.arms)},
        command="make bench-first-token",
        setting="one thread a training",
        packages=("torch", "transformers", "tokenizers", "scikit-learn"),
        folder=given.folder,
    )


if __name__ == "__main__":
    main()

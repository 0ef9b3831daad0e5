"""Is Agora worth it? Built-in tasks, real tasks and throughput; writes docs/benchmarks/finetune.md with its figures."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.configured import PROJECT
from benchmarks.finetune.builtin import BUILTIN, SEEDS, encoders, outcomes
from benchmarks.finetune.page import builtin_section, figures_of, real_section, throughput_section
from benchmarks.finetune.real import REAL_TASKS, real_outcomes
from benchmarks.finetune.throughput import FIXED_BATCH, Throughput, measure, with_vocabulary
from benchmarks.page import FOLDER, write_page
from bort_kedro.datasets.task_files import TaskFilesDataset
from bort_kedro.finetuning.encoding import TaskEncoder
from bort_kedro.tasks.table import find_task
from bort_kedro.tasks.units import units_of

MAX_TOKENS = 128
BATCH_TOKENS = 4096


def throughputs(folder: Path) -> list[Throughput]:
    """Both loops on QNLI's train split, as the default run's student reads it and with a vocabulary of common size.

    A vocabulary of a thousand tokens makes texts twice as long as those that most encoders see, and cuts many.
    """
    task = find_task("qnli")
    reading = TaskFilesDataset(folder=str(folder)).load().read(task)
    train = reading.examples[reading.examples["split"] == "train"]
    units = units_of(train, is_multiple_choice=False)
    _, student = encoders()
    measured = []
    for encoder in (student, with_vocabulary(student, [*train["text"], *train["text_pair"]])):
        examples = TaskEncoder(encoder, task, task.labels, max_tokens=MAX_TOKENS)(units, train["label"].tolist())
        measured.append(measure(encoder, examples, max_tokens=MAX_TOKENS, batch_tokens=BATCH_TOKENS))
    return measured


def main() -> None:
    """Run what is not done yet, and write what it says."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tasks", type=Path, help="folder of GLUE's and SuperGLUE's files")
    arguments.add_argument("--states", type=Path, default=PROJECT / "data/06_models/training_states/bench/finetune")
    arguments.add_argument("--docs", type=Path, default=FOLDER, help="where the page is written")
    arguments.add_argument("--builtin", nargs="*", choices=BUILTIN, default=BUILTIN, help="built-in tasks, or none")
    arguments.add_argument("--num-seeds", type=int, default=len(SEEDS), help="of student and points; five take an hour")
    arguments.add_argument("--name", default="finetune", help="of the page")
    given = arguments.parse_args()
    seeds = SEEDS[: given.num_seeds]
    found = outcomes(given.builtin, seeds, given.states / "builtin") if given.builtin else []
    sections = {"Agora against its rivals": builtin_section(found, len(seeds))} if found else {}
    real, measured = [], []
    if given.tasks:
        real = real_outcomes(given.tasks, given.states / "real")
        sections["Real tasks"] = real_section(real)
        measured = throughputs(given.tasks)
        sections["Throughput"] = throughput_section(measured, MAX_TOKENS, BATCH_TOKENS, FIXED_BATCH)
    write_page(
        given.name,
        "Fine-tuning",
        "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items()),
        figures_of(found, real, measured),
        {
            "parameters": "conf/base",
            "seeds": list(seeds),
            "builtin_tasks": list(given.builtin),
            "real_tasks": list(REAL_TASKS if given.tasks else ()),
        },
        command="make bench-finetune TASKS=..." if given.name == "finetune" else f"make bench-{given.name}",
        setting="one thread a training",
        packages=("torch", "transformers", "tokenizers", "scikit-learn"),
        folder=given.docs,
    )


if __name__ == "__main__":
    main()

"""Is Agora worth it? Built-in tasks, real tasks and throughput; writes docs/benchmarks/finetune.md with its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import command_line
from benchmarks.finetune.builtin import BUILTIN, COMPARED, SEEDS, outcomes
from benchmarks.finetune.page import builtin_part, throughput_part
from benchmarks.finetune.real import REAL_TASKS, real_outcomes
from benchmarks.finetune.real_page import real_part
from benchmarks.finetune.students import encoders
from benchmarks.finetune.throughput import FIXED_BATCH, Throughput, measure, with_vocabulary
from benchmarks.page import write_page
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not done yet, and write what it says."""
    parser = command_line(__doc__)
    parser.add_argument("--tasks", type=Path, help="folder of GLUE's and SuperGLUE's files")
    parser.add_argument("--encoder", default="", help="folder of a BERT encoder, which teaches the real tasks")
    parser.add_argument("--builtin", nargs="*", choices=BUILTIN, default=COMPARED, help="built-in tasks, or none")
    parser.add_argument("--num-seeds", type=int, default=len(SEEDS), help="of all that is drawn; five take an hour")
    parser.add_argument("--name", default="finetune", help="of the page")
    given = parser.parse_args(arguments)
    if given.tasks and not given.encoder:
        parser.error("real tasks take a folder with a BERT encoder, which teaches: ENCODER=..., or --encoder")
    seeds, states = SEEDS[: given.num_seeds], given.states / "finetune"
    parts = []
    if given.builtin:
        parts.append(builtin_part(outcomes(given.builtin, seeds, states), len(seeds)))
    if given.tasks:
        parts.append(real_part(real_outcomes(given.encoder, given.tasks, states / "real"), Path(given.encoder).name))
        parts.append(throughput_part(throughputs(given.tasks), MAX_TOKENS, BATCH_TOKENS, FIXED_BATCH))
    write_page(
        given.name,
        "Fine-tuning",
        parts,
        {
            "parameters": "conf/base",
            "seeds": list(seeds),
            "builtin_tasks": list(given.builtin),
            "real_tasks": list(REAL_TASKS if given.tasks else ()),
        },
        command="make bench-finetune ENCODER=... TASKS=..." if given.name == "finetune" else f"make bench-{given.name}",
        setting="one thread a training",
        packages=("torch", "transformers", "tokenizers", "scikit-learn"),
        folder=given.folder,
    )


if __name__ == "__main__":
    main()

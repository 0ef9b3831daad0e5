"""Ask what makes the most of the same time, a teacher or none; writes docs/experiments.md with its figures."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import pandas as pd

from benchmarks.command import command_line
from benchmarks.configured import DEFAULT_CHOICE, PROJECT
from benchmarks.distillation.arms import ARMS, DEFAULT
from benchmarks.distillation.corpora import CHARACTERS, TASKS, base_parameters, draw_corpus
from benchmarks.distillation.findings import find_out
from benchmarks.distillation.page import parts_of
from benchmarks.distillation.trainings import SEEDS
from benchmarks.page import FOLDER, write_page
from benchmarks.texts import EMBEDDED, embedded_text
from bort_kedro.datasets.text_sources import TextFilesDataset

# Under the published loss; without a teacher a student then takes nearly as many as conf/base has.
NUM_STEPS = 700
# Trainings side by side; a step of one thread each is timed alone.
NUM_WORKERS = 2


def other_text(patterns: str) -> pd.DataFrame:
    """Documents of files; those of one pattern are one source, which is what the task `library` asks for."""
    parts = {pattern: TextFilesDataset([pattern]).load() for pattern in shlex.split(patterns)}
    return pd.concat([part.assign(source=f"part {number}") for number, part in enumerate(parts.values(), 1)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the trainings, as far as that is not done yet, and write what they say."""
    parser = command_line(__doc__)
    parser.add_argument("corpus", nargs="?", default="", help="files of the other corpus: patterns set apart by spaces")
    parser.add_argument("--name", default="other", help="what the page calls it")
    parser.add_argument("--steps", type=int, default=NUM_STEPS, help="under the published loss")
    parser.add_argument("--characters", type=int, default=CHARACTERS, help="drawn of each corpus")
    parser.add_argument(
        "--arms", nargs="*", default=[], help="names of those wanted beside the default; all, unless given"
    )
    parser.add_argument("--workers", type=int, default=NUM_WORKERS, help="trainings at a time")
    given = parser.parse_args(arguments)
    is_whole = given.corpus and not given.arms and (given.steps, given.characters) == (NUM_STEPS, CHARACTERS)
    if not is_whole and given.folder == FOLDER:
        parser.exit(
            2,
            "The page is of two corpora, all arms and all steps: make bench-distillation CORPUS='a/**/wiki_* b/*.txt' "
            "NAME=texts. For a part of that, name another folder with --folder.\n",
        )
    arms = [arm for arm in ARMS if not given.arms or arm == DEFAULT or arm.name in given.arms]
    parameters = base_parameters()
    texts = {EMBEDDED: embedded_text()} | ({given.name: other_text(given.corpus)} if given.corpus else {})
    corpora = [
        draw_corpus(name, text, parameters, characters=given.characters, tasks=TASKS) for name, text in texts.items()
    ]
    found = find_out(
        corpora,
        parameters,
        DEFAULT_CHOICE,
        arms,
        SEEDS,
        given.states / "distillation",
        num_steps=given.steps,
        num_workers=given.workers,
    )
    write_page(
        "distillation",
        "Does a teacher help?",
        parts_of(found, arms, DEFAULT_CHOICE, num_steps=given.steps),
        {
            "parameters": "conf/base",
            "seeds": list(SEEDS),
            "student_shape": str(DEFAULT_CHOICE),
            "steps_under_the_published_loss": given.steps,
            "tokens": {each.name: each.before.corpus.tokens.summary() for each in found},
        },
        command=f"make bench-distillation CORPUS=... NAME='{given.name}'",
        setting="1 thread",
        packages=("torch", "transformers", "tokenizers"),
        folder=given.folder,
        page_file=PROJECT / "docs" / "experiments.md" if given.folder == FOLDER else None,
    )


if __name__ == "__main__":
    main()

"""Ask whether a teacher helps, for equal steps and for equal time; writes docs/experiments.md with its figures."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from benchmarks.command import command_line
from benchmarks.configured import PROJECT
from benchmarks.distillation.corpora import CHARACTERS, MIN_COUNT, VOCABULARY_SIZE, base_parameters, draw_corpus
from benchmarks.distillation.findings import Findings, find_out
from benchmarks.distillation.page import parts_of
from benchmarks.distillation.trainings import (
    CACHE_EPOCHS,
    SEEDS,
    SHAPE,
    STUDENT_STEPS,
    TEACHER_SHAPE,
    TEACHER_STEPS,
    experiments,
)
from benchmarks.page import FOLDER, write_page
from benchmarks.texts import EMBEDDED, embedded_text
from bort_kedro.datasets.text_sources import TextFilesDataset


def conditions_of(found: Sequence[Findings], num_steps: int, teacher_steps: int) -> dict[str, Any]:
    """What the figures hold for."""
    return {
        "parameters": "conf/base",
        "seeds": list(SEEDS),
        "student_shape": str(SHAPE),
        "student_steps": num_steps,
        "teacher_shape": str(TEACHER_SHAPE),
        "teacher_steps": teacher_steps,
        "vocabulary_size": VOCABULARY_SIZE,
        "min_count": MIN_COUNT,
        "cache_epochs": CACHE_EPOCHS,
        "tokens": {each.experiment.corpus.name: each.experiment.whole.tokens.summary() for each in found},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the trainings, as far as that is not done yet, and write what they say."""
    parser = command_line(__doc__)
    parser.add_argument("corpus", nargs="?", default="", help="files of the other corpus: patterns set apart by spaces")
    parser.add_argument("--name", default="other", help="what the page calls it")
    parser.add_argument("--steps", type=int, help="of students and teachers, for a quick try; name --folder with it")
    parser.add_argument("--characters", type=int, default=CHARACTERS, help="drawn of each corpus")
    given = parser.parse_args(arguments)
    if not given.corpus:
        parser.exit(2, "Name the other corpus: make bench-distillation CORPUS='a/**/wiki_* b/*.txt' NAME=texts\n")
    if given.steps and given.folder == FOLDER:
        parser.exit(2, "A quick try is no result: name another folder for its page with --folder.\n")
    parameters = base_parameters()
    num_steps = given.steps or STUDENT_STEPS
    teacher_steps = given.steps or TEACHER_STEPS
    texts = {EMBEDDED: embedded_text(), given.name: TextFilesDataset(shlex.split(given.corpus)).load()}
    corpora = [draw_corpus(name, text, parameters, characters=given.characters) for name, text in texts.items()]
    prepared = experiments(corpora, parameters, given.states / "distillation", teacher_steps=teacher_steps)
    found = [find_out(experiment, num_steps=num_steps) for experiment in prepared]
    write_page(
        "distillation",
        "Does a teacher help?",
        parts_of(found, num_steps=num_steps, teacher_steps=teacher_steps),
        conditions_of(found, num_steps, teacher_steps),
        command=f"make bench-distillation CORPUS=... NAME='{given.name}'",
        setting=f"{parameters.pretrain_distill.student.num_threads} thread(s)",
        packages=("torch", "transformers", "tokenizers"),
        folder=given.folder,
        page_file=PROJECT / "docs" / "experiments.md" if given.folder == FOLDER else None,
    )


if __name__ == "__main__":
    main()

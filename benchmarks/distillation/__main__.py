"""Ask whether a teacher helps, for equal steps and for equal time; writes docs/experiments.md with its figures."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.configured import PROJECT
from benchmarks.distillation.corpora import CHARACTERS, MIN_COUNT, VOCABULARY_SIZE, base_parameters, draw_corpus
from benchmarks.distillation.findings import SCHEDULES, Findings, accuracy, find_out
from benchmarks.distillation.page import body_of
from benchmarks.distillation.trainings import (
    ARMS,
    CACHE_EPOCHS,
    CACHED,
    SEEDS,
    SHAPE,
    STUDENT_STEPS,
    TEACHER_SHAPE,
    TEACHER_STEPS,
    UNTAUGHT,
    experiments,
)
from benchmarks.page import figure, write_page
from benchmarks.search.measured_space import EMBEDDED, PACKAGES
from bort_kedro.datasets.text_sources import InstalledDocumentationDataset, TextFilesDataset


def figures_of(found: Findings) -> list[dict[str, Any]]:
    """The figures of one corpus."""
    name, probe = found.experiment.corpus.name, found.probe
    figures = [figure(f"{name}: masked accuracy of the teacher", found.experiment.teacher_score.accuracy, "share")]
    for schedule in SCHEDULES:
        for arm in ARMS:
            title = f"{name}, {schedule}, {arm.name}"
            outcomes = found.outcomes[schedule].get(arm.name)
            if outcomes is None:
                figures.append(figure(f"{title}: steps", 0, "steps"))
                continue
            own = accuracy(outcomes)
            figures += [
                figure(f"{title}: steps", outcomes[0].num_steps, "steps"),
                figure(f"{title}: seconds", found.seconds(schedule, arm), "s"),
                figure(f"{title}: masked accuracy", own.value, "share"),
                figure(f"{title}: its standard error over the seeds", own.seeds_error, "share"),
                figure(f"{title}: its standard error over the test blocks", own.blocks_error, "share"),
            ]
            if arm != UNTAUGHT and (ahead := found.lead(schedule, arm, UNTAUGHT)) is not None:
                figures += [
                    figure(f"{title}: lead over no teacher", ahead.value, "share"),
                    figure(f"{title}: standard error of that lead", ahead.error, "share"),
                ]
    figures += [figure(f"{name}, {arm.name}: a step", 1000 * probe.step_seconds[arm.name], "ms") for arm in ARMS]
    for arm in CACHED:
        error = found.cache_errors[arm.name]
        figures += [
            figure(f"{name}, {arm.name}: filling the cache", probe.filling_seconds[arm.name], "s"),
            figure(f"{name}, {arm.name}: the cache on the disk", probe.cache_bytes[arm.name], "bytes"),
            figure(f"{name}, {arm.name}: share of the divergence that is lost", error["relative_error"], "share"),
        ]
    trimming, held_out = found.trimming, found.experiment.trimming["held_out"]
    figures += [
        figure(f"{name}: ids dropped by trimming", trimming["ids_dropped"], "ids"),
        figure(f"{name}: parameters saved by trimming", trimming["parameters_saved"], "parameters"),
        figure(f"{name}: share of the test tokens that trimming changes", held_out["share_of_dropped_ids"], "share"),
        figure(f"{name}: teacher's belief on the dropped ids", trimming["teacher_mass_on_dropped"], "share"),
    ]
    return figures


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


def arguments_given() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """The command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "corpus", nargs="?", default="", help="files of the other corpus: patterns set apart by spaces"
    )
    arguments.add_argument("--name", default="other", help="what the page calls it")
    arguments.add_argument("--states", type=Path, default=PROJECT / "data/06_models/training_states/bench")
    arguments.add_argument("--docs", type=Path, default=PROJECT / "docs", help="where the page is written")
    arguments.add_argument("--steps", type=int, help="of students and teachers, for a quick try; name --docs with it")
    arguments.add_argument("--characters", type=int, default=CHARACTERS, help="drawn of each corpus")
    return arguments, arguments.parse_args()


def main() -> None:
    """Run the trainings, as far as that is not done yet, and write what they say."""
    arguments, given = arguments_given()
    if not given.corpus:
        arguments.exit(2, "Name the other corpus: make bench-distillation CORPUS='a/**/wiki_* b/*.txt' NAME=texts\n")
    if given.steps and given.docs == PROJECT / "docs":
        arguments.exit(2, "A quick try is no result: name another folder for its page with --docs.\n")
    parameters = base_parameters()
    num_steps = given.steps or STUDENT_STEPS
    teacher_steps = given.steps or TEACHER_STEPS
    texts = {
        EMBEDDED: InstalledDocumentationDataset(PACKAGES).load(),
        given.name: TextFilesDataset(shlex.split(given.corpus)).load(),
    }
    corpora = [draw_corpus(name, text, parameters, characters=given.characters) for name, text in texts.items()]
    prepared = experiments(corpora, parameters, given.states / "distillation", teacher_steps=teacher_steps)
    found = [find_out(experiment, num_steps=num_steps) for experiment in prepared]
    write_page(
        "distillation",
        "Does a teacher help?",
        body_of(found, num_steps=num_steps, teacher_steps=teacher_steps),
        [each for findings in found for each in figures_of(findings)],
        conditions_of(found, num_steps, teacher_steps),
        command=f"make bench-distillation CORPUS=... NAME='{given.name}'",
        setting=f"{parameters.pretrain_distill.student.num_threads} thread(s)",
        packages=("torch", "transformers", "tokenizers"),
        folder=given.docs / "benchmarks",
        page_file=given.docs / "experiments.md",
    )


if __name__ == "__main__":
    main()

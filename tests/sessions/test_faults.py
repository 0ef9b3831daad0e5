"""Every stage under signals at random instants, and a search beside another one.

`FAULTS_SIGNALS=3` sends so many signals to each stage, and `FAULTS_SEED=1` draws other instants; instants are printed.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pandas as pd
import psutil
import pytest

from project_copy import SECONDS

pytestmark = [pytest.mark.session, pytest.mark.timeout(3000)]

SEED = int(os.environ.get("FAULTS_SEED", "7"))
NUM_SIGNALS = int(os.environ.get("FAULTS_SIGNALS", "7"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# Seconds after which none of a run's processes may be there.
SECONDS_OF_ORPHANS = 20


@dataclass(frozen=True)
class Stage:
    """A command, what of ``data`` is there before it and what of that is not, and results that no clock goes into."""

    words: tuple[str, ...]
    before: tuple[str, ...]
    results: tuple[str, ...]
    gone: tuple[str, ...] = ()


CORPUS = ("02_intermediate", "03_primary", "05_model_input")
SEARCHED = (*CORPUS, "04_feature", "06_models")
SEARCH = ("--pipelines", "search", "--tags", "search", "--params")
PRETRAIN = ("--pipelines", "pretrain_distill", "--params")
CHOSEN = ("04_feature/selected_shape.json", "08_reporting/candidate_table.csv")
PRETRAINED = ("08_reporting/pretraining_metrics.json",)
OF_PRETRAINING = ("training_states/pretrain_distill", "student_encoder", "undistilled_encoder", "teacher_encoder")
STAGES = {
    "corpus and tasks": Stage(
        ("--pipelines", "corpus,tasks"),
        (),
        ("08_reporting/corpus_manifest.json", "08_reporting/vocabulary_report.json", "05_model_input/tokens"),
    ),
    "search, two workers of loky": Stage((*SEARCH, "search.engine=loky,search.num_workers=2"), CORPUS, CHOSEN),
    "search, two workers of dask": Stage((*SEARCH, "search.engine=dask,search.num_workers=2"), CORPUS, CHOSEN),
    "pretraining, with a cache": Stage(
        (*PRETRAIN, "pretrain_distill.teacher_cache.top_k=600"),
        SEARCHED,
        PRETRAINED,
        OF_PRETRAINING,
    ),
    "pretraining, in two processes": Stage(
        (*PRETRAIN, "pretrain_distill.launch.num_processes=2"),
        SEARCHED,
        PRETRAINED,
        OF_PRETRAINING,
    ),
    "finetuning": Stage(
        ("--pipelines", "finetune"),
        SEARCHED,
        ("07_model_output/predictions/library.csv", "07_model_output/predictions/order.csv"),
        ("training_states/finetune", "finetuned", "finetuned_teachers"),
    ),
    "evaluation": Stage(
        ("--pipelines", "evaluate"),
        (*SEARCHED, "07_model_output", "08_reporting"),
        ("08_reporting/metrics/library.json", "08_reporting/metrics/order.json"),
    ),
}


@pytest.fixture(autouse=True)
def _commands_take_ctrl_c():
    """Where a shell begins the tests in the background it lets them ignore it, and so would all that they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def begun(project, root, stage):
    """A project whose next command is that of the stage."""
    other = project.copied(root, *stage.before)
    for name in stage.gone:
        shutil.rmtree(other.root / "data" / "06_models" / name, ignore_errors=True)
    return other


def results_of(project, stage):
    """Contents by name, but for seconds, and milliseconds of candidates."""
    found = {}
    for path in stage.results:
        latest = project.latest(path)
        if latest.is_dir():
            found[path] = (latest / "manifest.json").read_text()
        elif latest.suffix == ".csv":
            found[path] = pd.read_csv(latest).drop(columns="latency_ms", errors="ignore").to_csv()
        else:
            found[path] = re.sub(r'"seconds": [\d.]+', '"seconds"', latest.read_text())
    return found


def started(project, words):
    """A command as a shell starts it, in a group of its own, all of which Ctrl-C reaches."""
    with (project.root / "output.txt").open("a") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "kedro", "run", "--env", "smoke", *words],
            cwd=project.root,
            env=project.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def printed(project):
    """By all commands so far."""
    return (project.root / "output.txt").read_text()


def orphans_of(process, number):
    """Send a signal; what of the command's processes is still there a while after it has ended."""
    family = psutil.Process(process.pid).children(recursive=True)
    # Of SIGKILL and SIGTERM the workers are not told.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    process.wait(SECONDS)
    return [" ".join(each.cmdline()) for each in psutil.wait_procs(family, timeout=SECONDS_OF_ORPHANS)[1]]


@pytest.mark.nightly
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_signalled_at_random_instants_ends_as_one_in_peace_and_leaves_no_process(smoke, tmp_path, name):
    stage = STAGES[name]
    if "dask" in name:
        pytest.importorskip("distributed")
    draws = random.Random(f"{SEED} {name}")
    peace = begun(smoke, tmp_path / "peace", stage)
    began = time.monotonic()
    assert started(peace, stage.words).wait(SECONDS) == 0, printed(peace)
    duration = time.monotonic() - began
    disturbed = begun(smoke, tmp_path / "disturbed", stage)
    sent = 0
    while sent < NUM_SIGNALS:
        number, instant = SIGNALS[sent % len(SIGNALS)], draws.uniform(0, duration)
        process = started(disturbed, stage.words)
        try:
            # What is finished is not done again, so that the command ends earlier each time.
            assert process.wait(instant) == 0, printed(disturbed)
            duration = instant
        except subprocess.TimeoutExpired:
            orphans = orphans_of(process, number)
            sent += 1
            sys.stdout.write(
                f"{name}, seed {SEED}: {number.name} after {instant:.1f} s of at most {duration:.1f}, status "
                f"{process.returncode}, {len(orphans)} processes left\n"
            )
            assert orphans == []
    assert started(disturbed, stage.words).wait(SECONDS) == 0, printed(disturbed)
    assert results_of(disturbed, stage) == results_of(peace, stage)
    assert not list((disturbed.root / "data").rglob("*.damaged"))


RIVALS = {
    strategy: ("--pipelines", "search", "--tags", "search", "--params", f"search.strategy={strategy},search.budget=2")
    for strategy in ("fptas", "random")
}


def report_of(project, strategy):
    """The search report of the run with a strategy, by the versions in its manifest."""
    for path in (project.root / "data/08_reporting/run_manifest.json").glob("*/run_manifest.json"):
        manifest = json.loads(path.read_text())
        if manifest["parameters"]["search"]["strategy"] == strategy:
            version = manifest["datasets_written"]["search.search_report"]
            report = project.root / "data/08_reporting/search_report.json" / version / "search_report.json"
            return json.loads(report.read_text())
    raise AssertionError(printed(project))


@pytest.mark.nightly
def test_two_runs_at_once_on_one_project_each_end_as_alone(smoke, tmp_path):
    together, alone = smoke.copied(tmp_path / "together", *CORPUS), smoke.copied(tmp_path / "alone", *CORPUS)
    both = [started(together, words) for words in RIVALS.values()]
    assert [process.wait(SECONDS) for process in both] == [0, 0], printed(together)
    for words in RIVALS.values():
        assert started(alone, words).wait(SECONDS) == 0, printed(alone)
    for strategy in RIVALS:
        found, expected = report_of(together, strategy), report_of(alone, strategy)
        assert (found["strategy"], found["num_trained"]) == (strategy, 2)
        for name in ("num_hidden_layers", "num_attention_heads", "hidden_size", "error", "w"):
            assert found["selected"][name] == expected["selected"][name], (strategy, name)

"""Ctrl-C and SIGTERM while a session is tracked, each in a process of its own, which a signal may end."""

from __future__ import annotations

import multiprocessing
import shutil
import signal

import pytest

from signalled_sessions import observe

SECONDS = 120


# What the server loads once, for a process to start in no time; it knows installed packages alone.
LOADED = [
    "bort_kedro.session.tracking",
    "bort_kedro.datasets.training_states",
    "mlflow.store.tracking.sqlalchemy_store",
]


@pytest.fixture(scope="module")
def forks():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LOADED))
    return context


@pytest.fixture
def signalled(forks, tmp_path, empty_store):
    """A function: what a session and its store are like after a signal at a moment; see `observe`."""

    def after(number, moment):
        store = f"sqlite:///{shutil.copy(empty_store, tmp_path)}"
        mine, theirs = forks.Pipe(duplex=False)
        process = forks.Process(target=observe, args=(theirs, tmp_path, store, number, moment))
        process.start()
        theirs.close()
        assert mine.poll(SECONDS)
        seen = mine.recv()
        process.join(SECONDS)
        assert process.exitcode == 0
        return seen

    return after


STOPS = {signal.SIGINT: "KeyboardInterrupt()", signal.SIGTERM: f"SystemExit({128 + signal.SIGTERM})"}
# However the signal comes, the session is over and the process as it was.
OVER = {"kedro_run": "KILLED", "child": "KILLED", "active_run": None, "is_silent": True, "is_restored": True}


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_a_signal_marks_the_kedro_run_and_its_tasks_as_killed(signalled, number):
    trial = {"status": "FINISHED", "dev_score": 0.75}
    assert signalled(number, "after a trial") == OVER | {"stop": STOPS[number], "trial": trial}


def test_a_signal_that_comes_while_a_trial_is_logged_waits_until_it_is_logged(signalled):
    trial = {"status": "FINISHED", "dev_score": 0.75}
    seen = signalled(signal.SIGINT, "while a trial is logged")
    assert seen == OVER | {"stop": STOPS[signal.SIGINT], "trial": trial}


def test_a_signal_that_comes_while_a_row_is_logged_waits_until_it_is_logged(signalled):
    seen = signalled(signal.SIGTERM, "while a row is logged")
    assert seen == OVER | {"stop": STOPS[signal.SIGTERM], "loss": [(3, 0.5)]}

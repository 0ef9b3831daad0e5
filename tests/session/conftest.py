"""A hook that tracks, and its store."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from contextlib import closing

import pytest


@pytest.fixture(scope="module")
def store(tmp_path_factory, empty_store):
    """Address of a store without a run."""
    return f"sqlite:///{shutil.copy(empty_store, tmp_path_factory.mktemp('tracking'))}"


@pytest.fixture
def hook(store, tmp_path, monkeypatch):
    """As after a session has made its context; the store and the observer are left as they were."""
    # Slow to import, and the other tests of this folder need none of it.
    import mlflow

    from bort_kedro.session.tracking import TrackingHook
    from bort_kedro.training.observer import SilentObserver
    from tracked_sessions import STATES, context_of

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.chdir(tmp_path)
    hook = TrackingHook()
    hook.after_context_created(context_of(tmp_path))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield hook
    while mlflow.active_run():
        mlflow.end_run()
    STATES.observer = SilentObserver()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    mlflow.set_tracking_uri(None)


@pytest.fixture
def broken(store):
    """A function after which nothing can be written into the store until the test has ended."""
    file = store.removeprefix("sqlite:///")

    def rename(table, name):
        with closing(sqlite3.connect(file)) as database:
            database.execute(f"alter table {table} rename to {name}")

    broke = []
    yield lambda: broke.append(rename("latest_metrics", "gone"))
    if broke:
        rename("gone", "latest_metrics")

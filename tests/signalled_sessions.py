"""A tracked session that gets a signal, and what is left of it; runs in a process of its own."""

from __future__ import annotations

import os
import signal
from unittest.mock import patch

import mlflow

from bort_kedro.session.tracking import TrackingHook
from bort_kedro.training.observer import SilentObserver
from tracked_sessions import STATES, STUDENT, children, context_of, points, started, tell, tell_trial, trial


def _during(call, number, function, *arguments):
    """Call a function whose call of MLflow's client finds the signal sent just before."""
    real = getattr(mlflow.MlflowClient, call)

    def interrupted(*given, **named):
        os.kill(os.getpid(), number)
        return real(*given, **named)

    with patch.object(mlflow.MlflowClient, call, interrupted):
        function(*arguments)


def _after_a_trial(number):
    tell_trial(trial())
    signal.raise_signal(number)


MOMENTS = {
    "after a trial": _after_a_trial,
    "while a trial is logged": lambda number: _during("create_run", number, tell_trial, trial()),
    "while a row is logged": lambda number: _during("log_batch", number, tell, STUDENT, {"step": 3, "loss": 0.5}),
}


def observe(connection, folder, store, number, moment):
    """Send what a signal leaves: the exception, states of the runs, and whether the process is as it was."""
    os.chdir(folder)
    os.environ["MLFLOW_TRACKING_URI"] = store
    hook = TrackingHook()
    hook.after_context_created(context_of(folder))
    before = signal.getsignal(number)
    kedro_run = started(hook)
    seen = {"stop": None}
    try:
        MOMENTS[moment](number)
    except (KeyboardInterrupt, SystemExit) as stop:
        seen["stop"] = repr(stop)
    (child,) = children(kedro_run).values()
    seen |= {
        "kedro_run": mlflow.get_run(kedro_run).info.status,
        "child": child.info.status,
        "active_run": mlflow.active_run(),
        "is_silent": isinstance(STATES.observer, SilentObserver),
        "is_restored": signal.getsignal(number) is before,
    }
    trials = children(child.info.run_id).values()
    for run in trials:
        seen["trial"] = {"status": run.info.status, "dev_score": run.data.metrics["dev_score"]}
    if not trials:
        seen["loss"] = points(child, "training.loss")
    connection.send(seen)

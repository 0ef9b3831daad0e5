"""Signals that stop a run, whatever Python is at; in a process of its own, which a test must not end with."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROCESS = """
import signal, sys, time
from bort_kedro.session.signals import stop_for_sure

class SignalledAtItsEnd:
    # Python ignores what is raised while an object ends, whoever raises it.
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

def handle(number, frame):
    print("handled", flush=True)
    stop_for_sure(SystemExit(143))

signal.signal(signal.SIGTERM, handle)
{signalled}
time.sleep(60)
print("went on")
"""


@pytest.mark.parametrize("signalled", ["SignalledAtItsEnd()", "signal.raise_signal(signal.SIGTERM)"])
def test_a_signal_stops_a_run_also_while_an_object_ends(signalled):
    script = PROCESS.format(signalled=signalled)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    # What marks a run as killed is done once.
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "handled\n", "")

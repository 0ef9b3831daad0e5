"""Processes among those that were started for one run."""

from __future__ import annotations

import subprocess
import sys

import psutil

# The first starts one more, which says its number.
PROCESS = """
import os, subprocess, sys, time
from bort_kedro.launcher import end_with
if sys.argv[1:]:
    end_with(int(sys.argv[1]))
    print(os.getpid(), flush=True)
    time.sleep(600)
subprocess.run([sys.executable, "-c", sys.orig_argv[2], str(os.getpid())])
"""


def test_a_process_ends_soon_after_the_one_that_it_ends_with():
    first = subprocess.Popen([sys.executable, "-c", PROCESS], stdout=subprocess.PIPE, text=True)
    other = psutil.Process(int(first.stdout.readline()))
    first.kill()
    first.communicate(timeout=120)
    assert psutil.wait_procs([other], timeout=120)[1] == []

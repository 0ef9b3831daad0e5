"""A pretraining that is killed over and over, or shared by processes, ends where one in peace does."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time

import pytest
import torch

from toy_pretraining import job_for, settings

SECONDS = 120
NUM_KILLS = 20
# Kills are spread over about this long from the start of a process; a whole training takes about as long.
LATEST_KILL = 1.0


def run_in_process(root, how):
    job_for(root, how).run()


@pytest.fixture(scope="module")
def forks():
    """Processes that start in milliseconds, from a server that has loaded torch and never used it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_interrupted_pretraining"])
    return context


def test_twenty_kills_at_random_instants_leave_the_weights_of_an_uninterrupted_training(forks, tmp_path):
    how, instants = settings(), random.Random(0)
    whole = job_for(tmp_path / "whole", how)
    whole.run()
    latest, killed = LATEST_KILL, 0
    while killed < NUM_KILLS:
        process = forks.Process(target=run_in_process, args=(tmp_path / "killed", how))
        process.start()
        time.sleep(instants.uniform(0, latest))
        process.kill()
        process.join(SECONDS)
        if process.exitcode == 0:
            # It had ended before the kill; let it begin anew, and be killed sooner on a quicker machine.
            latest *= 0.9
            for state in (tmp_path / "killed").rglob("step-*.safetensors"):
                state.unlink()
            continue
        assert process.exitcode == -signal.SIGKILL
        killed += 1
    resumed = job_for(tmp_path / "killed", how)
    result = resumed.run()
    for (name, left), right in zip(resumed.model.named_parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(left, right), name
    assert [row["step"] for row in result.history][-1] == 300

"""A pretraining that is killed over and over, or shared by processes, ends where one in peace does."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time

import numpy as np
import pytest
import torch

from bort_kedro.core.shapes import BertShape
from bort_kedro.core.tokens import TokenBlocks, Tokens, Vocabulary
from bort_kedro.core.vocabulary_map import VocabularyMap
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.models.encoder import bert_config, build_masked_lm
from bort_kedro.models.pretrained import Pretrained
from bort_kedro.training.distillation import Distillation
from bort_kedro.training.launch import PretrainingJob
from bort_kedro.training.optimizer import OptimizationSettings
from bort_kedro.training.pretraining import PretrainingSettings, new_encoder, pretraining_identity

SHAPE = BertShape(num_hidden_layers=1, num_attention_heads=2, hidden_size=16, intermediate_size=16)
VOCABULARY = Vocabulary(size=50, mask_id=4, pad_id=1, special_ids=(0, 1, 2, 3, 4), fingerprint="made up")
SECONDS = 120
NUM_KILLS = 20
# Kills are spread over about this long from the start of a process; a whole training takes about as long.
LATEST_KILL = 1.0


def made_up_tokens():
    generator = np.random.default_rng(0)
    blocks = [[0, *generator.integers(5, 50, size=size), 2] for size in generator.integers(6, 14, size=64)]
    return Tokens(VOCABULARY, {"train": TokenBlocks.from_blocks(blocks, vocabulary_size=50)}, "made up")


def settings(dropout=0.1, **optimization):
    values = {
        "num_steps": 300,
        "learning_rate": 1e-2,
        "warmup_share": 0.1,
        "weight_decay": 0.01,
        "adam_beta2": 0.98,
        "adam_epsilon": 1e-3,
        "max_gradient_norm": 1.0,
        "seed": 0,
        "mixed_precision": "no",
        "checkpoint_every_steps": 5,
    }
    return PretrainingSettings(
        OptimizationSettings(**values | optimization),
        batch_tokens=64,
        masked_share=0.3,
        dropout=dropout,
        initialization="published",
        num_threads=1,
    )


def job_for(root, how, *, tokens=None, tokenizer=None):
    tokens = tokens or made_up_tokens()
    distillation = None
    if tokenizer is not None:
        teacher = build_masked_lm(bert_config(SHAPE, vocabulary_size=50, max_positions=16), seed=9)
        distillation = Distillation(
            Pretrained(teacher, tokenizer), VocabularyMap(torch.arange(50), 50, None), 2.0, 0.1, 0.5
        )
    model = new_encoder(SHAPE, tokens, max_positions=16, settings=how)
    return PretrainingJob(
        model, tokens, how, TrainingStates(root, keep=2), "tiny", "random", distillation, None, "", None
    )


def folder_of(job):
    identity = pretraining_identity(job.model, job.tokens, job.settings, start="random", distillation=job.distillation)
    return job.states.of(job.name, identity)


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
    killed = 0
    for _ in range(NUM_KILLS * 5):
        process = forks.Process(target=run_in_process, args=(tmp_path / "killed", how))
        process.start()
        time.sleep(instants.uniform(0, LATEST_KILL))
        process.kill()
        process.join(SECONDS)
        if process.exitcode == 0:
            # It had ended before the kill; wind it back, as if its last states had never been written.
            for state in sorted((tmp_path / "killed").rglob("step-*.safetensors"))[1:]:
                state.unlink()
            continue
        assert process.exitcode == -signal.SIGKILL
        killed += 1
        if killed == NUM_KILLS:
            break
    assert killed == NUM_KILLS
    resumed = job_for(tmp_path / "killed", how)
    result = resumed.run()
    for (name, left), right in zip(resumed.model.named_parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(left, right), name
    assert [row["step"] for row in result.history][-1] == 300

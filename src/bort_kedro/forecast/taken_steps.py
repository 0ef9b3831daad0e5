"""Steps that are taken to know how long those of a training take."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import save

from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.forecast.work import Step
from bort_kedro.frozen import JsonObject
from bort_kedro.pretraining.masked_blocks import MaskedBlocks
from bort_kedro.pretraining.masked_lm import masked_lm_objective
from bort_kedro.text.tokens import TokenBlocks, Vocabulary
from bort_kedro.training.settings import OptimizationSettings
from bort_kedro.training.state import capture
from bort_kedro.training.steps import Batch, Steps, made_fast
from bort_kedro.training.threads import cpu_threads

# Steps to begin with, which are slower, and those whose median counts.
WARM_UP, TAKEN = 1, 3
# After which no other step of a kind begins.
MOST_SECONDS = 0.3
# Seconds that pass for one of the processor's, from which on a machine counts as loaded by others: steps on several
# threads then say nothing, and take long.
LOADED = 1.5
SPECIAL_IDS = 5
# Of a step without a masked-LM head, which is timed with one over as few positions.
LEAST_MASKED_SHARE = 0.02


@dataclass(frozen=True)
class Taken:
    """What the steps that were taken say of a training of the same encoder.

    Args:
        step: Seconds of one, on as many threads as it asks for or on one, whichever is faster.
        beginning: Seconds until the first, and those that it takes more than others.
        state: Seconds to copy, serialise and check a whole state.
    """

    step: float
    beginning: float
    state: float


def taken(step: Step) -> Taken:
    """Steps as the loop of all trainings takes them, the making of the encoder and of batches included."""
    # On one thread the processor's time is that which passes on a machine that no one else loads.
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    began, size = clock(), step.encoder.vocabulary_size
    config = bert_config(
        step.encoder.shape,
        vocabulary_size=size,
        max_positions=max(step.encoder.max_positions, step.length),
        pad_token_id=1,
        dropout=0.0,
        initialization="published",
    )
    model = build_masked_lm(config, seed=0, initialization="published")
    generator = np.random.default_rng(0)
    blocks = [generator.integers(SPECIAL_IDS, size, step.length).tolist() for _ in range(_rows(step))]
    data = MaskedBlocks(
        TokenBlocks.from_blocks(blocks, vocabulary_size=size),
        Vocabulary(size, mask_id=4, pad_id=1, special_ids=tuple(range(SPECIAL_IDS)), fingerprint=""),
        0,
        max(step.masked_share, LEAST_MASKED_SHARE),
    )
    batch_at = data.training_batches(batch_tokens=_rows(step) * step.length)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        # As the loop of a training begins; see `training.loop.train`.
        AcceleratorState._reset_state()
        accelerator = Accelerator(mixed_precision=step.precision)
        steps = Steps(
            accelerator, model, masked_lm_objective, _optimization(step), description="timing a step", compiles=False
        )
        steps.objective.train()
        parts = min(step.parts, _rows(step))
        with made_fast(accelerator):
            built = clock() - began
            start = time.perf_counter()
            with cpu_threads(1):
                first, *alone = _seconds(steps, batch_at, WARM_UP + TAKEN, clock, parts=parts)
            is_loaded = time.perf_counter() - start > LOADED * sum((first, *alone))
            together = alone
            if step.num_threads > 1 and not is_loaded:
                with cpu_threads(step.num_threads):
                    together = _seconds(steps, batch_at, TAKEN, time.perf_counter, parts=parts)
        began = clock()
        hashlib.sha256(save(capture(model, steps.optimizer, accelerator)))
        state = clock() - began
    # Threads that others hinder wait for one another, and may take longer than one alone.
    usual = min(float(np.median(seconds)) for seconds in (alone or [first], together or [first]))
    return Taken(usual, built + max(0.0, first - usual), state)


def _seconds(
    steps: Steps, batch_at: Callable[..., Batch], most: int, clock: Callable[[], float], *, parts: int
) -> list[float]:
    """Of so many steps; where they are long, of the first alone."""
    seconds: list[float] = []
    began = clock()
    for number in range(most):
        start = clock()
        pieces = [batch_at(number)] if parts == 1 else [batch_at(number, part, parts) for part in range(parts)]
        # Reading its numbers waits for the device.
        steps.settle([steps.advance(number, pieces)])
        seconds.append(clock() - start)
        if clock() - began > MOST_SECONDS:
            break
    return seconds


def _rows(step: Step) -> int:
    return max(1, step.tokens // step.length)


def _optimization(step: Step) -> OptimizationSettings:
    values: JsonObject = {
        "num_steps": WARM_UP + TAKEN,
        "learning_rate": 1e-4,
        "warmup_share": 0.1,
        "schedule": "linear",
        "weight_decay": 0.01,
        "adam_beta2": 0.98,
        "adam_epsilon": 1e-6,
        "max_gradient_norm": 1.0,
        "seed": 0,
        "mixed_precision": step.precision,
        "checkpoint_every_steps": 1000,
        "bias_correction": True,
        "gradient_accumulation_steps": min(step.parts, _rows(step)),
        "optimizer": "adamw" if step.moments else "sgd",
    }
    return OptimizationSettings.model_validate(values)

"""How long a step takes on this machine: some are taken, of the encoder itself or of a smaller one."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import save

from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.forecast.work import Encoder, Step
from bort_kedro.frozen import JsonObject
from bort_kedro.pretraining.masked_blocks import MaskedBlocks
from bort_kedro.pretraining.masked_lm import masked_lm_objective
from bort_kedro.text.tokens import TokenBlocks, Vocabulary
from bort_kedro.training.settings import OptimizationSettings
from bort_kedro.training.state import capture
from bort_kedro.training.steps import Batch, Steps
from bort_kedro.training.threads import cpu_threads, tensor_float32

# Operations of a step that is taken, at most: on a CPU, and elsewhere. A larger one is scaled down and its time up.
MOST_FLOPS = {"cpu": 4e9, "cuda": 2e13}
# What a smaller step has at the least; below it the time that no operation takes would be scaled up too.
LEAST_LENGTH, LEAST_VOCABULARY = 64, 4096
# Steps to begin with, which are slower, and those whose median counts.
WARM_UP, TAKEN = 1, 5
# After which no other step of a kind begins.
MOST_SECONDS = 0.3
SPECIAL_IDS = 5
# Of a step without a masked-LM head, which is timed with one over as few positions.
LEAST_MASKED_SHARE = 0.02


@dataclass(frozen=True)
class Taken:
    """What the steps that were taken say of a training of the same encoder.

    Args:
        step: Seconds of one.
        beginning: Seconds until the first, and those that it takes more than others.
        state: Seconds to copy, serialise and check a whole state.
    """

    step: float
    beginning: float
    state: float


@dataclass
class ThisMachine:
    """The device that trainings would take here.

    Steps are taken when an encoder is first asked about in a precision and on so many threads; those of other sizes
    and forward passes alone are taken to go as their operations, states as their bytes.
    """

    _taken: dict[tuple[Encoder, str, int], tuple[Step, Taken]] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """See `rates.Rates`."""
        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        return f"this machine ({name}), by steps taken just now"

    def seconds(self, step: Step) -> float:
        """See `rates.Rates`."""
        if step.teacher is not None:
            teacher = replace(step, encoder=step.teacher, teacher=None, learns=False)
            return self.seconds(replace(step, teacher=None)) + self.seconds(teacher)
        small, found = self._of(step)
        return step.flops * found.step / small.flops

    def beside(self, step: Step, num_states: int) -> float:
        """See `rates.Rates`."""
        small, found = self._of(step)
        share = step.encoder.weight_bytes / small.encoder.weight_bytes
        return found.beginning + num_states * found.state * share

    def _of(self, step: Step) -> tuple[Step, Taken]:
        """The step that was taken in the place of another, and what it took."""
        if device_type() == "cpu" and step.precision == "fp16":
            # Which a CPU does not train in; `kedro run` says so.
            step = replace(step, precision="no")
        key = step.encoder, step.precision, step.num_threads
        if key not in self._taken:
            small = smaller(replace(step, teacher=None, learns=True), MOST_FLOPS[device_type()])
            # On a machine that others load, threads that wait for one another take many times as long as one alone.
            threads = {step.num_threads, 1} if device_type() == "cpu" else {step.num_threads}
            every = (taken(replace(small, num_threads=number)) for number in sorted(threads))
            self._taken[key] = small, min(every, key=lambda found: found.step)
        return self._taken[key]


def device_type() -> str:
    """Where trainings run here."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def smaller(step: Step, most_flops: float) -> Step:
    """A step of no more operations, by fewer tokens, then a smaller vocabulary, then fewer layers."""

    def with_encoder(encoder: Encoder, step: Step) -> Step:
        return replace(step, encoder=encoder)

    def fits(step: Step) -> bool:
        return step.flops <= most_flops

    if not fits(step):
        length = min(step.length, LEAST_LENGTH)
        rows = max(1, int(most_flops / replace(step, tokens=length, length=length).flops))
        step = replace(step, tokens=min(rows * length, step.tokens), length=length, parts=1)
    if not fits(step):
        step = with_encoder(
            replace(step.encoder, vocabulary_size=min(step.encoder.vocabulary_size, LEAST_VOCABULARY)), step
        )
    while not fits(step) and (depth := step.encoder.shape.num_hidden_layers) > 1:
        step = with_encoder(replace(step.encoder, shape=_with_depth(step.encoder.shape, depth // 2)), step)
    return step


def _with_depth(shape: BertShape, depth: int) -> BertShape:
    return replace(shape, num_hidden_layers=depth)


def taken(step: Step) -> Taken:
    """Steps as the loop of all trainings takes them, the making of the encoder and of batches included."""
    began, size = time.perf_counter(), step.encoder.vocabulary_size
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
    with cpu_threads(step.num_threads), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        # As the loop of a training begins; see `training.loop.train`.
        AcceleratorState._reset_state()
        accelerator = Accelerator(mixed_precision=step.precision)
        steps = Steps(
            accelerator, model, masked_lm_objective, _optimization(step), description="timing a step", compiles=False
        )
        steps.objective.train()
        with tensor_float32(accelerator.device):
            built = time.perf_counter() - began
            seconds = _seconds(steps, batch_at, parts=min(step.parts, _rows(step)))
        began = time.perf_counter()
        hashlib.sha256(save(capture(model, steps.optimizer, accelerator)))
        state = time.perf_counter() - began
    usual = float(np.median(seconds[WARM_UP:] or seconds))
    return Taken(usual, built + seconds[0] - usual, state)


def _seconds(steps: Steps, batch_at: Callable[..., Batch], *, parts: int) -> list[float]:
    """Of some steps, the first among them; where they are long, of that alone."""
    seconds: list[float] = []
    began = time.perf_counter()
    for number in range(WARM_UP + TAKEN):
        start = time.perf_counter()
        pieces = [batch_at(number)] if parts == 1 else [batch_at(number, part, parts) for part in range(parts)]
        # Reading its numbers waits for the device.
        steps.settle([steps.advance(number, pieces)])
        seconds.append(time.perf_counter() - start)
        if time.perf_counter() - began > MOST_SECONDS:
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

"""Examples a second of a training step: batches of similar length against batches padded to one length."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from bort_kedro.encoders.encoder import bert_config, build_classifier, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.finetuning.encoding import EncodedExamples
from bort_kedro.finetuning.objectives import objective_of
from bort_kedro.tasks.table import Form
from bort_kedro.text.batching import padding_share
from bort_kedro.text.tokenizer import train_tokenizer
from bort_kedro.training.optimizer import build_optimizer
from bort_kedro.training.settings import OptimizationSettings
from bort_kedro.training.threads import cpu_threads

ROUNDS = 5
# Enough for batches of all lengths.
EXAMPLES = 1024
# The batch of transformers' run_glue, whose `pad_to_max_length` is on unless it is told otherwise.
FIXED_BATCH = 32


# As BERT has them.
COMMON_VOCABULARY = 30_000
MAX_POSITIONS = 512


@dataclass(frozen=True)
class Throughput:
    """Both loops in the same rounds.

    Args:
        vocabulary_size: Of the encoder.
        bucketed: Examples a second, (R,), batches of similar length with a budget of padded tokens.
        fixed: Likewise, batches of a fixed number of examples, each padded to the longest input allowed.
        padding: Share of padding in the bucketed batches.
        fixed_padding: In the others.
        mean_tokens: Of an example.
    """

    vocabulary_size: int
    bucketed: list[float]
    fixed: list[float]
    padding: float
    fixed_padding: float
    mean_tokens: float

    @property
    def ratio(self) -> float:
        """Median over the rounds."""
        return float(np.median(np.array(self.bucketed) / np.array(self.fixed)))


def with_vocabulary(encoder: Pretrained, texts: Sequence[str]) -> Pretrained:
    """The shape of an encoder, with random weights and a vocabulary of common size that is trained on these texts."""
    tokenizer = train_tokenizer(texts, vocabulary_size=COMMON_VOCABULARY, max_positions=MAX_POSITIONS)
    shape = BertShape.from_row(encoder.model.config.to_dict())
    config = bert_config(shape, vocabulary_size=len(tokenizer), max_positions=MAX_POSITIONS)
    return Pretrained(build_masked_lm(config, seed=0), tokenizer)


def measure(encoder: Pretrained, examples: EncodedExamples, *, max_tokens: int, batch_tokens: int) -> Throughput:
    """Train the same examples once by either loop in each round, turn by turn.

    Both loops run the same model, loss, optimiser and clipping; batches are made while the clock runs.
    """
    order = np.random.default_rng(0).permutation(examples.num_units)[:EXAMPLES]
    lengths = examples.unit_lengths[order]
    bucketed, fixed = [], []
    with cpu_threads(1):
        _epoch(encoder, examples, order[:64], max_tokens, batch_tokens, is_fixed=True)
        for number in range(ROUNDS):
            for is_fixed in (False, True) if number % 2 else (True, False):
                seconds = _epoch(encoder, examples, order, max_tokens, batch_tokens, is_fixed=is_fixed)
                (fixed if is_fixed else bucketed).append(len(order) / seconds)
    return Throughput(
        len(encoder.tokenizer),
        bucketed,
        fixed,
        padding_share(lengths, batch_tokens=batch_tokens, seed=0),
        1 - float(lengths.mean()) / max_tokens,
        float(lengths.mean()),
    )


def _epoch(
    encoder: Pretrained,
    examples: EncodedExamples,
    order: np.ndarray,
    max_tokens: int,
    batch_tokens: int,
    *,
    is_fixed: bool,
) -> float:
    model = build_classifier(encoder.model, labels=["entailment", "not_entailment"], seed=0, dropout=0.1).train()
    settings = OptimizationSettings(
        num_steps=100,
        learning_rate=1e-4,
        warmup_share=0.1,
        weight_decay=0.01,
        adam_beta2=0.98,
        adam_epsilon=1e-6,
        max_gradient_norm=1.0,
        seed=0,
        mixed_precision="no",
        checkpoint_every_steps=100,
        schedule="linear",
        bias_correction=True,
        gradient_accumulation_steps=1,
    )
    optimizer, loss = build_optimizer(model, settings), objective_of(Form.CLASSIFICATION)
    began = time.perf_counter()
    if is_fixed:
        edges = [*range(0, len(order), FIXED_BATCH), len(order)]
        batches = [order[start:stop].tolist() for start, stop in pairwise(edges)]
    else:
        from bort_kedro.text.batching import plan_epoch

        plan = plan_epoch(examples.unit_lengths[order], batch_tokens=batch_tokens, seed=0, epoch=0)
        batches = [order[places].tolist() for places in plan]
    for units in batches:
        batch = examples.batch(units)
        if is_fixed:
            missing = max_tokens - batch["input_ids"].shape[1]
            for name, fill in (("input_ids", examples.pad_id), ("attention_mask", 0)):
                batch[name] = torch.nn.functional.pad(batch[name], (0, missing), value=fill)
        optimizer.zero_grad()
        loss(model, batch)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return time.perf_counter() - began

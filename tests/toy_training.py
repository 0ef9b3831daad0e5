"""Tiny models that have learned something one can ask them for."""

from __future__ import annotations

import torch

from bort_kedro.encoders.encoder import build_classifier
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.training.settings import OptimizationSettings
from toy_tasks import MAX_TOKENS, WORDS, data_of, encoder_of

OPTIMIZATION = OptimizationSettings(
    num_steps=8,
    learning_rate=1e-2,
    warmup_share=0.25,
    weight_decay=0.01,
    adam_beta2=0.98,
    adam_epsilon=1e-6,
    max_gradient_norm=1.0,
    seed=3,
    mixed_precision="no",
    checkpoint_every_steps=4,
    schedule="linear",
    bias_correction=True,
    gradient_accumulation_steps=1,
)


def train_classifier(tokenizer, *, num_steps=60):
    """Knows whether a text has a word of arrays or one of rows."""
    encoder = encoder_of(tokenizer)
    model = build_classifier(encoder.model, labels=list(WORDS), seed=0, dropout=0.0)
    rows = data_of(num_train=96).encoded(encoder, max_tokens=MAX_TOKENS).splits["train"]
    batch = rows.batch(range(rows.num_units))
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    _fit(model, inputs | {"labels": batch["targets"].argmax(-1)}, num_steps)
    return Pretrained(model.eval(), tokenizer)


def train_masked_lm(tokenizer, sentence, *, num_steps=60):
    """Knows every word of one sentence."""
    encoder = encoder_of(tokenizer)
    ids = torch.tensor([tokenizer(sentence)["input_ids"]])
    places = torch.arange(1, ids.shape[1] - 1)
    hidden = ids.repeat(len(places), 1)
    hidden[torch.arange(len(places)), places] = tokenizer.mask_token_id
    _fit(encoder.model.train(), {"input_ids": hidden, "labels": ids.repeat(len(places), 1)}, num_steps)
    return Pretrained(encoder.model.eval(), tokenizer)


def _fit(model, batch, num_steps):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(num_steps):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()

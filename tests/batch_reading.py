"""Batches of masked blocks as tables of their rows."""

from __future__ import annotations

import torch

from bort_kedro.pretraining.masking import IGNORED


def labels_of(batch):
    """(B, L) true ids of predicted tokens, `IGNORED` elsewhere."""
    ids = batch["input_ids"]
    labels = torch.full((ids.numel(),), IGNORED)
    labels[batch["predicted"]] = batch["targets"]
    return labels.view_as(ids)


def mask_of(batch):
    """(B, L), 1 for tokens and 0 for padding."""
    ids = batch["input_ids"]
    return (batch.get("document_ids", batch.get("attention_mask", torch.ones_like(ids))) > 0).long()

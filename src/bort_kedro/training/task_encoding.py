"""The examples of a classification task as token ids, in batches of similar length."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bort_kedro.core.batching import BatchPlan
from bort_kedro.core.builtin_tasks import SPLITS
from bort_kedro.errors import ConfigurationError, TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class EncodedExamples:
    """The examples of one split as ids.

    Args:
        input_ids: N arrays of token ids, special tokens included.
        labels: (N,) index of each example's label.
        pad_id: Id that fills a batch.
        num_truncated: Examples that lost tokens.
    """

    input_ids: list[NDArray[np.int64]]
    labels: NDArray[np.int64]
    pad_id: int
    num_truncated: int

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) tokens of each example."""
        return np.array([len(ids) for ids in self.input_ids], dtype=np.int64)

    def batch(self, indices: Sequence[int]) -> Batch:
        """``input_ids`` and ``attention_mask`` (B, L), ``labels`` (B,); L is the longest of the batch."""
        chosen = [self.input_ids[index] for index in indices]
        length = max(map(len, chosen))
        input_ids = np.full((len(chosen), length), self.pad_id, dtype=np.int64)
        attention_mask = np.zeros((len(chosen), length), dtype=np.int64)
        for row, ids in enumerate(chosen):
            input_ids[row, : len(ids)] = ids
            attention_mask[row, : len(ids)] = 1
        return {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.from_numpy(attention_mask),
            "labels": torch.from_numpy(self.labels[list(indices)]),
        }

    def training_batches(self, *, batch_tokens: int, seed: int) -> Callable[[int], Batch]:
        """The batch of a step, as a pure function of the step; examples of similar length go together."""
        plan = BatchPlan(self.lengths, batch_tokens=batch_tokens, seed=seed)
        return lambda step: self.batch(plan.at(step)[1].tolist())

    def steps(self, *, num_epochs: float, batch_tokens: int, seed: int) -> int:
        """Optimiser steps of so many passes over the examples, at least one."""
        plan = BatchPlan(self.lengths, batch_tokens=batch_tokens, seed=seed)
        return max(1, round(num_epochs * plan.first_epoch_steps))


@dataclass(frozen=True)
class EncodedTask:
    """Encoded examples of every split.

    Args:
        labels: Names, in the order of the classifier's outputs.
        splits: By split name: train, dev and test.
    """

    labels: tuple[str, ...]
    splits: dict[str, EncodedExamples]

    @property
    def truncated_share(self) -> float:
        """Share of all examples that lost tokens."""
        return sum(s.num_truncated for s in self.splits.values()) / sum(map(len, self.splits.values()))

    @property
    def fingerprint(self) -> str:
        """Hash of every id, label and label name: of texts and tokenizer at once."""
        digest = hashlib.sha256(repr(self.labels).encode())
        for split, examples in sorted(self.splits.items()):
            digest.update(f"{split} {len(examples)}".encode())
            digest.update(examples.lengths.tobytes() + examples.labels.tobytes())
            for ids in examples.input_ids:
                digest.update(ids.tobytes())
        return digest.hexdigest()


def label_names(examples: pd.DataFrame, *, task: str) -> tuple[str, ...]:
    """Names of the labels of a task, sorted, after checking that every split can be used.

    Args:
        examples: Columns ``split``, ``text``, ``text_pair``, ``label``.
        task: For errors.

    Raises:
        TaskError: If a column or a split is missing or empty, a text or label is missing, dev or test has a
            label that train has not, or train has fewer than two.
    """
    where = f"Change the catalog entry `{task}.examples`, or what makes it."
    missing = [name for name in ("split", "text", "text_pair", "label") if name not in examples.columns]
    if missing:
        raise TaskError(
            f"Task `{task}`: its examples have no column {', '.join(missing)}. Columns found: "
            f"{', '.join(map(str, examples.columns))}. {where}"
        )
    faults = []
    for column in ("split", "text", "label"):
        empty = examples.index[examples[column].isna()].tolist()
        if empty:
            faults.append(f"column `{column}` is empty in {len(empty)} rows (first: row {empty[0]})")
    found = {split: set(examples.loc[examples["split"] == split, "label"].dropna()) for split in SPLITS}
    faults += [f"split `{split}` has no example" for split in SPLITS if not found[split]]
    unknown_splits = sorted(set(examples["split"].dropna()) - set(SPLITS))
    if unknown_splits:
        faults.append(f"unknown split {', '.join(map(repr, unknown_splits))}; allowed: {', '.join(SPLITS)}")
    allowed = ", ".join(sorted(map(str, found["train"])))
    for split in ("dev", "test"):
        unknown = sorted(map(str, found[split] - found["train"]))
        if unknown and found["train"]:
            faults.append(f"split `{split}` has the label {', '.join(unknown)}, known from train: {allowed}")
    if len(found["train"]) == 1:
        faults.append(f"split `train` has one label only, {allowed}; two are needed to tell apart")
    if faults:
        raise TaskError(f"Task `{task}`: {'; '.join(faults)}. {where}")
    return tuple(sorted(found["train"]))


def encode_task(
    examples: pd.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    *,
    task: str,
    max_tokens: int,
    max_positions: int,
) -> EncodedTask:
    """Turn a table of examples into ids; of a pair that is too long the longer text loses tokens first.

    Args:
        examples: Columns ``split``, ``text``, ``text_pair`` (missing when single), ``label``.
        tokenizer: Of the encoder.
        task: For errors.
        max_tokens: Longest input, special tokens included.
        max_positions: Of the encoder.

    Raises:
        TaskError: See `label_names`.
        ConfigurationError: If the encoder has fewer positions than ``max_tokens``.
    """
    if max_tokens > max_positions:
        raise ConfigurationError(
            f"Task `{task}`: max_tokens is {max_tokens}, but the encoder has {max_positions} positions. Set "
            f"max_tokens under params:finetune.training to at most {max_positions}, or pretrain with more "
            "(max_positions under params:corpus)."
        )
    names = label_names(examples, task=task)
    by_split = {split: _encode(examples[examples["split"] == split], tokenizer, max_tokens, names) for split in SPLITS}
    return EncodedTask(names, by_split)


def _encode(
    rows: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, max_tokens: int, labels: tuple[str, ...]
) -> EncodedExamples:
    """One split. Encoded without a limit first, since the fast tokenizer does not tell what it cut."""
    pairs = [None if not isinstance(pair, str) else pair for pair in rows["text_pair"]]
    has_pairs = any(pair is not None for pair in pairs)
    texts = rows["text"].tolist(), *([[pair or "" for pair in pairs]] if has_pairs else [])
    options = {"add_special_tokens": True, "return_attention_mask": False, "return_token_type_ids": False}
    whole = tokenizer(*texts, truncation=False, verbose=False, **options)["input_ids"]
    cut = tokenizer(*texts, truncation="longest_first", max_length=max_tokens, **options)["input_ids"]
    index_of = {label: index for index, label in enumerate(labels)}
    return EncodedExamples(
        input_ids=[np.array(ids, dtype=np.int64) for ids in cut],
        labels=np.array([index_of[label] for label in rows["label"]], dtype=np.int64),
        pad_id=tokenizer.pad_token_id,
        num_truncated=sum(len(full) > len(short) for full, short in zip(whole, cut, strict=True)),
    )

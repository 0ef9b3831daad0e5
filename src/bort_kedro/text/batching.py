"""Which examples make which batch: a pure function of (lengths, seed, epoch), so a step number is a data position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Batches are cut from pools of this many times the batch's examples, sorted by length inside the pool.
POOL_BATCHES = 16


def plan_epoch(lengths: NDArray[np.integer], *, batch_tokens: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Shuffle the examples of one epoch and cut them into batches of similar length.

    Within a batch every example is padded to the longest, and that padded size stays within
    ``batch_tokens`` (one example that is longer makes a batch alone). Each example appears once.

    Args:
        lengths: (N,) tokens of each example.
        batch_tokens: Budget of a batch in padded tokens.
        seed: Of the run.
        epoch: Pass over the data, from 0.

    Returns:
        Arrays of example indices, in training order.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    pool = max(1, POOL_BATCHES * batch_tokens // max(1, int(np.mean(lengths))))
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), pool):
        members = order[start : start + pool]
        members = members[np.argsort(lengths[members], kind="stable")]
        batches += _cut(members, lengths[members], batch_tokens)
    return [batches[index] for index in generator.permutation(len(batches))]


def _cut(members: NDArray[np.int64], lengths: NDArray[np.integer], batch_tokens: int) -> list[NDArray[np.int64]]:
    """Cut examples sorted by rising length; the last one taken sets the padded length."""
    batches, start = [], 0
    for stop in range(1, len(members) + 1):
        is_full = stop == len(members) or (stop + 1 - start) * int(lengths[stop]) > batch_tokens
        if is_full:
            batches.append(members[start:stop])
            start = stop
    return batches


def padding_share(lengths: NDArray[np.integer], *, batch_tokens: int, seed: int) -> float:
    """Share of the positions of an epoch's batches that are padding; 0 for no examples.

    Args:
        lengths: (N,) tokens of each example.
        batch_tokens: Budget of a batch in padded tokens.
        seed: Of the plan, see `plan_epoch`.
    """
    if not len(lengths):
        return 0.0
    batches = plan_epoch(lengths, batch_tokens=batch_tokens, seed=seed, epoch=0)
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1.0 - int(lengths.sum()) / padded


class BatchPlan:
    """Batches by step number, over as many epochs as the steps need."""

    def __init__(self, lengths: NDArray[np.integer], *, batch_tokens: int, seed: int) -> None:
        self._lengths, self._batch_tokens, self._seed = lengths, batch_tokens, seed
        self._epoch_starts = [0]
        self._epoch, self._batches = 0, self._plan(0)

    def _plan(self, epoch: int) -> list[NDArray[np.int64]]:
        return plan_epoch(self._lengths, batch_tokens=self._batch_tokens, seed=self._seed, epoch=epoch)

    @property
    def first_epoch_steps(self) -> int:
        """Steps that see every example once."""
        return len(self._batches) if self._epoch == 0 else self._epoch_starts[1]

    def at(self, step: int) -> tuple[int, NDArray[np.int64]]:
        """``(epoch, example indices)`` of a step, counted from 0."""
        while step < self._epoch_starts[self._epoch]:
            self._epoch -= 1
            self._batches = self._plan(self._epoch)
        while step >= self._epoch_starts[self._epoch] + len(self._batches):
            if len(self._epoch_starts) == self._epoch + 1:
                self._epoch_starts.append(self._epoch_starts[self._epoch] + len(self._batches))
            self._epoch += 1
            self._batches = self._plan(self._epoch)
        return self._epoch, self._batches[step - self._epoch_starts[self._epoch]]


def query_slots(
    predicted: NDArray[np.int64], num_rows: int, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where predicted positions stand when every row asks with as many queries, as attention wants it.

    Args:
        predicted: (N,) flat positions, row * length + column.
        num_rows: B.
        length: L.

    Returns:
        (N,) the slot of each predicted position among B * P, P the largest number in a row (at least 1); and (B * P,)
        the flat position that each slot asks from, that of the row's first token where a slot is not used.
    """
    row = predicted // length
    counts = np.bincount(row, minlength=num_rows)
    per_row = max(1, int(counts.max(initial=0)))
    by_row = row.argsort(kind="stable")
    slots = np.empty_like(predicted)
    slots[by_row] = row[by_row] * per_row + np.arange(len(row)) - (np.cumsum(counts) - counts)[row[by_row]]
    positions = np.repeat(np.arange(num_rows) * length, per_row)
    positions[slots] = predicted
    return slots, positions

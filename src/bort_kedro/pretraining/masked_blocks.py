"""Batches of masked token blocks: pure functions of (seed, epoch, block), so that a step number is a data position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bort_kedro.errors import CorpusError
from bort_kedro.pretraining.masking import IGNORED, Masking
from bort_kedro.text.batching import BatchPlan, query_slots
from bort_kedro.text.tokens import TokenBlocks, Vocabulary

Batch = dict[str, Tensor]
Batches = Callable[..., Batch]


class Targets(Protocol):
    """What a teacher said of the predicted positions, kept from before."""

    def lookup(self, indices: Sequence[int], *, epoch: int) -> dict[str, Tensor]:
        """Tensors with one row for each predicted position of these blocks, in the order of ``predicted``."""


@dataclass(frozen=True)
class MaskedBlocks:
    """Blocks of one split, masked afresh each epoch from (seed, epoch, block).

    Args:
        blocks: The split.
        vocabulary: Of the tokenizer that made its ids.
        seed: Of masks and of the order of training, below 2**32.
        masked_share: Of the ordinary tokens of a block that are predicted, in (0, 1].
        whole_words: Hide the tokens of a word together.
        mask_epochs: Epochs after which the masks repeat, so that a teacher's answers can be kept; None never repeats.
        word_starts: (V,) True for ids that begin a word; needed to hide whole words.
        numbers: (N,) of the blocks in a longer stream, by which they are masked; None counts them.
        num_reconstructed: Tokens of a block that its first one has to tell, see `masked_lm.masked_lm_objective`.

    Raises:
        CorpusError: If whole words are asked for and ``word_starts`` is None.
    """

    blocks: TokenBlocks
    vocabulary: Vocabulary
    seed: int
    masked_share: float
    whole_words: bool = False
    mask_epochs: int | None = None
    word_starts: NDArray[np.bool_] | None = None
    numbers: NDArray[np.int64] | None = None
    num_reconstructed: int = 0

    def __post_init__(self) -> None:
        if self.whole_words and self.word_starts is None:
            raise CorpusError(
                "Whole words cannot be hidden: `tokens` was stored without the ids that begin a word. Run `kedro run "
                "--pipelines corpus` to make it again, or set whole_word_masking to false."
            )

    @cached_property
    def masking(self) -> Masking:
        """How the tokens of these blocks are hidden; the tables over the vocabulary are made once."""
        return Masking(
            seed=self.seed,
            mask_id=self.vocabulary.mask_id,
            is_ordinary=self.vocabulary.is_ordinary,
            share=self.masked_share,
            word_starts=np.asarray(self.word_starts) if self.whole_words else None,
            num_reconstructed=self.num_reconstructed,
        )

    def batch(self, indices: Sequence[int] | NDArray[np.int64], *, epoch: int) -> Batch:
        """The blocks of these indices under the masks of an epoch, padded to the longest.

        Returns:
            ``input_ids`` (B, L) int64; ``predicted`` (N,) int64, row * L + column of the predicted tokens, rising, and
            ``targets`` (N,) int64, their true ids; ``query_slots`` and ``query_positions``, see
            `text.batching.query_slots`; ``weight``, a float32 scalar, N. For joined documents also ``document_ids``
            (B, L) int64, counted from 1 in each row, 0 for padding; else, where a row is padded, ``attention_mask``
            (B, L) int64. A batch without padding has none: an encoder that looked for it would wait for its device.
            Where tokens are reconstructed also ``reconstructed`` (M,) int64, their flat positions, and
            ``reconstructed_targets`` (M,) int64, their true ids. The first tokens of all rows then have slots too,
            behind those of the predicted ones, and ``weight`` is N + M.
        """
        indices = np.asarray(indices, dtype=np.int64)
        rows, is_token = self._padded(indices)
        input_ids, labels, reconstructed = self.masking.hide(
            rows,
            epoch=epoch if self.mask_epochs is None else epoch % self.mask_epochs,
            blocks=(indices if self.numbers is None else self.numbers[indices]).tolist(),
        )
        predicted = np.flatnonzero(labels != IGNORED)
        # A start token is special, so it is never hidden and no other takes its place.
        documents = np.cumsum(rows == self.vocabulary.start_id, axis=1) * is_token if self.blocks.joined else None
        if documents is not None:
            # The first token attends to the first document alone.
            reconstructed = reconstructed[documents.ravel()[reconstructed] == 1]
        arrays = {
            "input_ids": input_ids,
            "predicted": predicted,
            "targets": labels.ravel()[predicted],
            "weight": np.float32(len(predicted) + len(reconstructed)),
        }
        asked = predicted
        if self.num_reconstructed:
            asked = np.concatenate([predicted, np.arange(len(rows)) * rows.shape[1]])
            arrays |= {"reconstructed": reconstructed, "reconstructed_targets": rows.ravel()[reconstructed]}
        arrays["query_slots"], arrays["query_positions"] = query_slots(asked, *input_ids.shape)
        if documents is not None:
            arrays["document_ids"] = documents
        elif not is_token.all():
            arrays["attention_mask"] = is_token.astype(np.int64)
        return {name: torch.as_tensor(array) for name, array in arrays.items()}

    def _padded(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """(B, L) ids, and where they are no padding."""
        # As plain arrays: cutting a memory-mapped one costs more than copying the few ids.
        ids, offsets = np.asarray(self.blocks.ids), np.asarray(self.blocks.offsets)
        starts = offsets[indices]
        lengths = offsets[indices + 1] - starts
        rows = np.full((len(indices), int(lengths.max())), self.vocabulary.pad_id, dtype=np.int64)
        is_token = np.arange(rows.shape[1]) < lengths[:, None]
        for row, start, length in zip(rows, starts.tolist(), lengths.tolist(), strict=True):
            row[:length] = ids[start : start + length]
        return rows, is_token

    def part(
        self, whole: NDArray[np.int64], part: int, num_parts: int, *, epoch: int, targets: Targets | None = None
    ) -> Batch:
        """Rows part::num_parts of the batch of all these blocks.

        A part without a predicted position, having no row or none with an ordinary token, is the first row that has
        one, with ``weight`` 0: a mean over nothing is no number, even times zero.
        """
        indices = whole[part::num_parts]
        batch = self.batch(indices, epoch=epoch) if len(indices) else {}
        is_empty = not len(batch.get("predicted", ()))
        if is_empty:
            batches = ((row, self.batch(row, epoch=epoch)) for row in whole[:, None])
            indices, batch = next(((row, found) for row, found in batches if len(found["predicted"])), (indices, batch))
        if targets is not None:
            batch |= targets.lookup(indices.tolist(), epoch=epoch)
        if is_empty:
            batch["weight"] = torch.tensor(0.0)
        return batch

    def training_batches(self, *, batch_tokens: int, targets: Targets | None = None) -> Batches:
        """The batch of a step, as a pure function of the step and of the part of it that is asked for.

        Args:
            batch_tokens: Padded tokens of a step at most.
            targets: Adds its entries to each batch.

        Returns:
            ``batch_at(step, part=0, num_parts=1)``: part p of n is rows p::n of the step's batch. A part that would
            be empty repeats the first row with ``weight`` 0.
        """
        plan = BatchPlan(self.blocks.lengths, batch_tokens=batch_tokens, seed=self.seed)

        def batch_at(step: int, part: int = 0, num_parts: int = 1) -> Batch:
            epoch, whole = plan.at(step)
            return self.part(whole, part, num_parts, epoch=epoch, targets=targets)

        return batch_at

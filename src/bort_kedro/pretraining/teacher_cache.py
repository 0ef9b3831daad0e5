"""Ask a teacher once about every predicted position of a corpus, and look its answers up afterwards."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bort_kedro.errors import ConfigurationError, StorageError, TrainingError
from bort_kedro.pretraining.masked_blocks import Batch, MaskedBlocks
from bort_kedro.pretraining.teacher_targets import (
    TargetChunk,
    TargetStore,
    bytes_per_position,
    pack_targets,
    top_targets,
    unpack_targets,
)
from bort_kedro.progress import track
from bort_kedro.text.batching import plan_epoch

LOGGER = logging.getLogger(__name__)
# Blocks of a chunk: what an interruption loses at most, some 10 MB at 128 tokens a block and 64 ids a position.
CHUNK_BLOCKS = 2048
# Blocks whose masks are drawn to forecast the size; a corpus of no more is counted exactly.
SAMPLE_BLOCKS = 2048
# At most, beside its positions: the names and sizes of a file's arrays, and the offset of each block.
HEADER_BYTES = 512
OFFSET_BYTES = 8

Chunk = tuple[int, int]  # epoch, first block


@dataclass(frozen=True)
class CachedTargets:
    """What a teacher said of the predicted positions; implements `masked_blocks.Targets`.

    Args:
        store: Whole, as `fill_cache` leaves it.
        num_epochs: Epochs after which the masks repeat.
    """

    store: TargetStore
    num_epochs: int

    def lookup(self, indices: Sequence[int], *, epoch: int) -> dict[str, Tensor]:
        """The teacher's answers to the blocks of a batch, in the order of its ``predicted``.

        Args:
            indices: Of the blocks, as given to `MaskedBlocks.batch`.
            epoch: Likewise.

        Returns:
            ``teacher_ids`` (N, k) int64, ``teacher_log_probabilities`` (N, k) float32 and ``teacher_log_tail`` (N,)
            float32, see `pretraining.teacher_targets.TeacherTargets`.

        Raises:
            StorageError: If a chunk has been removed or damaged since the cache was filled.
        """
        blocks = [self._block(int(index), epoch % self.num_epochs) for index in indices]
        targets = unpack_targets(*(np.concatenate(arrays) for arrays in zip(*blocks, strict=True)))
        return {
            "teacher_ids": targets.ids,
            "teacher_log_probabilities": targets.log_probabilities,
            "teacher_log_tail": targets.log_tail,
        }

    def _block(self, index: int, epoch: int) -> tuple[NDArray, NDArray, NDArray]:
        place = index % CHUNK_BLOCKS
        chunk = self.store.read(epoch, index - place)
        if chunk is None:
            raise StorageError(
                f"The teacher cache has lost the chunk of epoch {epoch} that begins with block {index - place}: its "
                "file was removed or damaged while a training was reading it. Run the same command again; what is "
                "missing is computed anew."
            )
        rows = slice(*chunk.offsets[place : place + 2])
        return chunk.ids[rows], chunk.log_ratios[rows], chunk.log_tail[rows]


def fill_cache(
    store: TargetStore,
    data: MaskedBlocks,
    teacher_logits: Callable[[Batch], Tensor],
    *,
    num_epochs: int,
    temperature: float,
    top_k: int,
    vocabulary_size: int,
    batch_tokens: int,
    description: str,
) -> CachedTargets:
    """Compute the chunks that are missing, and give the whole cache to read from.

    Chunks that are there are kept, so a call that was killed is gone on with. Where accelerate started several
    processes they share the chunks, the first one writes, and all read; the store must be on a disk that all see.

    Args:
        store: Of this teacher, these masks, this temperature and k.
        data: The blocks; its masks must repeat after ``num_epochs``.
        teacher_logits: (N, V) logits at the predicted positions of a batch, which is given on the CPU; called in
            inference mode.
        num_epochs: Epochs of masks to be computed.
        temperature: At which the student will learn.
        top_k: k, ids kept of each position.
        vocabulary_size: V.
        batch_tokens: Padded tokens of a pass of the teacher; changes speed, not results.
        description: For the progress bar; empty for silence.

    Raises:
        ConfigurationError: If k is not within 1 to V.
        StorageError: If the cache will not fit, before anything is computed.
        TrainingError: If the teacher gives logits that are not numbers.
        ValueError: If the masks repeat after another number of epochs.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list, gather_object, parse_flag_from_env

    _require_fitting(data, num_epochs, top_k, vocabulary_size)
    # As the loop's own start of accelerate would have it, since whoever comes first decides.
    processes = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    chunks = [(epoch, first) for epoch in range(num_epochs) for first in range(0, len(data.blocks), CHUNK_BLOCKS)]
    # One process decides, so that all agree even while files come and go.
    missing: list[Chunk]
    found = [chunk for chunk in chunks if store.missing(*chunk)] if processes.is_main_process else []
    (missing,) = broadcast_object_list([found])
    if missing:
        forecast = _forecast(data, chunks, missing, top_k, vocabulary_size)
        if processes.is_main_process:
            LOGGER.info("%s", forecast)
        store.require_room(forecast.missing_bytes)
    rounds = range(0, len(missing), processes.num_processes)
    total = -(-len(chunks) // processes.num_processes)
    shown = description if processes.is_main_process else ""
    for start in track(rounds, shown, total=total, start=total - len(rounds)):
        mine = missing[start : start + processes.num_processes][processes.process_index :][:1]
        computed = [
            (chunk, _compute(chunk, data, teacher_logits, temperature, top_k, vocabulary_size, batch_tokens))
            for chunk in mine
        ]
        for (epoch, first), targets in gather_object(computed):
            _require_numbers(targets, epoch, first)
            if processes.is_main_process:
                store.write(epoch, first, targets)
    processes.wait_for_everyone()
    return CachedTargets(store, num_epochs)


def _compute(
    chunk: Chunk,
    data: MaskedBlocks,
    teacher_logits: Callable[[Batch], Tensor],
    temperature: float,
    top_k: int,
    vocabulary_size: int,
    batch_tokens: int,
) -> TargetChunk:
    """Ask the teacher about the blocks of a chunk, in batches of similar length, and put them back in order."""
    epoch, first = chunk
    lengths = data.blocks.lengths[first : first + CHUNK_BLOCKS]
    parts: dict[int, tuple[NDArray, ...]] = {}
    for members in plan_epoch(lengths, batch_tokens=batch_tokens, seed=0, epoch=0):
        batch = data.batch((members + first).tolist(), epoch=epoch)
        with torch.inference_mode():
            targets = top_targets(teacher_logits(batch), temperature=temperature, top_k=top_k)
        packed = pack_targets(targets, vocabulary_size=vocabulary_size)
        rows = batch["predicted"].numpy() // batch["input_ids"].shape[1]
        bounds = np.searchsorted(rows, np.arange(1, len(members)))
        pieces = zip(*(np.split(array, bounds) for array in packed), strict=True)
        parts |= dict(zip(members.tolist(), pieces, strict=True))
    in_order = [parts[member] for member in range(len(lengths))]
    ids, log_ratios, log_tail = (np.concatenate(arrays) for arrays in zip(*in_order, strict=True))
    offsets = np.cumsum([0, *(len(piece[0]) for piece in in_order)], dtype=np.int64)
    return TargetChunk(ids, log_ratios, log_tail, offsets)


@dataclass(frozen=True)
class _Forecast:
    """What the cache will take on the disk, in words and figures."""

    positions: int
    position_bytes: int
    whole_bytes: int
    missing_bytes: int

    def __str__(self) -> str:
        there = self.whole_bytes - self.missing_bytes
        return (
            f"The teacher cache will take {_in_words(self.whole_bytes)}: {self.positions} predicted positions of "
            f"{self.position_bytes} bytes each" + (f"; {_in_words(there)} are there already." if there else ".")
        )


def _forecast(
    data: MaskedBlocks, chunks: Sequence[Chunk], missing: Sequence[Chunk], top_k: int, vocabulary_size: int
) -> _Forecast:
    """Positions are counted on a sample, spread evenly over the blocks, and scaled up by tokens."""
    num_blocks = len(data.blocks)
    sample = np.unique(np.linspace(0, num_blocks - 1, min(num_blocks, SAMPLE_BLOCKS)).round().astype(np.int64))
    rate = len(data.batch(sample.tolist(), epoch=0)["predicted"]) / int(data.blocks.lengths[sample].sum())
    position_bytes = bytes_per_position(top_k, vocabulary_size)

    def size(of: Sequence[Chunk]) -> tuple[int, int]:
        """Positions and bytes of some chunks."""
        bounds = [(first, min(first + CHUNK_BLOCKS, num_blocks)) for _, first in of]
        tokens = sum(int(data.blocks.offsets[stop] - data.blocks.offsets[first]) for first, stop in bounds)
        positions = math.ceil(rate * tokens)
        offsets = sum(stop - first + 1 for first, stop in bounds)
        return positions, positions * position_bytes + offsets * OFFSET_BYTES + len(of) * HEADER_BYTES

    positions, whole_bytes = size(chunks)
    return _Forecast(positions, position_bytes, whole_bytes, size(missing)[1])


def _in_words(num_bytes: int) -> str:
    return f"{num_bytes / 10**9:.1f} GB" if num_bytes >= 10**9 else f"{num_bytes / 10**6:.1f} MB"


def _require_fitting(data: MaskedBlocks, num_epochs: int, top_k: int, vocabulary_size: int) -> None:
    if data.mask_epochs != num_epochs:
        raise ValueError(
            f"the masks repeat after {data.mask_epochs} epochs and the cache after {num_epochs}: it would answer about "
            "other positions"
        )
    if not 1 <= top_k <= vocabulary_size:
        raise ConfigurationError(
            f"params:pretrain_distill.teacher_cache.top_k is {top_k}, allowed are 1 to {vocabulary_size}, the size of "
            "the student's vocabulary. Change it there."
        )


def _require_numbers(targets: TargetChunk, epoch: int, first_block: int) -> None:
    # Any logit that is infinite or not a number spoils all of its position, the likeliest id included.
    if np.isnan(targets.log_ratios[:, 0]).any():
        raise TrainingError(
            f"The teacher's logits are not finite numbers for some of blocks {first_block} to "
            f"{first_block + len(targets.offsets) - 2} of epoch {epoch}; the chunks before are kept. Set "
            "mixed_precision to `no` or `bf16` in params:pretrain_distill.student.optimization, then run the same "
            "command again."
        )

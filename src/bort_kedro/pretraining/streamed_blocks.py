"""Batches of masked token blocks from text that is read while training goes on, for a corpus that no disk holds.

The text is dealt to a number of readers that is one of the parameters, and not to processes: a step takes so many
blocks of each reader, whoever asks. A process reads and tokenises only the text of the readers whose blocks it has.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from bort_kedro.errors import CheckpointError
from bort_kedro.frozen import JsonObject
from bort_kedro.pretraining.masked_blocks import Batch, MaskedBlocks
from bort_kedro.pretraining.stream_reader import Dealing, Position, StreamReader, TextStream
from bort_kedro.text.settings import Packing
from bort_kedro.text.tokenization import DocumentEncoder
from bort_kedro.text.tokens import TokenBlocks, Vocabulary, starts_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PreTrainedTokenizerFast

# Masks are drawn from 32 bits of a block's number; 2**32 blocks are more than any training sees.
MASK_NUMBERS = 2**32


@dataclass
class StreamedBlocks:
    """Batches by step from a stream that starts again, under other masks and in another order, whenever it ends.

    What is promised: the batch of a step depends on the arguments below alone, never on how many processes or parts
    divide it, nor on interruptions. Each document of a pass is in the batches of one reader and once, but for what
    ``full`` packing leaves out: less than a block at the end of a reader's window. Readers may be in different passes,
    see `stream_reader.Dealing`. Row j of a step is of reader ``j % num_readers``, and part p of n is the rows p::n. So
    where the number of processes divides that of readers each process reads its own text; where it does not, processes
    share readers, each of them reads that text for itself, and the batches are the same.
    After a restore no shard is opened but those at hand, and of these what comes before is read again.

    Steps are asked for in rising order. Travels to another process as it was made, without what it has read.

    Args:
        stream: The text.
        tokenizer: Fast, the one of the vocabulary.
        vocabulary: Of the tokenizer.
        sequence_length: Tokens of a block at most, special tokens included.
        held_out_texts: `text_digests` of texts that are never trained on.
        seed: Of masks and orders, below 2**32.
        masked_share: Of the ordinary tokens of a block that are predicted, in (0, 1].
        whole_words: Hide the tokens of a word together.
        word_starts: (V,) True for ids that begin a word; needed to hide whole words.
        batch_tokens: Padded tokens of a step at most: a step has as many blocks as fit at their longest, at least one.
        num_readers: Who share the text; fewer where a step has fewer blocks.
        shuffle_blocks: Held to be shuffled, of all readers together.
        packing: See `text.settings.CorpusSettings`; with ``full`` a step has no padding.
        num_reconstructed: See `MaskedBlocks`.
    """

    stream: TextStream
    tokenizer: PreTrainedTokenizerFast
    vocabulary: Vocabulary
    sequence_length: int
    held_out_texts: frozenset[bytes]
    seed: int
    masked_share: float
    whole_words: bool
    word_starts: NDArray[np.bool_] | None
    batch_tokens: int
    num_readers: int
    shuffle_blocks: int
    packing: Packing = "documents"
    num_reconstructed: int = 0

    def __post_init__(self) -> None:
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="text-stream")
        self._readers: dict[int, StreamReader] = {}
        self._restored: dict[int, Position] = {}
        self.num_rows = max(1, self.batch_tokens // self.sequence_length)
        self.num_dealt = min(self.num_readers, self.num_rows)

    def __getstate__(self) -> dict[str, object]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @cached_property
    def _encoder(self) -> DocumentEncoder:
        return DocumentEncoder(self.tokenizer, sequence_length=self.sequence_length, packing=self.packing)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that the batches depend on."""
        parts = {
            "stream": self.stream.fingerprint,
            "vocabulary": self.vocabulary.fingerprint,
            "sequence_length": self.sequence_length,
            "held_out_texts": sorted(digest.hex() for digest in self.held_out_texts),
            "seed": self.seed,
            "masked_share": self.masked_share,
            "whole_words": self.whole_words,
            "batch_tokens": self.batch_tokens,
            "num_readers": self.num_readers,
            "shuffle_blocks": self.shuffle_blocks,
            "packing": self.packing,
            **({"num_reconstructed": self.num_reconstructed} if self.num_reconstructed else {}),
        }
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def batch_at(self, step: int, part: int = 0, num_parts: int = 1) -> Batch:
        """The batch of a step, or rows part::num_parts of it, as `MaskedBlocks.part` gives it.

        A part that predicts nothing has another block of its reader in its place, with ``weight`` 0.

        Raises:
            TrainingError: If the step lies before the windows that have been reached.
            CorpusError: If the stream cannot be read, or holds nothing to train on.
        """
        with self._lock:
            rows = [self._block(step, row) for row in range(part, self.num_rows, num_parts)]
            batch = self._masked(rows) if rows else {}
            if not len(batch.get("predicted", ())):
                spare = part % self.num_dealt
                around = (self._block(step, spare, later) for later in range(self.shuffle_blocks))
                batches = (self._masked([block]) for block in around)
                batch = next((found for found in batches if len(found["predicted"])), batch)
                batch["weight"] = torch.tensor(0.0)
        return batch

    __call__ = batch_at

    def state(self, step: int) -> JsonObject:
        """Where the readers of this process stand at a step, in JSON's types; the step may be the next one.

        The states of all processes, put into one dictionary, are that of the training.

        Raises:
            TrainingError: If the step lies far before the windows that have been reached.
        """
        with self._lock:
            positions = {
                str(number): asdict(reader.position(self._place(step, number)))
                for number, reader in self._readers.items()
            }
        return positions | {"fingerprint": self.fingerprint}

    def restore(self, state: JsonObject) -> None:
        """Read on from the windows that a state names.

        Raises:
            CheckpointError: If the state is of another text, or of other batches of it.
        """
        found = state.get("fingerprint")
        if found != self.fingerprint:
            raise CheckpointError(
                f"Saved position in the text stream: it belongs to the stream {found}, and this one is "
                f"{self.fingerprint}: the text, the tokenizer, the documents held out or a parameter of the batches "
                "has changed. Put back what was changed (for the hub, name the earlier commit as `revision` in the "
                "catalog entry `text_stream`), or remove the folder of the training's states to train anew."
            )
        with self._lock:
            self._restored = {
                int(number): Position(**position) for number, position in state.items() if number != "fingerprint"
            }
            for reader in self._readers.values():
                reader.go_to(Position())  # ends what it reads
            self._readers.clear()

    def _rows_of(self, number: int) -> int:
        """Blocks of a step that are of a reader."""
        return len(range(number, self.num_rows, self.num_dealt))

    def _place(self, step: int, number: int) -> int:
        """In a reader's row, that of its first block of a step."""
        return step * self._rows_of(number)

    def _block(self, step: int, row: int, later: int = 0) -> tuple[int, NDArray[np.integer]]:
        """``(number, ids)`` of a row's block, or of one that comes later in its reader's row."""
        place, number = divmod(row, self.num_dealt)
        block, ids = self._reader(number).block(self._place(step, number) + place + later)
        return (block * self.num_dealt + number) % MASK_NUMBERS, ids

    def _reader(self, number: int) -> StreamReader:
        if number not in self._readers:
            reader = StreamReader(
                number,
                Dealing(self.stream.num_shards, self.num_dealt, self.seed),
                self.stream,
                self._encoder,
                held_out=self.held_out_texts,
                window_blocks=-(-self.shuffle_blocks // self.num_dealt),
                thread=self._thread,
            )
            reader.go_to(self._restored.get(number, Position()))
            self._readers[number] = reader
        return self._readers[number]

    def _masked(self, blocks: Iterable[tuple[int, NDArray[np.integer]]]) -> Batch:
        numbers, rows = zip(*blocks, strict=True)
        offsets = starts_of(np.array([len(row) for row in rows], dtype=np.int64))
        data = MaskedBlocks(
            TokenBlocks(np.concatenate(rows), offsets, joined=self.packing == "joined"),
            self.vocabulary,
            self.seed,
            self.masked_share,
            whole_words=self.whole_words,
            word_starts=self.word_starts,
            numbers=np.array(numbers, dtype=np.int64),
            num_reconstructed=self.num_reconstructed,
        )
        return data.batch(np.arange(len(rows)), epoch=0)

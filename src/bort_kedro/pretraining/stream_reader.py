"""One reader of a text stream: its own part of the text as an endless row of token blocks, shuffled in windows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bort_kedro.errors import CorpusError, TrainingError
from bort_kedro.text.tokenization import DocumentEncoder, text_digests
from bort_kedro.text.tokens import TokenBlocks, starts_of

# Beginnings of windows that are remembered: blocks may be asked for some steps ahead of the state.
REMEMBERED_WINDOWS = 64
# A step may take its blocks from two.
WINDOWS_HELD = 2


class TextStream(Protocol):
    """Text in shards that are read one by one, such as `datasets.text_streams` gives."""

    @property
    def fingerprint(self) -> str:
        """Hash of what is read, and of its revision."""

    @property
    def num_shards(self) -> int:
        """Of the whole."""

    def texts(self, shard: int, skip: int) -> Iterator[str]:
        """Of a shard's documents from the ``skip``-th on."""


@dataclass(frozen=True)
class Slice:
    """The documents ``first::stride`` of a shard."""

    shard: int
    first: int = 0
    stride: int = 1


@dataclass(frozen=True)
class Dealing:
    """Which reader reads what, and when.

    In each pass the slices stand in another random order; the passes, one after another, are dealt to the readers by
    turns. So a slice has one reader in each pass. A reader that comes to shorter ones is ahead of the others, by a
    pass where that adds up. A slice is a shard; where there are fewer shards than readers, each is read by several,
    and each of these tokenises its share of the documents.

    Args:
        num_shards: Of the stream.
        num_readers: Who share it.
        seed: Of the orders.
    """

    num_shards: int
    num_readers: int
    seed: int

    @property
    def slices_of_a_shard(self) -> int:
        """One where there are as many shards as readers."""
        return -(-self.num_readers // self.num_shards)

    @property
    def num_slices(self) -> int:
        """Of the whole stream."""
        return self.num_shards * self.slices_of_a_shard

    def at(self, reader: int, turn: int) -> Slice:
        """What a reader reads in one of its turns, counted from 0."""
        epoch, place = divmod(turn * self.num_readers + reader, self.num_slices)
        first, shard = divmod(int(_order(self.num_slices, self.seed, epoch)[place]), self.num_shards)
        return Slice(shard, first, self.slices_of_a_shard)


@lru_cache(maxsize=16)
def _order(size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(size)


@dataclass(frozen=True)
class Position:
    """Where a window of a reader begins.

    Args:
        turn: Slices that the reader has done with.
        documents: Documents of the next one that come before it, those held out among them.
        first_block: The reader's blocks that come before it, over all its turns.
    """

    turn: int = 0
    documents: int = 0
    first_block: int = 0


@dataclass(frozen=True)
class Window:
    """A window that has been read.

    Args:
        start: Where it begins.
        end: Where the next one begins.
        blocks: In the order of the text.
        order: (N,) their places in training.
    """

    start: Position
    end: Position
    blocks: TokenBlocks
    order: NDArray[np.int64]


class StreamReader:
    """An endless row of blocks, which is read forward; a thread reads the next window meanwhile.

    Args:
        number: Of the reader, from 0.
        dealing: What it reads.
        stream: The text.
        encoder: Cuts documents into blocks.
        held_out: `text_digests` of texts that are left out.
        window_blocks: A window ends with the documents that bring it to so many blocks.
        thread: Reads ahead.
    """

    def __init__(
        self,
        number: int,
        dealing: Dealing,
        stream: TextStream,
        encoder: DocumentEncoder,
        *,
        held_out: frozenset[bytes],
        window_blocks: int,
        thread: ThreadPoolExecutor,
    ) -> None:
        self._number, self._dealing, self._stream, self._encoder = number, dealing, stream, encoder
        self._held_out, self._window_blocks, self._thread = held_out, window_blocks, thread
        self._coming: Future[Window] | None = None
        self.go_to(Position())

    def go_to(self, position: Position) -> None:
        """Read on from where a window begins."""
        if self._coming is not None and not self._coming.cancel():
            wait([self._coming])
        self._windows: deque[Window] = deque(maxlen=WINDOWS_HELD)
        self._starts: deque[Position] = deque([position], maxlen=REMEMBERED_WINDOWS)
        self._coming = None
        # What is left of the slice at hand, and whether it has held nothing until now.
        self._texts: Iterator[str] | None = None
        self._is_void = False
        self._void: set[Slice] = set()

    def block(self, place: int) -> tuple[int, NDArray[np.integer]]:
        """``(number, ids)`` of the block at a place of the row; numbers follow the text and no two blocks share one.

        Raises:
            TrainingError: If the place lies before the windows that are held.
            CorpusError: If the stream cannot be read, or holds nothing to train on.
        """
        while place >= self._starts[-1].first_block:
            coming = self._coming or self._thread.submit(self._read, self._starts[-1])
            self._coming = None
            window = coming.result()
            self._windows.append(window)
            self._starts.append(window.end)
            self._coming = self._thread.submit(self._read, window.end)
        for window in reversed(self._windows):
            if place >= window.start.first_block:
                block = int(window.order[place - window.start.first_block])
                return window.start.first_block + block, window.blocks[block]
        raise self._is_past(place, self._windows[0].start if self._windows else self._starts[0])

    def position(self, place: int) -> Position:
        """Where to read on from for the block at a place.

        Raises:
            TrainingError: If it lies far before what has been read.
        """
        before = [start for start in self._starts if start.first_block <= place]
        if not before:
            raise self._is_past(place, self._starts[0])
        return before[-1]

    def _is_past(self, place: int, reached: Position) -> TrainingError:
        return TrainingError(
            f"Text stream: block {place} of reader {self._number} was asked for, but the text is read forward only and "
            f"has come to the window that begins at block {reached.first_block}. Ask for steps in rising order, or "
            "restore the state of that step."
        )

    def _read(self, start: Position) -> Window:
        turn, documents = start.turn, start.documents
        parts: list[TokenBlocks] = [self._encoder.blocks([])]
        num_blocks = num_tokens = 0
        while self._encoder.num_arranged(num_blocks, num_tokens) < self._window_blocks:
            texts, num_read = self._next_texts(turn, documents)
            documents += num_read
            if texts:
                parts.append(self._encoder.blocks(texts))
                num_tokens += len(parts[-1].ids)
                num_blocks += len(parts[-1])
                self._is_void &= not len(parts[-1])
            if not num_read:
                self._end_slice(turn)
                turn, documents = turn + 1, 0
        ids = np.concatenate([part.ids for part in parts])
        blocks = self._encoder.arrange(TokenBlocks(ids, starts_of(np.concatenate([part.lengths for part in parts]))))
        if self._encoder.packing == "full" and blocks.lengths[-1] < self._encoder.sequence_length:
            blocks = TokenBlocks(blocks.ids[: blocks.offsets[-2]], blocks.offsets[:-1])
        end = Position(turn, documents, start.first_block + len(blocks))
        shuffled = np.random.default_rng([self._dealing.seed, self._number, start.first_block])
        return Window(start, end, blocks, shuffled.permutation(len(blocks)))

    def _next_texts(self, turn: int, documents: int) -> tuple[list[str], int]:
        """Training texts for one call of the tokenizer, a fraction of a window, and how many documents were read."""
        if self._texts is None:
            of = self._dealing.at(self._number, turn)
            left = self._stream.texts(of.shard, of.first + of.stride * documents)
            self._texts, self._is_void = islice(left, None, None, of.stride), documents == 0
        texts: list[str] = []
        num_read = num_characters = 0
        characters = self._window_blocks * self._encoder.sequence_length
        for text in self._texts:
            num_read += 1
            if not (text_digests([text]) & self._held_out):
                texts.append(text)
                num_characters += len(text)
            if len(texts) == self._window_blocks or num_characters >= characters:
                break
        return texts, num_read

    def _end_slice(self, turn: int) -> None:
        self._texts = None
        if not self._is_void:
            self._void.clear()
            return
        self._void.add(self._dealing.at(self._number, turn))
        if len(self._void) == self._dealing.num_slices:
            raise CorpusError(
                "The text stream holds nothing to train on: every document in it is empty or held out. Change the "
                "catalog entry `text_stream`."
            )

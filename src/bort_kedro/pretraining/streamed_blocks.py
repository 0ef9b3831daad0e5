"""Batches of masked token blocks from text that is read while training goes on, for a corpus that no disk holds.

The text is read in windows of some thousand blocks. Inside a window blocks are shuffled and batched as a stored
split is within an epoch; a thread reads the next window meanwhile, so that memory holds two. All that a batch depends
on is where its window begins, which is what a state keeps.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from bort_kedro.errors import CheckpointError, CorpusError, TrainingError
from bort_kedro.frozen import JsonObject
from bort_kedro.pretraining.masked_blocks import Batch, MaskedBlocks
from bort_kedro.text.batching import plan_epoch
from bort_kedro.text.tokenization import DocumentEncoder
from bort_kedro.text.tokens import TokenBlocks, Vocabulary, join_blocks, starts_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Beginnings of windows that are remembered: batches may be asked for some steps ahead of the state.
REMEMBERED_WINDOWS = 64


class TextStream(Protocol):
    """Text in a fixed order, such as `datasets.text_streams` gives."""

    @property
    def fingerprint(self) -> str:
        """Hash of what is read, and of its revision."""

    def documents(self, skip: int) -> Iterator[tuple[str, str]]:
        """``(document_id, text)`` from the ``skip``-th document on."""


@dataclass(frozen=True)
class Position:
    """Where a window begins.

    Args:
        window: Its number, counted from 0 over all passes.
        epoch: The pass over the stream, from 0.
        documents: Documents of the pass that come before it, those held out among them.
        first_block: Blocks of the pass that come before it.
        first_step: Steps that come before it, counted over all passes.
    """

    window: int = 0
    epoch: int = 0
    documents: int = 0
    first_block: int = 0
    first_step: int = 0


@dataclass(frozen=True)
class Window:
    """A window that has been read.

    Args:
        start: Where it begins.
        end: Where the next one begins, unless the pass ends there.
        data: Its blocks and their masks.
        batches: Indices of the blocks of each step.
    """

    start: Position
    end: Position
    data: MaskedBlocks
    batches: list[NDArray[np.int64]]


def text_digests(texts: Iterable[str]) -> frozenset[bytes]:
    """What tells texts apart, surrounding white space aside, in 16 bytes each."""
    return frozenset(hashlib.blake2b(text.strip().encode(), digest_size=16).digest() for text in texts)


@dataclass
class StreamedBlocks:
    """Batches by step from a stream that starts again, under other masks, whenever it ends.

    Steps are asked for in rising order; inside a window in any order. Every process of a training reads and tokenises
    the whole stream, and masks its own part. Travels to another process as it was made, without what it has read.

    Args:
        stream: The text.
        tokenizer: Fast, the one of the vocabulary.
        vocabulary: Of the tokenizer.
        sequence_length: Tokens of a block at most, special tokens included.
        held_out: Ids of documents that are never trained on.
        seed: Of masks and of the order inside a window, below 2**32.
        masked_share: Of the ordinary tokens of a block that are predicted, in (0, 1].
        whole_words: Hide the tokens of a word together.
        word_starts: (V,) True for ids that begin a word; needed to hide whole words.
        batch_tokens: Padded tokens of a step at most.
        held_out_texts: `text_digests` of texts that are never trained on, whatever their ids. Ids alone know a
            document again only where the stream names it as the sample does.
        joined: Put several documents into a block, each between its own special tokens, as many as fit.
        window_blocks: A window ends with the documents that bring it to so many blocks, or with the pass.
    """

    stream: TextStream
    tokenizer: PreTrainedTokenizerFast
    vocabulary: Vocabulary
    sequence_length: int
    held_out: frozenset[str]
    seed: int
    masked_share: float
    whole_words: bool
    word_starts: NDArray[np.bool_] | None
    batch_tokens: int
    held_out_texts: frozenset[bytes] = frozenset()
    joined: bool = False
    window_blocks: int = 8192

    def __post_init__(self) -> None:
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="text-stream")
        self._begin_at(Position())

    def _begin_at(self, position: Position) -> None:
        self._window: Window | None = None
        self._starts: deque[Position] = deque(maxlen=REMEMBERED_WINDOWS)
        self._next = position
        self._coming: Future[Window] | None = None
        self._documents: Iterator[tuple[str, str]] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @cached_property
    def _encoder(self) -> DocumentEncoder:
        return DocumentEncoder(self.tokenizer, sequence_length=self.sequence_length)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that the batches depend on."""
        parts = {
            "stream": self.stream.fingerprint,
            "vocabulary": self.vocabulary.fingerprint,
            "sequence_length": self.sequence_length,
            "held_out": sorted(self.held_out),
            "held_out_texts": sorted(digest.hex() for digest in self.held_out_texts),
            "seed": self.seed,
            "masked_share": self.masked_share,
            "whole_words": self.whole_words,
            "batch_tokens": self.batch_tokens,
            "joined": self.joined,
            "window_blocks": self.window_blocks,
        }
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def batch_at(self, step: int, part: int = 0, num_parts: int = 1) -> Batch:
        """The batch of a step, or rows part::num_parts of it, as `MaskedBlocks.part` gives it.

        Raises:
            TrainingError: If the step lies before the window that has been reached.
            CorpusError: If the stream cannot be read, or holds nothing to train on.
        """
        with self._lock:
            window = self._window_of(step)
        whole = window.batches[step - window.start.first_step]
        return window.data.part(whole, part, num_parts, epoch=window.start.epoch)

    __call__ = batch_at

    def state(self, step: int) -> JsonObject:
        """Where the window of a step begins, in JSON's types; the step may be the next one to be asked for.

        Raises:
            TrainingError: If the step lies far before the window that has been reached.
        """
        with self._lock:
            if step > self._next.first_step:
                self._window_of(step)
            known = [*self._starts, self._next]
            before = [start for start in known if start.first_step <= step]
            if not before:
                raise self._is_past(step, known[0])
            return asdict(before[-1]) | {"fingerprint": self.fingerprint}

    def restore(self, state: JsonObject) -> None:
        """Read on from the window that a state names.

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
            if self._coming is not None and not self._coming.cancel():
                wait([self._coming])
            self._begin_at(Position(**{field.name: state[field.name] for field in fields(Position)}))

    def _window_of(self, step: int) -> Window:
        reached = self._next if self._window is None else self._window.start
        if step < reached.first_step:
            raise self._is_past(step, reached)
        while self._window is None or step >= self._window.end.first_step:
            coming = self._coming or self._thread.submit(self._read, self._next)
            self._window = coming.result()
            self._starts.append(self._window.start)
            self._next = self._window.end
            self._coming = self._thread.submit(self._read, self._next)
        return self._window

    @staticmethod
    def _is_past(step: int, reached: Position) -> TrainingError:
        return TrainingError(
            f"Text stream: step {step} was asked for, but the text is read forward only and has come to the window "
            f"that begins at step {reached.first_step}. Ask for steps in rising order, or restore the state of step "
            f"{step}."
        )

    def _read(self, start: Position) -> Window:
        """Read a window; where nothing is left of the pass, the first one of the next pass."""
        blocks, num_documents = self._next_blocks(start)
        if not len(blocks):
            if start.documents == 0:
                raise CorpusError(
                    "The text stream holds nothing to train on: every document in it is empty or held out. Change the "
                    "catalog entry `text_stream`."
                )
            return self._read(replace(start, epoch=start.epoch + 1, documents=0, first_block=0))
        data = MaskedBlocks(
            blocks,
            self.vocabulary,
            self.seed,
            self.masked_share,
            whole_words=self.whole_words,
            word_starts=self.word_starts,
            first_block=start.first_block,
        )
        batches = plan_epoch(blocks.lengths, batch_tokens=self.batch_tokens, seed=self.seed, epoch=start.window)
        end = Position(
            window=start.window + 1,
            epoch=start.epoch,
            documents=start.documents + num_documents,
            first_block=start.first_block + len(blocks),
            first_step=start.first_step + len(batches),
        )
        return Window(start, end, data, batches)

    def _next_blocks(self, start: Position) -> tuple[TokenBlocks, int]:
        """Blocks of the next documents, and how many documents these are, those held out among them."""
        if self._documents is None or start.documents == 0:
            self._documents = self.stream.documents(start.documents)
        blocks: list[TokenBlocks] = [self._encoder.blocks([])]
        num_blocks = num_documents = 0
        while num_blocks < self.window_blocks:
            texts, num_read = self._next_texts(self._documents)
            if not num_read:
                break
            blocks.append(self._encoder.blocks(texts))
            num_blocks += len(blocks[-1])
            num_documents += num_read
        lengths = np.concatenate([part.lengths for part in blocks])
        ids = np.concatenate([part.ids for part in blocks])
        whole = TokenBlocks(ids, starts_of(lengths))
        return join_blocks(whole, sequence_length=self.sequence_length) if self.joined else whole, num_documents

    def _next_texts(self, documents: Iterator[tuple[str, str]]) -> tuple[list[str], int]:
        """Training texts for one call of the tokenizer, a fraction of a window, and how many documents were read."""
        texts: list[str] = []
        num_read = num_characters = 0
        for document_id, text in documents:
            num_read += 1
            if document_id not in self.held_out and not (text_digests([text]) & self.held_out_texts):
                texts.append(text)
                num_characters += len(text)
            if len(texts) == self.window_blocks or num_characters >= self.window_blocks * self.sequence_length:
                break
        return texts, num_read

"""The examples of a task as token ids, in batches of similar length."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from bort_kedro.encoders.families import longest_sequence
from bort_kedro.errors import ConfigurationError
from bort_kedro.finetuning.forms import FORMS, NO_OPTION
from bort_kedro.finetuning.truncation import cut_lengths, window_start
from bort_kedro.finetuning.windows import windows_of
from bort_kedro.tasks.spans import CLOSE, OPEN
from bort_kedro.tasks.table import Truncation
from bort_kedro.text.batching import BatchPlan, plan_epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from tokenizers import Encoding

    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.tasks.table import Task
    from bort_kedro.tasks.units import Unit

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class EncodedExamples:
    """Examples as ids, with what each is to be answered.

    Args:
        input_ids: N arrays of token ids, special tokens included.
        token_type_ids: N arrays beside them, or None where the encoder knows one type only.
        targets: (T, C) what the model should say: a distribution over the labels, the value of a regression (C = 1),
            or a row's share of its question's right options (C = 1); 0 where nothing is known. One for each row, or
            for each word.
        starts: (U + 1,) first row of each unit, N at the end; a unit is a row, all options of a question, or all
            windows of a text.
        pad_id: Id that fills a batch.
        num_truncated: Rows that lost tokens.
        answering: N arrays of the places of the tokens that a target each is for; None where rows are answered whole.
    """

    input_ids: list[NDArray[np.int64]]
    token_type_ids: list[NDArray[np.int64]] | None
    targets: NDArray[np.float32]
    starts: NDArray[np.int64]
    pad_id: int
    num_truncated: int
    answering: list[NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def num_units(self) -> int:
        """Rows, or questions of multiple choice."""
        return len(self.starts) - 1

    @cached_property
    def target_starts(self) -> NDArray[np.int64]:
        """(U + 1,) first target of each unit, T at the end."""
        if self.answering is None:
            return self.starts
        return np.cumsum([0, *map(len, self.answering)])[self.starts]

    @cached_property
    def divided(self) -> EncodedExamples:
        """The same in units as small as they may be: the windows of a text need not stand in one batch."""
        return self if self.answering is None else replace(self, starts=np.arange(len(self) + 1))

    @property
    def unit_lengths(self) -> NDArray[np.int64]:
        """(U,) padded tokens of each unit alone: those of its longest row, times its rows."""
        lengths = np.array([len(ids) for ids in self.input_ids], dtype=np.int64)
        if not len(lengths):
            return lengths
        return np.maximum.reduceat(lengths, self.starts[:-1]) * np.diff(self.starts)

    def rows_of(self, units: Sequence[int]) -> NDArray[np.int64]:
        """Rows of these units, in their order."""
        return _ranges(self.starts, units)

    def targets_of(self, units: Sequence[int]) -> NDArray[np.int64]:
        """Targets of these units, in their order."""
        return _ranges(self.target_starts, units)

    def batch(self, units: Sequence[int]) -> Batch:
        """The rows of these units, padded to the longest.

        Returns:
            ``input_ids``, ``attention_mask`` and, where there are types, ``token_type_ids`` (B, L); ``targets``
            (B, C), or of words (A, C) with ``answering`` (A,), the places of their tokens among the B * L;
            ``option_rows`` (U, O), for each unit the places of its rows in the batch, -1 beyond them.
        """
        rows, counts = self.rows_of(units), np.diff(self.starts)[np.asarray(units)][:, None]
        options = np.arange(counts.max())
        option_rows = np.where(options < counts, options + np.cumsum(counts)[:, None] - counts, NO_OPTION)
        ids = [self.input_ids[row] for row in rows]
        padded = _padded(ids, self.pad_id)
        batch = {
            "input_ids": padded,
            "attention_mask": _padded([np.ones_like(row) for row in ids], 0),
            "targets": self.targets[self.targets_of(units)],
            "option_rows": option_rows,
        }
        if self.answering is not None:
            places = [place * padded.shape[1] + self.answering[row] for place, row in enumerate(rows)]
            batch["answering"] = np.concatenate(places)
        if self.token_type_ids is not None:
            batch["token_type_ids"] = _padded([self.token_type_ids[row] for row in rows], 0)
        return {name: torch.from_numpy(value) for name, value in batch.items()}

    def training_batches(self, *, batch_tokens: int, seed: int) -> Callable[[int], Batch]:
        """The batch of a step, as a pure function of the step; units of similar length go together."""
        plan = BatchPlan(self.divided.unit_lengths, batch_tokens=batch_tokens, seed=seed)
        return lambda step: self.divided.batch(plan.at(step)[1].tolist())

    def steps_per_epoch(self, *, batch_tokens: int, seed: int) -> int:
        """Optimiser steps that see every unit once."""
        return BatchPlan(self.divided.unit_lengths, batch_tokens=batch_tokens, seed=seed).first_epoch_steps

    def batches(self, *, batch_tokens: int) -> list[list[int]]:
        """Units of similar length together, each once, for prediction."""
        plan = plan_epoch(self.unit_lengths, batch_tokens=batch_tokens, seed=0, epoch=0) if self.num_units else []
        return [units.tolist() for units in plan]

    def answered(self, targets: NDArray[np.floating]) -> EncodedExamples:
        """The same texts with other targets, of the same shape."""
        return replace(self, targets=targets.astype(np.float32).reshape(self.targets.shape))

    def taken(self, units: Sequence[int]) -> EncodedExamples:
        """These units alone, in this order; how many of their rows lost tokens is not known."""
        rows = self.rows_of(units)
        return replace(
            self,
            input_ids=[self.input_ids[row] for row in rows],
            token_type_ids=None if self.token_type_ids is None else [self.token_type_ids[row] for row in rows],
            targets=self.targets[self.targets_of(units)],
            starts=np.concatenate([[0], np.cumsum(np.diff(self.starts)[np.asarray(units)])]),
            num_truncated=0,
            answering=None if self.answering is None else [self.answering[row] for row in rows],
        )

    def joined(self, other: EncodedExamples) -> EncodedExamples:
        """These and then those, of the same encoder."""
        types = self.token_type_ids
        return replace(
            self,
            input_ids=[*self.input_ids, *other.input_ids],
            token_type_ids=None if types is None else [*types, *(other.token_type_ids or ())],
            targets=np.concatenate([self.targets, other.targets]),
            starts=np.concatenate([self.starts, other.starts[1:] + self.starts[-1]]),
            num_truncated=self.num_truncated + other.num_truncated,
            answering=None if self.answering is None else [*self.answering, *(other.answering or ())],
        )

    @property
    def fingerprint(self) -> str:
        """Hash of every id and target: of texts, labels and tokenizer at once."""
        digest = hashlib.sha256(f"{len(self)} {self.num_units}".encode())
        digest.update(self.targets.tobytes() + self.starts.tobytes())
        for ids in self.input_ids:
            digest.update(len(ids).to_bytes(4, "little") + ids.tobytes())
        for places in self.answering or ():
            digest.update(len(places).to_bytes(4, "little") + places.tobytes())
        return digest.hexdigest()


def _ranges(starts: NDArray[np.int64], units: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([np.arange(starts[unit], starts[unit + 1]) for unit in units])


def _padded(rows: list[NDArray[np.int64]], fill: int) -> NDArray[np.int64]:
    padded = np.full((len(rows), max(map(len, rows))), fill, dtype=np.int64)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded


class _Input(NamedTuple):
    """What a model reads at a time: its ids, their types, and the tokens that answer for words."""

    ids: NDArray[np.int64]
    types: NDArray[np.int64]
    answering: NDArray[np.int64]


class TaskEncoder:
    """Turns the texts of one task into the ids of one encoder, each text losing what the task can spare.

    Texts whose words are tagged lose nothing: a long one is read in windows, see `windows`.

    Args:
        pretrained: Encoder and tokenizer.
        task: A row of the table of tasks; its ``truncation`` says which text loses tokens.
        labels: In the order of the classifier's outputs; left out for regression and multiple choice.
        max_tokens: Longest input, special tokens included.

    Raises:
        ConfigurationError: If the encoder takes only shorter inputs.
    """

    def __init__(self, pretrained: Pretrained, task: Task, labels: Sequence[str], *, max_tokens: int) -> None:
        config, tokenizer = pretrained.model.config, pretrained.tokenizer
        longest = longest_sequence(config)
        if longest is not None and max_tokens > longest:
            raise ConfigurationError(
                f"Task `{task.name}`: max_tokens is {max_tokens}, but the encoder has {longest} positions. Set "
                f"max_tokens to at most {longest} in params:finetune.training, or for a teacher in "
                "params:finetune.teacher.training; or pretrain with more (max_positions under params:corpus)."
            )
        self._backend = tokenizer.backend_tokenizer
        self._pad_id = int(tokenizer.pad_token_id)
        self._has_types = getattr(config, "type_vocab_size", 1) > 1
        self._task, self._asked, self._max_tokens = task, FORMS[task.form], max_tokens
        self._labels = labels

    def __call__(self, units: Sequence[Unit], labels: Sequence[str | None] | None = None) -> EncodedExamples:
        """Encode units, with their labels where they have any.

        Args:
            units: Texts.
            labels: One for each row of each unit, None where unknown; left out, none is known.
        """
        rows = [row for unit in units for row in unit.rows]
        of_rows, num_truncated = self._encode(rows)
        # Of each row the first of its inputs, of which it has more than one where it is read in windows.
        firsts = np.cumsum([0, *map(len, of_rows)])
        starts = firsts[np.cumsum([0, *(len(unit.rows) for unit in units)])]
        inputs = [each for inputs in of_rows for each in inputs]
        examples = EncodedExamples(
            [each.ids for each in inputs],
            [each.types for each in inputs] if self._has_types else None,
            np.zeros((0, 0), dtype=np.float32),
            starts,
            self._pad_id,
            num_truncated,
            [each.answering for each in inputs] if self._asked.of_words else None,
        )
        known = labels or [None] * len(rows)
        return replace(examples, targets=self._asked.targets(known, self._labels, examples.target_starts))

    def _encode(self, rows: list[tuple[str, str | None]]) -> tuple[list[list[_Input]], int]:
        """The inputs of each row, and how many rows lost tokens."""
        backend = self._backend
        backend.no_truncation()
        backend.no_padding()
        firsts = backend.encode_batch([text for text, _ in rows], add_special_tokens=False)
        pairs = [pair for _, pair in rows if pair is not None]
        seconds = iter(backend.encode_batch(pairs, add_special_tokens=False))
        of_rows, num_truncated = [], 0
        for (text, pair), first in zip(rows, firsts, strict=True):
            second = next(seconds) if pair is not None else None
            if self._asked.of_words:
                length = self._max_tokens - backend.num_special_tokens_to_add(False)
                of_rows.append([self._input(*window) for window in windows_of(text, first, length=length)])
            else:
                num_truncated += self._cut((text, pair), (first, second))
                of_rows.append([self._input(first, np.zeros(0, dtype=np.int64), second)])
        return of_rows, num_truncated

    def _input(self, first: Encoding, answering: NDArray[np.int64], second: Encoding | None = None) -> _Input:
        whole = self._backend.post_process(first, second, add_special_tokens=True)
        if len(answering):
            # A text of which the tokenizer leaves nothing is answered by the special token before it.
            of_text = np.flatnonzero(np.array(whole.special_tokens_mask) == 0)
            answering = of_text[answering] if len(of_text) else answering * 0
        return _Input(np.array(whole.ids, dtype=np.int64), np.array(whole.type_ids, dtype=np.int64), answering)

    def _cut(self, texts: tuple[str, str | None], encodings: tuple[Encoding, Encoding | None]) -> bool:
        """Shorten the tokens of a text or a pair in place until they fit; whether anything was lost."""
        room = self._max_tokens - self._backend.num_special_tokens_to_add(encodings[1] is not None)
        lengths = [len(tokens) if tokens is not None else 0 for tokens in encodings]
        if sum(lengths) <= room:
            return False
        kept = cut_lengths(*lengths, room=room, truncation=self._task.truncation)
        for text, tokens, length in zip(texts, encodings, kept, strict=True):
            if text is not None and tokens is not None and length < len(tokens):
                marked = self._marked(text, tokens)
                start = window_start(marked, num_tokens=len(tokens), length=length)
                # Keep [start, start + length): what lies behind goes first.
                tokens.truncate(start + length)
                tokens.truncate(length, direction="left")
        return True

    def _marked(self, text: str, tokens: Encoding) -> list[int]:
        """Tokens of the marks around spans; none where the task has no spans."""
        if self._task.truncation != Truncation.AROUND_SPANS:
            return []
        places = (tokens.char_to_token(place) for place, character in enumerate(text) if character in (OPEN, CLOSE))
        return [place for place in places if place is not None]

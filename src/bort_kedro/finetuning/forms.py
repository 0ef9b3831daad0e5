"""What each form of task asks of a model: its targets, its loss, its answers, and which of them are mistakes.

Shapes: T targets of C outputs each, in the order of the examples; U units, such as the questions of multiple choice,
whose first targets ``starts`` (U + 1,) says, T at its end; B targets of a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from bort_kedro.tasks.table import RIGHT, WRONG, Form
from bort_kedro.tasks.tags import as_iob2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Batch = dict[str, Tensor]
    Starts = NDArray[np.int64]

# Fills the places of questions that have fewer options than the longest of their batch.
NO_OPTION = -1
# Name of the one output of a regression or of an option's score.
SINGLE_OUTPUT = "score"


class AskedForm(ABC):
    """One form of task; `FORMS` has them all.

    Attributes:
        model_class: Of transformers, with the head of this form.
        of_words: Whether there is a target for each word of a text rather than for the text.
    """

    model_class = "AutoModelForSequenceClassification"
    of_words = False

    def output_names(self, labels: Sequence[str]) -> list[str]:
        """(C,) names of the head's outputs."""
        return [SINGLE_OUTPUT]

    @abstractmethod
    def targets(self, labels: Sequence[str | None], names: Sequence[str], starts: Starts) -> NDArray[np.float32]:
        """(T, C) what a model should say; 0 where nothing is known.

        Args:
            labels: Of the rows of the table, None where unknown.
            names: All labels, in the order of the outputs.
            starts: See above.
        """

    @abstractmethod
    def loss(self, logits: Tensor, batch: Batch, weights: Tensor | None) -> dict[str, Tensor]:
        """The mean over a batch, as ``loss``, and what else is worth a curve.

        Args:
            logits: (B, C).
            batch: With ``targets`` (B, C).
            weights: (C,) of the labels, of forms that have such.
        """

    def outputs(self, logits: Tensor, batch: Batch) -> Tensor:
        """(B, C) what the logits of a batch mean."""
        return logits

    def questions(self, outputs: NDArray[np.float64], starts: Starts) -> Starts | None:
        """(Q + 1,) first of each run of the flattened outputs that shares a softmax, T * C at the end; None where the
        outputs are no probabilities."""
        return None

    @abstractmethod
    def answers(self, outputs: NDArray[np.float64], names: Sequence[str], starts: Starts) -> list[str]:
        """The answer to every row of the table as text."""

    @abstractmethod
    def is_mistaken(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float32], starts: Starts
    ) -> NDArray[np.bool_]:
        """(U,) which units are answered wrongly."""

    def hardened(self, outputs: NDArray[np.float64], starts: Starts) -> NDArray[np.float64]:
        """(T, C) the likeliest answers alone, as targets."""
        return outputs


class Classification(AskedForm):
    """One of the labels for each row: cross-entropy in nats. Targets may be distributions, such as a teacher's."""

    def output_names(self, labels: Sequence[str]) -> list[str]:
        return list(labels)

    def targets(self, labels: Sequence[str | None], names: Sequence[str], starts: Starts) -> NDArray[np.float32]:
        places = {name: place for place, name in enumerate(names)}
        targets = np.zeros((len(labels), len(names)), dtype=np.float32)
        for row, label in enumerate(labels):
            if label is not None:
                targets[row, places[label]] = 1.0
        return targets

    def loss(self, logits: Tensor, batch: Batch, weights: Tensor | None) -> dict[str, Tensor]:
        targets = batch["targets"]
        counted = targets if weights is None else targets * weights.to(targets)
        loss = -(counted * logits.log_softmax(-1)).sum() / counted.sum()
        return {"loss": loss, "accuracy": (logits.argmax(-1) == targets.argmax(-1)).float().mean()}

    def outputs(self, logits: Tensor, batch: Batch) -> Tensor:
        return logits.softmax(-1)

    def questions(self, outputs: NDArray[np.float64], starts: Starts) -> Starts | None:
        return np.asarray(np.arange(len(outputs) + 1) * outputs.shape[1])

    def answers(self, outputs: NDArray[np.float64], names: Sequence[str], starts: Starts) -> list[str]:
        return [names[index] for index in outputs.argmax(-1)]

    def is_mistaken(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float32], starts: Starts
    ) -> NDArray[np.bool_]:
        return np.asarray(outputs.argmax(-1) != targets.argmax(-1))

    def hardened(self, outputs: NDArray[np.float64], starts: Starts) -> NDArray[np.float64]:
        hard = np.zeros_like(outputs)
        hard[np.arange(len(outputs)), outputs.argmax(-1)] = 1.0
        return hard


class Regression(AskedForm):
    """A number for each row: the squared error."""

    def targets(self, labels: Sequence[str | None], names: Sequence[str], starts: Starts) -> NDArray[np.float32]:
        return np.array([0.0 if label is None else float(label) for label in labels], dtype=np.float32)[:, None]

    def loss(self, logits: Tensor, batch: Batch, weights: Tensor | None) -> dict[str, Tensor]:
        return {"loss": nn.functional.mse_loss(logits, batch["targets"])}

    def answers(self, outputs: NDArray[np.float64], names: Sequence[str], starts: Starts) -> list[str]:
        return [f"{value:.6g}" for value in outputs[:, 0]]

    def is_mistaken(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float32], starts: Starts
    ) -> NDArray[np.bool_]:
        """No answer is wrong, some are bad: our extension counts those further from the truth than half the standard
        deviation of the true values."""
        return np.asarray(np.abs(outputs - targets)[:, 0] > targets.std() / 2)


class MultipleChoice(AskedForm):
    """One of a question's options, each of which has a row; they share one softmax."""

    def targets(self, labels: Sequence[str | None], names: Sequence[str], starts: Starts) -> NDArray[np.float32]:
        is_right = np.array([label == RIGHT for label in labels], dtype=np.float32)
        sums = np.add.reduceat(is_right, starts[:-1]) if len(is_right) else is_right
        shares = is_right / np.maximum(np.repeat(sums, np.diff(starts)), 1.0)
        return np.asarray(shares[:, None], dtype=np.float32)

    def loss(self, logits: Tensor, batch: Batch, weights: Tensor | None) -> dict[str, Tensor]:
        scores = by_question(logits, batch["option_rows"], fill=float("-inf"))
        wanted = by_question(batch["targets"], batch["option_rows"], fill=0.0)
        # A place without an option has no probability and no share; 0 * -inf would be no number.
        log_shares = scores.log_softmax(-1).masked_fill(batch["option_rows"] == NO_OPTION, 0.0)
        is_right = wanted.gather(1, scores.argmax(-1, keepdim=True)) > 0
        return {"loss": -(wanted * log_shares).sum(-1).mean(), "accuracy": is_right.float().mean()}

    def outputs(self, logits: Tensor, batch: Batch) -> Tensor:
        shares = by_question(logits, batch["option_rows"], fill=float("-inf")).softmax(-1)
        return shares[batch["option_rows"] != NO_OPTION][:, None]

    def questions(self, outputs: NDArray[np.float64], starts: Starts) -> Starts | None:
        return starts

    def answers(self, outputs: NDArray[np.float64], names: Sequence[str], starts: Starts) -> list[str]:
        answers = [WRONG] * len(outputs)
        for row in _likeliest_options(outputs, starts):
            answers[row] = RIGHT
        return answers

    def is_mistaken(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float32], starts: Starts
    ) -> NDArray[np.bool_]:
        return np.asarray(targets[_likeliest_options(outputs, starts), 0] == 0)

    def hardened(self, outputs: NDArray[np.float64], starts: Starts) -> NDArray[np.float64]:
        hard = np.zeros_like(outputs)
        hard[_likeliest_options(outputs, starts), 0] = 1.0
        return hard


class TaggedWords(Classification):
    """A tag for each word, which is a classification of words; their first tokens answer."""

    model_class = "AutoModelForTokenClassification"
    of_words = True

    def targets(self, labels: Sequence[str | None], names: Sequence[str], starts: Starts) -> NDArray[np.float32]:
        known = zip(labels, np.diff(starts), strict=True)
        tags = [tag for label, count in known for tag in (label.split() if label else [None] * count)]
        return super().targets(tags, names, starts)

    def answers(self, outputs: NDArray[np.float64], names: Sequence[str], starts: Starts) -> list[str]:
        tags = super().answers(outputs, names, starts)
        return [" ".join(as_iob2(tags[start:stop])) for start, stop in pairwise(starts)]

    def is_mistaken(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float32], starts: Starts
    ) -> NDArray[np.bool_]:
        """A text is answered wrongly if one of its words is."""
        is_wrong = super().is_mistaken(outputs, targets, starts)
        unit_of = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        return np.asarray(np.bincount(unit_of, weights=is_wrong, minlength=len(starts) - 1) > 0)


def by_question(values: Tensor, option_rows: Tensor, *, fill: float) -> Tensor:
    """(U, O) the values (B, 1) of each question's options, ``fill`` where it has no more."""
    gathered = values[:, 0][option_rows.clamp(min=0)]
    return gathered.masked_fill(option_rows == NO_OPTION, fill)


def _likeliest_options(outputs: NDArray[np.float64], starts: Starts) -> list[int]:
    """(U,) the row of each question's likeliest option, the first among equals."""
    return [int(start + outputs[start:stop, 0].argmax()) for start, stop in pairwise(starts)]


FORMS: dict[Form, AskedForm] = {
    Form.CLASSIFICATION: Classification(),
    Form.REGRESSION: Regression(),
    Form.MULTIPLE_CHOICE: MultipleChoice(),
    Form.TOKENS: TaggedWords(),
}

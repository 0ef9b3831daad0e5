"""Task scores with their errors, beside the majority class that every classifier must beat."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from bort_kedro.core.statistics import clustered_standard_error, is_above_noise, proportion_standard_error

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class TaskScore:
    """Quality of a classifier on one split.

    Args:
        accuracy: Share of the examples labelled right.
        standard_error: Of that share, examples taken as independent.
        majority_label: The most frequent true label of this same split, the first in text order when tied.
        majority_accuracy: Accuracy of always answering it, the best a constant answer can do here.
        advantage: ``accuracy - majority_accuracy``.
        advantage_standard_error: Of that difference, paired by example: both answers meet the same
            examples, so it is the error of the mean of (right - majority right), not a sum of two errors.
        matthews: Matthews correlation, 0 for any constant answer.
        macro_f1: Unweighted mean over the labels of each label's F1.
        num_examples: Examples scored.
    """

    accuracy: float
    standard_error: float
    majority_label: str
    majority_accuracy: float
    advantage: float
    advantage_standard_error: float
    matthews: float
    macro_f1: float
    num_examples: int

    @property
    def beats_majority(self) -> bool:
        """True if the advantage is above two of its own (paired) standard errors."""
        return is_above_noise(self.advantage, self.advantage_standard_error)


def score_labels(labels: Sequence[str], predicted: Sequence[str]) -> TaskScore:
    """Score predicted labels against the true ones.

    Args:
        labels: (N,) true labels, N at least 1.
        predicted: (N,) in the same order.

    Raises:
        ValueError: If there is nothing to score, or the two differ in length.
    """
    if not len(labels) or len(labels) != len(predicted):
        raise ValueError(
            f"{len(labels)} labels and {len(predicted)} predictions: expected as many of one as of the "
            "other, and at least one"
        )
    truth, answers = np.asarray(labels, dtype=str), np.asarray(predicted, dtype=str)
    counts = Counter(truth.tolist())
    majority_label = min(counts, key=lambda label: (-counts[label], label))
    is_right, majority_is_right = truth == answers, truth == majority_label
    gains = is_right.astype(np.int64) - majority_is_right.astype(np.int64)
    accuracy = float(accuracy_score(truth, answers))
    return TaskScore(
        accuracy=accuracy,
        standard_error=proportion_standard_error(accuracy, len(truth)),
        majority_label=majority_label,
        majority_accuracy=counts[majority_label] / len(truth),
        advantage=float(gains.mean()),
        # Every example a cluster of its own: the plain standard error of a mean.
        advantage_standard_error=clustered_standard_error(gains, np.arange(len(gains))),
        matthews=float(matthews_corrcoef(truth, answers)),
        macro_f1=float(f1_score(truth, answers, average="macro", zero_division=0.0)),
        num_examples=len(truth),
    )

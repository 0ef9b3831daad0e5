"""What pretraining reached, as it is reported."""

from __future__ import annotations

from typing import Literal

from bort_kedro.frozen import FrozenModel

# In what alone the student's twin differs from it: no teacher in the loop, or weights as drawn to begin with.
# Where the student has neither, nothing.
TwinLacks = Literal["distillation", "start", "nothing"]
TWINS: dict[TwinLacks, str] = {
    "distillation": "the same shape trained without a teacher",
    "start": "the same shape trained from random weights",
    "nothing": "the same shape trained alike",
}
# How the student was pretrained.
WAYS: dict[TwinLacks, str] = {
    "distillation": "under a larger teacher",
    "start": "further from given weights",
    "nothing": "from random weights",
}


class BaselineScore(FrozenModel):
    """Of counting: how often the likeliest token is right."""

    accuracy: float


class EncoderScore(FrozenModel):
    """Of an encoder on the test split: of hidden tokens, or its distance from the teacher where none is predicted.

    Args:
        seconds: Of this training; 0 of a teacher that was opened, or is T as the search left it.
        accuracy: Masked; None of an encoder that predicts no tokens, as all up to the perplexity.
        accuracy_standard_error: Blocks are the independent unit.
        loss: In nats.
        perplexity: Its exponential.
        distance: See `teacher_distance`, in nats; None where tokens are predicted.
        distance_standard_error: Blocks are the independent unit.
    """

    seconds: float
    accuracy: float | None = None
    accuracy_standard_error: float | None = None
    loss: float | None = None
    perplexity: float | None = None
    distance: float | None = None
    distance_standard_error: float | None = None


class Lead(FrozenModel):
    """By how much the student is ahead of another, paired by token, with its standard error.

    In accuracy, or in nats by which it is nearer the teacher.
    """

    difference: float
    standard_error: float


class CacheError(FrozenModel):
    """What a cached teacher leaves out.

    Args:
        top_k: Tokens kept of each hidden one.
        divergence: Over the whole vocabulary, in nats, times the square of the temperature.
        divergence_with_cache: That the student learned from.
        relative_error: Share of the whole that is left out.
    """

    top_k: int
    divergence: float
    divergence_with_cache: float
    relative_error: float


class TrimmingCost(FrozenModel):
    """What a trimmed vocabulary saves and costs.

    Args:
        ids_kept: Of the teacher's.
        ids_dropped: Likewise.
        parameters_saved: Of the student.
        teacher_mass_on_dropped: Mean probability that the teacher gives them.
    """

    ids_kept: int
    ids_dropped: int
    parameters_saved: int
    teacher_mass_on_dropped: float


class PretrainingMetrics(FrozenModel):
    """The student beside its rivals, on the same hidden tokens.

    Args:
        student: As it was asked for.
        teacher: Asked in the student's vocabulary.
        num_predicted: Hidden tokens; all tokens where none is predicted.
        num_steps: Of the student.
        undistilled: Its twin, of the same shape and steps, without a teacher in its loop; None where it was left out.
        student_minus_undistilled: Lead of the student; None likewise.
        twin_lacks: In what alone the two differ, or would.
        teacher_cache: None where the teacher ran live.
        trimming: None where no id was dropped.
        unigram: The most frequent token; None where no token is predicted, as the two that follow.
        bigram: The most frequent follower.
        student_minus_bigram: Lead of the student.
    """

    student: EncoderScore
    teacher: EncoderScore
    num_predicted: int
    num_steps: int
    undistilled: EncoderScore | None = None
    student_minus_undistilled: Lead | None = None
    twin_lacks: TwinLacks = "distillation"
    teacher_cache: CacheError | None = None
    trimming: TrimmingCost | None = None
    unigram: BaselineScore | None = None
    bigram: BaselineScore | None = None
    student_minus_bigram: Lead | None = None

    @property
    def twin(self) -> str:
        """What the student is held against, in words."""
        return TWINS[self.twin_lacks]

    @property
    def way(self) -> str:
        """How the student was pretrained, in words."""
        return WAYS[self.twin_lacks]

"""What pretraining reached, as it is reported."""

from __future__ import annotations

from typing import Literal

from bort_kedro.frozen import FrozenModel

# In what alone the student's twin differs from it: no teacher in the loop, or weights as drawn to begin with.
TwinLacks = Literal["distillation", "start"]
TWINS: dict[TwinLacks, str] = {
    "distillation": "the same shape trained without a teacher",
    "start": "the same shape trained from random weights",
}


class BaselineScore(FrozenModel):
    """Of counting: how often the likeliest token is right."""

    accuracy: float


class EncoderScore(FrozenModel):
    """Of an encoder on the hidden tokens of the test split.

    Args:
        accuracy: Masked.
        accuracy_standard_error: Blocks are the independent unit.
        loss: In nats.
        perplexity: Its exponential.
        seconds: Of training; 0 of an encoder that was opened.
    """

    accuracy: float
    accuracy_standard_error: float
    loss: float
    perplexity: float
    seconds: float


class Lead(FrozenModel):
    """Accuracy of the student minus that of another, paired by token, with its standard error."""

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
        undistilled: Its twin, of the same shape and steps, without a teacher in its loop.
        twin_lacks: In what alone the two differ.
        teacher: Asked in the student's vocabulary.
        unigram: The most frequent token.
        bigram: The most frequent follower.
        student_minus_bigram: Lead of the student.
        student_minus_undistilled: Likewise.
        num_predicted: Hidden tokens.
        num_steps: Of the student.
        teacher_cache: None where the teacher ran live.
        trimming: None where no id was dropped.
    """

    student: EncoderScore
    undistilled: EncoderScore
    teacher: EncoderScore
    unigram: BaselineScore
    bigram: BaselineScore
    student_minus_bigram: Lead
    student_minus_undistilled: Lead
    num_predicted: int
    num_steps: int
    twin_lacks: TwinLacks = "distillation"
    teacher_cache: CacheError | None = None
    trimming: TrimmingCost | None = None

    @property
    def twin(self) -> str:
        """What the student is held against, in words."""
        return TWINS[self.twin_lacks]

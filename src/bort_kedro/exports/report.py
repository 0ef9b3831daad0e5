"""What is known of the exports of a task."""

from bort_kedro.frozen import FrozenModel


class FormatReport(FrozenModel):
    """One format beside PyTorch, which has a report of its own.

    Args:
        max_difference: Of its logits from PyTorch's.
        tolerance: That allowed; None where rounding is not all that differs.
        speedup: How many times its time PyTorch takes.
    """

    title: str
    max_difference: float
    tolerance: float | None
    score_before: float
    score_after: float
    drop: float
    allowed_drop: float
    bytes: int
    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float
    speedup: float
    is_refused: bool

    # Both are written so that what is no number does not hold.

    @property
    def is_exact(self) -> bool:
        """Whether it says what PyTorch says, as far as it should."""
        return self.tolerance is None or self.max_difference <= self.tolerance

    @property
    def is_good(self) -> bool:
        """Whether its score falls by no more than is allowed."""
        return self.drop <= self.allowed_drop


class ExportReport(FrozenModel):
    """The exports of a task, and how they were held against PyTorch.

    Args:
        num_checked: Of them, whose logits were compared.
        refuses_drops: Whether a format whose score drops too far is left out.
    """

    metric: str
    num_examples: int
    num_checked: int
    num_calibration: int
    refuses_drops: bool
    has_pairs: bool
    batch_size: int
    sequence_length: int
    num_threads: int
    timed_rounds: int
    formats: dict[str, FormatReport]

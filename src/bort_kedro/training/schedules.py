"""Learning-rate schedules as plain functions of the step."""

from __future__ import annotations


def steps_of_warmup(num_steps: int, warmup_share: float) -> int:
    """Steps before the one with the whole learning rate."""
    return int(warmup_share * num_steps)


def linear_warmup_then_decay(step: int, *, num_steps: int, warmup_share: float) -> float:
    """Factor on the learning rate at a step counted from 0: linear from 0 to 1, then linear to 0.

    The first step has a factor above 0 and the last one too, so that none is wasted. Source: Devlin et al.
    2018, appendix A.2, and the code released with Bort.

    Args:
        step: From 0 to ``num_steps - 1``.
        num_steps: Of the whole training.
        warmup_share: Share of the steps spent rising, in [0, 1).
    """
    warmup_steps = steps_of_warmup(num_steps, warmup_share)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return max(0.0, (num_steps - step) / (num_steps - warmup_steps))

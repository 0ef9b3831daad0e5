"""Learning-rate schedules by name, as transformers has them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

from bort_kedro.training.settings import Schedule

# Of the steps, those that decay at last; 10 to 20 % match the cosine (Hägele et al. 2024, arXiv 2405.18392).
DECAY_SHARE = 0.2


def steps_of_warmup(num_steps: int, warmup_share: float) -> int:
    """Steps before the one with the whole learning rate."""
    return int(warmup_share * num_steps)


def steps_before_decay(schedule: Schedule, num_steps: int, warmup_share: float) -> int | None:
    """Steps after which a training may as well go on to more of them; None where every rate hangs on their number."""
    if schedule != "warmup_stable_decay":
        return None
    return num_steps - _steps_of_decay(num_steps, steps_of_warmup(num_steps, warmup_share))


def _steps_of_decay(num_steps: int, num_warmup_steps: int) -> int:
    return min(max(1, round(DECAY_SHARE * num_steps)), num_steps - num_warmup_steps)


def learning_rate_factor(step: int, *, schedule: Schedule, num_steps: int, warmup_share: float) -> float:
    """Factor on the learning rate at a step counted from 0: linear from 0 to 1, then down to 0 as the schedule has it.

    ``linear`` goes down in a line (Devlin et al. 2018, appendix A.2, and the code released with Bort), ``cosine`` in
    half a wave; ``warmup_stable_decay`` stays at 1 and goes down in a line over the last fifth of the steps, or over
    what the warm-up leaves of it.

    Args:
        step: From 0 to ``num_steps - 1``; these have factors above 0, so that no step is wasted.
        schedule: By name.
        num_steps: Of the whole training.
        warmup_share: Share of the steps spent rising, in [0, 1).
    """
    # Their step 0 and their last one have the factor 0, and are left out.
    return _factors(schedule, num_steps, steps_of_warmup(num_steps, warmup_share))(step + 1)


@lru_cache
def _factors(schedule: Schedule, num_steps: int, num_warmup_steps: int) -> Callable[[int], float]:
    import torch
    from transformers import optimization

    num_decay_steps = _steps_of_decay(num_steps, num_warmup_steps)
    build = {
        "linear": optimization.get_linear_schedule_with_warmup,
        "cosine": optimization.get_cosine_schedule_with_warmup,
        "warmup_stable_decay": partial(
            optimization.get_wsd_schedule, num_decay_steps=num_decay_steps, decay_type="linear"
        ),
    }[schedule]
    nothing = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = build(nothing, num_warmup_steps=num_warmup_steps + 1, num_training_steps=num_steps + 1)
    factors: Callable[[int], float] = scheduler.lr_lambdas[0]
    return factors

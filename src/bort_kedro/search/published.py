"""The inputs of the published scheme, how they hang together, and the time it promises.

Its abstract has |Xi| candidates, an epsilon, an input s, |Theta| sets, batches of |B| and |W| weights, and a running
time of ``O(|Xi| + |W| (1 + |Theta| |B| |Xi| / (epsilon s^(3/2))))``. Read as one training for every interval of s
candidates, which is |Xi| / s of them, that leaves ``n = 1 / (epsilon sqrt(s))`` steps for each (our reading,
docs/decisions/0022-published-scheme.md).

References:
    de Wynter 2020, arXiv 2010.08512, the abstract.
"""

import math

# Beside which a quotient of exact numbers is whole.
ROUNDING = 1e-9


def num_intervals(num_candidates: int, interval: float) -> int:
    """Intervals of so many candidates, the last of which may be shorter: trainings that they take."""
    return max(1, math.ceil(num_candidates / interval - ROUNDING))


def steps_of(epsilon: float, interval: float) -> int:
    """Steps of a short training, at least one."""
    return max(1, math.ceil(1 / (epsilon * math.sqrt(interval)) - ROUNDING))


def epsilon_of(num_steps: int, interval: float) -> float:
    """What so many steps are enough for."""
    return 1 / (num_steps * math.sqrt(interval))


def running_time(
    *, num_candidates: int, num_weights: float, num_sets: int, batch: int, epsilon: float, interval: float
) -> float:
    """What is promised, with every constant 1: comparisons, and weights times the tokens or rows they are trained on.

    In the order of the arguments |Xi|, |W| of the largest network, |Theta|, |B|, epsilon and s.
    """
    trainings = num_sets * batch * num_candidates / (epsilon * math.pow(interval, 1.5))
    return num_candidates + num_weights * (1 + trainings)

"""Which candidates to train: each strategy sees the ordered space and the errors so far, and asks for more."""

from bort_kedro.errors import ConfigurationError
from bort_kedro.search.strategies.base import Outcome, SearchProblem, Strategy, Trial
from bort_kedro.search.strategies.halving import SuccessiveHalving
from bort_kedro.search.strategies.partition import Exhaustive, Fptas
from bort_kedro.search.strategies.sampling import RandomSample
from bort_kedro.search.strategies.surrogate import Surrogate

__all__ = ["STRATEGIES", "Outcome", "SearchProblem", "Strategy", "Trial", "build_strategy"]

STRATEGIES: dict[str, type[Strategy]] = {
    "fptas": Fptas,
    "surrogate": Surrogate,
    "successive_halving": SuccessiveHalving,
    "random": RandomSample,
    "exhaustive": Exhaustive,
}


def build_strategy(name: str, problem: SearchProblem) -> Strategy:
    """The strategy of that name.

    Raises:
        ConfigurationError: If there is none; the message lists the names.
    """
    if name not in STRATEGIES:
        raise ConfigurationError(
            f"Unknown search strategy `{name}`. Allowed: {', '.join(STRATEGIES)}. Change params:search.strategy."
        )
    return STRATEGIES[name](problem)

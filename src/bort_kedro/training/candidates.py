"""The error of candidate shapes by short training, several at a time through joblib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bort_kedro.core.shapes import BertShape
from bort_kedro.core.strategies import Strategy
from bort_kedro.core.tokens import Tokens
from bort_kedro.progress import track
from bort_kedro.training.pretraining import PretrainingSettings, new_encoder, pretrain, score


@dataclass(frozen=True)
class CandidateError:
    """What a short training says of a shape.

    Args:
        index: Of the candidate in the ordered space.
        error: Share of the hidden tokens of the validation split predicted wrongly.
        error_standard_error: Of that share, blocks taken as independent.
        loss: Mean masked-LM cross-entropy there, in nats.
        loss_standard_error: Of that mean, likewise.
        seconds: Wall time of the training.
        history: Rows of the training, see `loop.TrainingResult`.
    """

    index: int
    error: float
    error_standard_error: float
    loss: float
    loss_standard_error: float
    seconds: float
    history: list[dict[str, float]]


@dataclass(frozen=True)
class ShortTraining:
    """All that the short training of one shape needs; a value that travels to a worker."""

    tokens: Tokens
    settings: PretrainingSettings
    max_positions: int
    states: Any

    def run(self, index: int, shape: BertShape) -> CandidateError:
        """Train one shape from its seed and score it on the validation split."""
        model = new_encoder(shape, self.tokens, max_positions=self.max_positions, settings=self.settings)
        result = pretrain(model, self.tokens, self.settings, states=self.states, name=f"search/{shape.identifier}")
        quality = score(model, self.tokens, split="validation", num_threads=self.settings.num_threads)
        return CandidateError(
            index,
            1.0 - quality.accuracy,
            quality.accuracy_standard_error,
            quality.loss,
            quality.loss_standard_error,
            result.seconds,
            result.history,
        )


def train_candidates(
    shapes: Sequence[BertShape],
    strategy: Strategy,
    training: ShortTraining,
    *,
    engine: str,
    num_workers: int,
) -> dict[int, CandidateError]:
    """Train what the strategy asks for until it asks for nothing more.

    Results do not depend on the engine, the number of workers or the order in which candidates finish.

    Args:
        shapes: The ordered space.
        strategy: Told the errors, says whom to train next.
        training: What one candidate's training needs.
        engine: A joblib backend, or ``sequential``.
        num_workers: Candidates at a time.

    Returns:
        Results by index, in rising order.
    """
    done: dict[int, CandidateError] = {}
    while wanted := strategy.ask(_errors(done)):
        for result in _run(wanted, shapes, training, engine, num_workers):
            done[result.index] = result
    return dict(sorted(done.items()))


def _errors(done: Mapping[int, CandidateError]) -> dict[int, float]:
    return {index: result.error for index, result in done.items()}


def _run(
    wanted: Sequence[int],
    shapes: Sequence[BertShape],
    training: ShortTraining,
    engine: str,
    num_workers: int,
) -> Any:
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky import get_reusable_executor

    # Longest first, so that no worker is left alone with the largest candidate at the end.
    jobs = [delayed(training.run)(index, shapes[index]) for index in sorted(wanted, reverse=True)]
    with parallel_config(backend=engine, n_jobs=num_workers):
        results = Parallel(return_as="generator_unordered")(jobs)
        yield from track(results, "training candidates", total=len(jobs))
    if engine == "loky":
        # Idle workers would hold their memory, torch included, for minutes.
        get_reusable_executor().shutdown(wait=True)

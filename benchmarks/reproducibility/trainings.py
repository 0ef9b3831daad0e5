"""Train one small encoder in one of the ways, in a process of its own, and keep what it became."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.configured import raw_parameters
from benchmarks.reproducibility.settings import Variant
from bort_kedro.configuration import check_parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bort_kedro.encoders.shapes import BertShape
    from bort_kedro.pretraining.settings import PretrainingSettings
    from bort_kedro.text.tokens import Tokens

# The student of the smoke environment, for longer, and in fp32 on every processor.
STEPS = 200


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a training came to.

    Args:
        losses: By step, those of the history.
        accuracy: Of predicted tokens on the test split.
        loss: Mean cross-entropy there, in nats.
        loss_standard_error: Of that mean.
        weights: (P,) all of them, in the order of their names.
    """

    losses: dict[int, float]
    accuracy: float
    loss: float
    loss_standard_error: float
    weights: NDArray[np.float32]

    def apart_from(self, other: Outcome) -> Difference:
        """How far this one is from the other."""
        steps = [step for step, loss in self.losses.items() if other.losses.get(step, loss) != loss]
        length = float(np.linalg.norm(other.weights.astype(float)))
        return Difference(
            is_equal=np.array_equal(self.weights, other.weights),
            first_step=min(steps, default=None),
            weights=float(np.linalg.norm(self.weights.astype(float) - other.weights)) / length,
            loss=self.loss - other.loss,
            accuracy=self.accuracy - other.accuracy,
        )


@dataclass(frozen=True)
class Difference:
    """Between two trainings.

    Args:
        is_equal: Whether all weights are, bit for bit.
        first_step: The first logged step whose loss differs; None where none does.
        weights: Length of the difference of all weights, as a share of the length of the weights.
        loss: Difference of the loss on the test split, in nats.
        accuracy: Difference of the share of tokens that are predicted rightly there.
    """

    is_equal: bool
    first_step: int | None
    weights: float
    loss: float
    accuracy: float


def settings_of(variant: Variant, num_steps: int) -> PretrainingSettings:
    """Those of the smoke environment's student, as the variant changes them."""
    plain = check_parameters(raw_parameters("smoke")).pretrain_distill.student
    optimization = plain.optimization.changed(
        **{"num_steps": num_steps, "mixed_precision": "no"} | dict(variant.optimization)
    )
    return plain.changed(**{"optimization": optimization, "num_threads": 1} | dict(variant.changes))


def train_one(variant: Variant, tokens: Tokens, shape: BertShape, num_steps: int) -> Outcome:
    """Train from random weights, in this process or in as many as share it, and score on the test split."""
    from bort_kedro.datasets.training_states import TrainingStates
    from bort_kedro.pretraining.launch import PretrainingJob, run_job
    from bort_kedro.pretraining.pretrain import new_encoder, score
    from bort_kedro.pretraining.settings import LaunchSettings

    how = settings_of(variant, num_steps)
    model = new_encoder(shape, tokens, max_positions=64, settings=how)
    with TemporaryDirectory() as folder:
        states = TrainingStates(Path(folder), keep=2)
        job = PretrainingJob(model, tokens, how, states, "small", "random", None, None, "", None)
        result = run_job(job, LaunchSettings(num_processes=variant.num_processes, sharding="none"))
    found = score(model, tokens, split="test", num_threads=how.num_threads)
    tensors = [tensor.detach().numpy().ravel() for _, tensor in sorted(model.named_parameters())]
    losses = {int(row["step"]): float(row["loss"]) for row in result.history if "loss" in row}
    return Outcome(losses, found.accuracy, found.loss, found.loss_standard_error, np.concatenate(tensors))


def tokens_and_shape() -> tuple[Any, Any]:
    """Of the smoke environment: its corpus in tokens, and its maximum point."""
    from benchmarks.search.measured_space import tokens_of
    from benchmarks.texts import embedded_text

    parameters = check_parameters(raw_parameters("smoke"))
    return tokens_of(embedded_text(("accelerate", "joblib", "kedro")), parameters), parameters.search.stated_maximum()

"""Which shape a student has: the search among the encoder's parts, under a cap on their operations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.pipelines.search import nodes, training_nodes
from bort_kedro.search.answers import smallest_error
from bort_kedro.search.candidates import join_errors, order

if TYPE_CHECKING:
    from benchmarks.real.material import Material
    from bort_kedro.frozen import JsonObject


# Of the shapes under a cap those that come nearest to it are candidates: what may cost more is seldom worse.
NUM_CANDIDATES = 16


@dataclass(frozen=True)
class Selected:
    """The answer of a search.

    Args:
        shape: Nearest to the encoder after its short training.
        num_allowed: Shapes under the cap.
        num_candidates: Those nearest to the cap.
        num_trained: Of these.
        distance: Of the shape from the encoder on held-out text, in nats.
        runner_up: Of the next best; None of a single candidate.
        seconds: Of the trainings.
    """

    shape: BertShape
    num_allowed: int
    num_candidates: int
    num_trained: int
    distance: float
    runner_up: float | None
    seconds: float


def select(material: Material, cap: float, states: Path) -> Selected:
    """The shape that comes nearest to the encoder within a share of its operations.

    Args:
        material: Encoder and text.
        cap: Share of the operations.
        states: Of the search; a candidate that was trained before is not trained again.

    Raises:
        SystemExit: If no part of the encoder is so small.
    """
    parameters, tokens, encoder = material.parameters, material.tokens, material.encoder
    search, max_positions = parameters.search, parameters.corpus.max_positions
    shapes, _, maximum_shape = nodes.enumerate_candidates(search, encoder)
    costs, maximum, _ = nodes.estimate_costs(shapes, maximum_shape, tokens, search, max_positions)
    most = cap * maximum["operations"]
    allowed = costs.assign(cost=costs["operations"].astype(float))[costs["operations"] <= most]
    if allowed.empty:
        raise SystemExit(
            f"No part of the encoder {BertShape.from_row(maximum)} has at most {cap:.0%} of its operations."
        )
    space, kept = order(allowed.nlargest(NUM_CANDIDATES, "operations")), TrainingStates(states, keep=1)
    sized = maximum | {"cost": float(maximum["operations"])}
    scored: JsonObject = training_nodes.score_maximum_point(
        encoder, tokens, encoder.tokenizer, kept, sized, search, max_positions
    )
    errors, _, _ = training_nodes.measure_errors(
        space, scored, encoder, {}, tokens, encoder.tokenizer, kept, search, max_positions
    )
    return _answer(space, errors, num_allowed=len(allowed))


def _answer(space: pd.DataFrame, errors: pd.DataFrame, *, num_allowed: int) -> Selected:
    """Of the candidates that were trained the one with the smallest error, which is the distance."""
    table = join_errors(space, errors).query("is_trained")
    best = smallest_error(table, "error")
    others = table["error"].drop(best)
    return Selected(
        shape=BertShape.from_row(table.loc[best].to_dict()),
        num_allowed=num_allowed,
        num_candidates=len(space),
        num_trained=len(table),
        distance=float(table["error"].loc[best]),
        runner_up=float(others.min()) if len(others) else None,
        seconds=float(errors["seconds"].sum()),
    )

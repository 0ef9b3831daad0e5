"""The AB^nC property of a space: do the layers outgrow the embeddings and the head?

The search's guarantees rest on it. It holds by degree for every space of BERT shapes; how far it holds at the
sizes of a given one is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bort_kedro.encoders.costs import (
    ShapeArrays,
    count_embedding_operations,
    count_head_operations,
    count_operations,
    count_parameters,
)
from bort_kedro.encoders.shapes import SHAPE_COLUMNS, BertShape


@dataclass(frozen=True)
class PartGrowth:
    """How one quantity of the layers grows beside that of the other parts, over all steps of a space.

    Args:
        quantity: ``parameters`` or ``operations``.
        num_steps: Pairs of candidates of which one has the next larger value of one list, all else equal.
        num_above_embeddings: Those in which the layers grow at least as much as the embeddings, in scalars.
        num_above_head: Those in which they grow at least as much as the masked-LM head.
        num_above_both: Those in which they do both.
        failing_axes: Number of the other steps, by the parameter that is stepped.
    """

    quantity: str
    num_steps: int
    num_above_embeddings: int
    num_above_head: int
    num_above_both: int
    failing_axes: dict[str, int]


@dataclass(frozen=True)
class GrowthCheck:
    """Growth of parameters and of operations."""

    parameters: PartGrowth
    operations: PartGrowth

    @property
    def holds(self) -> bool:
        """True when the layers grow at least as much as the other parts in every step of the space."""
        return all(part.num_above_both == part.num_steps for part in (self.parameters, self.operations))

    def sentence(self) -> str:
        """What was found, in plain words."""
        by_degree = (
            "The AB^nC condition holds by degree: as polynomials in D, A, H and I, parameters and operations of the "
            "layers are of degree 3 (D H^2, D H I), those of the head of degree 2 (H^2), those of the embeddings of "
            "degree 1 (H)."
        )
        steps = self.parameters.num_steps
        if not steps:
            return f"{by_degree} No two candidates of this space are one step apart, so its sizes say nothing of it."
        if self.holds:
            return (
                f"{by_degree} It holds at the sizes of this space too: in all of its {steps} steps to the next value "
                "the layers grow at least as much as embeddings and head, in parameters and in operations."
            )
        counts = " and ".join(
            f"{part.num_above_both} for {part.quantity}" for part in (self.parameters, self.operations)
        )
        failing = [
            name for name in SHAPE_COLUMNS if name in {**self.parameters.failing_axes, **self.operations.failing_axes}
        ]
        return (
            f"{by_degree} At the sizes of this space, of {steps} steps to the next value, the layers grow at least as "
            f"much as embeddings and head in {counts}; the others are steps of {' and '.join(failing)}."
        )


def check_growth(
    shapes: Sequence[BertShape], *, vocabulary_size: int, max_positions: int, sequence_length: int
) -> GrowthCheck:
    """Compare the growth of layers, embeddings and head over every step of a space of different shapes.

    Growth is the difference between the larger and the smaller candidate. The head is counted over all positions of the
    sequence, not over the share that is masked in training: the harder case.

    References:
        de Wynter 2020, arXiv 2010.08512, for the property; that it is asked of single steps is our reading.
    """
    arrays = ShapeArrays.of(shapes)
    steps = _steps(np.column_stack([getattr(arrays, name) for name in SHAPE_COLUMNS]))
    parameters = count_parameters(arrays, vocabulary_size=vocabulary_size, max_positions=max_positions)
    layers = count_operations(arrays, sequence_length=sequence_length)
    embeddings = count_embedding_operations(arrays, sequence_length=sequence_length)
    head = count_head_operations(arrays, vocabulary_size=vocabulary_size, num_positions=sequence_length)
    return GrowthCheck(
        _growth("parameters", steps, parameters.encoder, parameters.embeddings, parameters.masked_lm_head),
        _growth("operations", steps, layers.total, embeddings.total, head.total),
    )


def _steps(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """(S, 3) of the axis, the smaller and the larger candidate of each step in a space of (N, 4) rows."""
    places = np.empty_like(rows)
    for axis, values in enumerate(rows.T):
        places[:, axis] = np.unique(values, return_inverse=True)[1]
    # A candidate's places in the four lists, as one number; one step on an axis adds that axis' unit.
    sizes = places.max(axis=0, initial=0) + 1
    units = np.array([sizes[axis + 1 :].prod() for axis in range(rows.shape[1])], dtype=np.int64)
    keys = places @ units
    order = np.argsort(keys)
    found = []
    for axis, unit in enumerate(units):
        smaller = np.flatnonzero(places[:, axis] + 1 < sizes[axis])
        at = np.minimum(np.searchsorted(keys, keys[smaller] + unit, sorter=order), len(keys) - 1)
        larger = order[at]
        is_there = keys[larger] == keys[smaller] + unit
        found.append(np.column_stack([np.full(is_there.sum(), axis), smaller[is_there], larger[is_there]]))
    return np.concatenate(found)


def _growth(
    quantity: str,
    steps: NDArray[np.int64],
    layers: NDArray[np.int64],
    embeddings: NDArray[np.int64],
    head: NDArray[np.int64],
) -> PartGrowth:
    axes, smaller, larger = steps.T
    middle = layers[larger] - layers[smaller]
    above_embeddings = middle >= embeddings[larger] - embeddings[smaller]
    above_head = middle >= head[larger] - head[smaller]
    above_both = above_embeddings & above_head
    failing, numbers = np.unique(axes[~above_both], return_counts=True)
    return PartGrowth(
        quantity=quantity,
        num_steps=len(steps),
        num_above_embeddings=int(above_embeddings.sum()),
        num_above_head=int(above_head.sum()),
        num_above_both=int(above_both.sum()),
        failing_axes={SHAPE_COLUMNS[axis]: int(number) for axis, number in zip(failing, numbers, strict=True)},
    )

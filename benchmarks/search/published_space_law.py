"""Where a shape ranks in a space by W when errors are unknown, and what they would have to be for it to win.

The published search (de Wynter and Perry 2020, arXiv 2010.10499) names its choice and not its errors. Parameters and
operations are exact, so the size factors of W are, and with them the ratios of errors that the choice asks for. Beyond
that, ranks follow only under a law for the error: a power of the size, or a regression on measured shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from enum import StrEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bort_kedro.encoders.costs import ShapeArrays, count_operations, count_parameters
from bort_kedro.encoders.shapes import SHAPE_COLUMNS, BertShape
from bort_kedro.errors import ShapeError
from bort_kedro.search.w_coefficient import MaximumPoint, size_factor, w_coefficient

# Column of the shapes given as arrays.
HEADS = SHAPE_COLUMNS.index("num_attention_heads")


class Counted(StrEnum):
    """Which parameters an error is supposed to depend on."""

    LAYERS = "layers"
    ALL = "all"


@dataclass(frozen=True)
class CountedSpace:
    """A search space with everything about it that is known without training.

    Args:
        shapes: The N members.
        parameters: (N,) p of the masked-LM encoder.
        layer_parameters: (N,) those without embeddings and head.
        operations: (N,) i: operations of the layers for one sequence.
        maximum: T, its error set to 1; that constant changes no ranking.
        maximum_layer_parameters: Of T, without embeddings and head.
    """

    shapes: tuple[BertShape, ...]
    parameters: NDArray[np.float64]
    layer_parameters: NDArray[np.float64]
    operations: NDArray[np.float64]
    maximum: MaximumPoint
    maximum_layer_parameters: float

    def index(self, shape: BertShape) -> int:
        """Position of a member.

        Raises:
            ShapeError: If the shape is not in the space.
        """
        if shape not in self.shapes:
            raise ShapeError(
                f"BERT shape {shape} is not one of the {len(self.shapes)} shapes of the space, so it has no rank "
                "there. Name a member, or add its values under params:search.space."
            )
        return self.shapes.index(shape)

    @property
    def array(self) -> NDArray[np.int64]:
        """(N, 4) D, A, H and I of each member."""
        return np.array([astuple(shape) for shape in self.shapes], dtype=np.int64)

    def sizes(self, counted: Counted) -> tuple[NDArray[np.float64], float]:
        """(N,) parameters of the members and those of T."""
        if counted is Counted.LAYERS:
            return self.layer_parameters, self.maximum_layer_parameters
        return self.parameters, self.maximum.parameters

    def scaled_maximum(self, multiple: float) -> MaximumPoint:
        """T with its parameters and operations multiplied."""
        return replace(self.maximum, parameters=multiple * self.maximum.parameters, cost=multiple * self.maximum.cost)


def count_space(
    shapes: Sequence[BertShape],
    maximum_shape: BertShape,
    *,
    vocabulary_size: int,
    max_positions: int,
    sequence_length: int,
) -> CountedSpace:
    """Count parameters and operations of a space and of its maximum point.

    Args:
        shapes: The members.
        maximum_shape: T; must exceed every member in parameters and operations.
        vocabulary_size: V of every encoder.
        max_positions: Position embeddings of every encoder.
        sequence_length: L, for the operations.

    Raises:
        ShapeError: If a member is no smaller than T: a size factor of W would be zero or negative there.
    """
    arrays = ShapeArrays.of((*shapes, maximum_shape))
    counts = count_parameters(arrays, vocabulary_size=vocabulary_size, max_positions=max_positions)
    *parameters, maximum_parameters = counts.total.tolist()
    *operations, maximum_operations = count_operations(arrays, sequence_length=sequence_length).total.tolist()
    for shape, size, cost in zip(shapes, parameters, operations, strict=True):
        if size >= maximum_parameters or cost >= maximum_operations:
            raise ShapeError(
                f"BERT shape {shape} has {size:,} parameters and {cost:,} operations, no fewer than the maximum "
                f"point {maximum_shape} with {maximum_parameters:,} and {maximum_operations:,}; W needs fewer of "
                "both. Take it out of params:search.space or enlarge params:search.maximum_point."
            )
    return CountedSpace(
        shapes=tuple(shapes),
        parameters=np.array(parameters, dtype=float),
        layer_parameters=counts.encoder[:-1].astype(float),
        operations=np.array(operations, dtype=float),
        maximum=MaximumPoint(parameters=float(maximum_parameters), cost=float(maximum_operations), error=1.0),
        maximum_layer_parameters=float(counts.encoder[-1]),
    )


def required_error_ratios(space: CountedSpace, choice: BertShape, *, multiple: float = 1.0) -> NDArray[np.float64]:
    """(N,) the ratio e(g) / e(choice) that each member g must exceed for the choice to have the larger W.

    W(choice) > W(g) if and only if e(g) / e(choice) > a(g) / a(choice), a being the product of W's two size factors.
    Above 1, the member is cheaper and must err more; below 1, it is dearer and may err less, down to this ratio.

    Args:
        space: The candidates.
        choice: A member; its own entry is 1.
        multiple: Times the parameters and operations of T.

    Raises:
        ShapeError: If the choice is not in the space.
    """
    factors = size_factor(space.scaled_maximum(multiple), parameters=space.parameters, cost=space.operations)
    return np.asarray(factors / factors[space.index(choice)], dtype=np.float64)


def steps_from(space: CountedSpace, choice: BertShape) -> dict[str, list[int]]:
    """Indices of the members that differ from the choice on one axis only, by axis, in rising order of its value."""
    values = space.array
    differs = values != values[space.index(choice)]
    return {
        axis: sorted(np.flatnonzero(differs[:, column] & (differs.sum(axis=1) == 1)), key=lambda g: values[g, column])
        for column, axis in enumerate(SHAPE_COLUMNS)
    }


def blockers(space: CountedSpace, choice: BertShape, counted: Counted, *, multiple: float = 1.0) -> NDArray[np.int64]:
    """Indices of members with a larger size factor than the choice and no fewer parameters.

    While there is one, the choice wins under no error that depends on those parameters alone and never rises with
    them: the blocker errs no more and costs less.

    Args:
        space: The candidates.
        choice: A member.
        counted: Which parameters the error depends on.
        multiple: Times the parameters and operations of T.
    """
    sizes, _ = space.sizes(counted)
    cheaper = required_error_ratios(space, choice, multiple=multiple) > 1
    return np.flatnonzero(cheaper & (sizes >= sizes[space.index(choice)]))


def power_law_errors(space: CountedSpace, alpha: float, counted: Counted) -> NDArray[np.float64]:
    """(N,) e(f) / e(T) = (p(f) / p(T)) ** -alpha.

    Args:
        space: The candidates.
        alpha: The exponent, 0 (size does not matter) or more.
        counted: Which parameters p counts.

    References:
        Kaplan et al. 2020, arXiv 2001.08361: the loss of language models as a power of their parameters without
        embeddings. That the error rate follows one too is an assumption.
    """
    sizes, maximum_size = space.sizes(counted)
    return np.asarray((sizes / maximum_size) ** -alpha, dtype=np.float64)


def scores(space: CountedSpace, error: NDArray[np.floating], *, multiple: float = 1.0) -> NDArray[np.float64]:
    """(N,) W of each member, given its error as a multiple of e(T)."""
    return w_coefficient(
        space.scaled_maximum(multiple), parameters=space.parameters, cost=space.operations, error=error
    )


def ranks(w: NDArray[np.floating]) -> NDArray[np.int64]:
    """(N,) 1 for the largest W; equal ones share the better rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-w, method="min"), dtype=np.int64)


def ranks_heads_aside(space: CountedSpace, w: NDArray[np.floating]) -> NDArray[np.int64]:
    """(N,) ranks among the distinct (D, H, I), each taken with its best number of heads.

    Heads hold no parameters and next to no operations: a law of the size puts the fewest first, by a hair.
    """
    from scipy.stats import rankdata

    _, group = np.unique(np.delete(space.array, HEADS, axis=1), axis=0, return_inverse=True)
    best = np.full(group.max() + 1, -np.inf)
    np.maximum.at(best, group.ravel(), w)
    return np.asarray(rankdata(-best, method="min")[group.ravel()], dtype=np.int64)


def sweep_power_law(
    space: CountedSpace,
    alphas: Sequence[float] | NDArray[np.floating],
    counted: Counted,
    *,
    followed: Sequence[BertShape],
    multiple: float = 1.0,
) -> pd.DataFrame:
    """The winner, and the ranks of some members, as the exponent of the power law changes.

    Args:
        space: The candidates.
        alphas: Exponents.
        counted: As for `power_law_errors`.
        followed: Members whose ranks are wanted.
        multiple: Times the parameters and operations of T.

    Returns:
        One row for each exponent: ``alpha``, ``winner`` (index), and for each followed member its ``identifier``
        (rank) and ``identifier:heads_aside`` (rank among the distinct D, H, I).
    """
    indices = {shape.identifier: space.index(shape) for shape in followed}
    rows = []
    for alpha in alphas:
        w = scores(space, power_law_errors(space, float(alpha), counted), multiple=multiple)
        row: dict[str, float | int] = {"alpha": float(alpha), "winner": int(np.argmax(w))}
        by_all, by_rest = ranks(w), ranks_heads_aside(space, w)
        for identifier, index in indices.items():
            row |= {identifier: int(by_all[index]), f"{identifier}:heads_aside": int(by_rest[index])}
        rows.append(row)
    return pd.DataFrame(rows)


def intervals(values: NDArray[np.floating], holds: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """First and last value of each unbroken run in which something holds, on a rising grid."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(int)))
    return [(float(values[first]), float(values[after - 1])) for first, after in edges.reshape(-1, 2)]


@dataclass(frozen=True)
class Extrapolation:
    """Ranks in a space under a regression of measured errors, and how they scatter.

    Args:
        predicted: (N,) error of each member, by the regression on all rows.
        is_quadratic: Whether that regression has squares and products, which run away far from the rows.
        winner: Index of the member with the largest W.
        rank: (K,) of the members followed.
        resampled_winners: (B,) the winner of each resampling.
        resampled_ranks: (B, K) the ranks in each.
    """

    predicted: NDArray[np.float64]
    is_quadratic: bool
    winner: int
    rank: NDArray[np.int64]
    resampled_winners: NDArray[np.int64]
    resampled_ranks: NDArray[np.int64]


def extrapolate(
    space: CountedSpace,
    measured: NDArray[np.integer],
    errors: NDArray[np.floating],
    *,
    followed: Sequence[BertShape],
    resamplings: int,
    seed: int,
    multiple: float = 1.0,
) -> Extrapolation:
    """Carry errors measured on other shapes over to the space by regression on the log-shape.

    The spread is that of a bootstrap over the measured shapes, each with all its rows. It says how far the ranks
    hang on the shapes that happened to be measured, not how wrong the regression is so far from them.

    Args:
        space: The candidates.
        measured: (M, 4) D, A, H and I of each measured row; a shape may come more than once.
        errors: (M,) above 0.
        followed: The K members whose ranks are wanted.
        resamplings: B, bootstrap draws.
        seed: Of the draws.
        multiple: Times the parameters and operations of T.

    Raises:
        TrainingError: If there is no row, or an error that is not above 0.
    """
    from bort_kedro.search.error_model import ErrorModel

    model = ErrorModel.fit(measured, errors)
    predicted, _ = model.predict(space.array)
    drawn = [
        ErrorModel.fit(measured[rows], errors[rows]).predict(space.array)[0]
        for rows in _resampled_rows(measured, resamplings, seed)
    ]
    indices = [space.index(shape) for shape in followed]
    w = [scores(space, error, multiple=multiple) for error in (predicted, *drawn)]
    winners = np.array([np.argmax(each) for each in w], dtype=np.int64)
    all_ranks = np.array([ranks(each)[indices] for each in w], dtype=np.int64)
    return Extrapolation(predicted, model.is_quadratic, int(winners[0]), all_ranks[0], winners[1:], all_ranks[1:])


def _resampled_rows(measured: NDArray[np.integer], resamplings: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Rows of as many shapes as there are, drawn with replacement; a shape brings all its rows."""
    generator = np.random.default_rng(seed)
    distinct, shape_of_row = np.unique(measured, axis=0, return_inverse=True)
    rows_of_shape = [np.flatnonzero(shape_of_row.ravel() == shape) for shape in range(len(distinct))]
    for _ in range(resamplings):
        drawn = generator.integers(len(distinct), size=len(distinct))
        yield np.concatenate([rows_of_shape[shape] for shape in drawn])

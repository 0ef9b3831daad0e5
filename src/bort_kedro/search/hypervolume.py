"""How much of the objectives' space a front dominates, and how much more a candidate is expected to add.

Three objectives x, y, z, all to be minimised. Seen from above, the points cut the (x, y) plane into a grid of
cells; in each cell the lowest z reached so far is constant, and equals the reference's where nothing was reached.
"""

import numpy as np
from numpy.typing import NDArray

from bort_kedro.search.w_coefficient import pareto_front


def hypervolume(points: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Volume of the box up to the (3,) reference, the worst corner, that (N, 3) points dominate, exactly; N may be 0.

    Time and memory grow with the square of the number of points on the front. A row with a NaN, or not below the
    reference in every coordinate, adds nothing.

    References:
        Zitzler and Thiele 1998, "Multiobjective optimization using evolutionary algorithms", for the measure.
    """
    front = _front_within(points, reference)
    x_edges, y_edges, lowest = _cells(front, reference)
    return float(np.diff(x_edges) @ (reference[2] - lowest) @ np.diff(y_edges))


def expected_gain(
    candidates_xy: NDArray[np.floating],
    mean: NDArray[np.floating],
    standard_deviation: NDArray[np.floating],
    points: NDArray[np.floating],
    reference: NDArray[np.floating],
) -> NDArray[np.float64]:
    """(M,) expected increase of the hypervolume by each candidate alone, in closed form.

    A candidate's x and y are known exactly and its z is Normal. Its gain is the sum over cells of the area it
    reaches (x' >= x and y' >= y, up to the reference) times the expected improvement on the cell's lowest z. Cells
    with one lowest z form a level; within a cell, the area that a candidate reaches of a level is bilinear in
    (x, y), so it follows from the four corners, and the work is M times the number of levels.

    Args:
        candidates_xy: (M, 2).
        mean: (M,) of z.
        standard_deviation: (M,) of z, 0 or more; 0 means that z is known too.
        points: (N, 3), what was reached; rows count as in `hypervolume`.
        reference: (3,).

    References:
        Jones, Schonlau and Welch 1998 for the expected improvement; Emmerich, Giannakoglou and Naujoks 2006 for its
        sum over cells. One uncertain objective makes the sum as short as here (our derivation).
    """
    from scipy.special import ndtr

    front = _front_within(points, reference)
    x_edges, y_edges, lowest = _cells(front, reference, start=candidates_xy.min(axis=0, initial=np.inf))
    areas = np.outer(np.diff(x_edges), np.diff(y_edges))
    columns, column_shares = _places(candidates_xy[:, 0], x_edges)
    rows, row_shares = _places(candidates_xy[:, 1], y_edges)

    is_uncertain = standard_deviation > 0
    scale = np.where(is_uncertain, standard_deviation, 1.0)
    gain = np.zeros(len(mean))
    for level in np.unique(lowest):
        corners = _reachable_areas(np.where(lowest == level, areas, 0.0))
        low = corners[columns, rows] * (1 - row_shares) + corners[columns, rows + 1] * row_shares
        high = corners[columns + 1, rows] * (1 - row_shares) + corners[columns + 1, rows + 1] * row_shares
        reached = low * (1 - column_shares) + high * column_shares

        difference = level - mean
        ratio = difference / scale
        density = np.exp(-0.5 * ratio**2) / np.sqrt(2 * np.pi)
        improvement = np.where(is_uncertain, difference * ndtr(ratio) + scale * density, difference)
        gain += reached * np.maximum(improvement, 0.0)
    return gain


def _front_within(points: NDArray[np.floating], reference: NDArray[np.floating]) -> NDArray[np.floating]:
    """The rows below the reference that no other beats; comparisons with NaN are False."""
    inside = points[(points < reference).all(axis=1)]
    return inside[pareto_front(inside)]


def _cells(
    front: NDArray[np.floating], reference: NDArray[np.floating], *, start: NDArray[np.floating] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Edges (X + 1,) and (Y + 1,) of the cells, up to the reference, and the lowest z (X, Y) in each.

    The grid begins below ``start`` and below the reference, so that there is always a cell.
    """
    begin = np.minimum(reference[:2] if start is None else start, reference[:2]) - 1.0
    x_edges = np.unique([begin[0], *front[:, 0], reference[0]])
    y_edges = np.unique([begin[1], *front[:, 1], reference[1]])
    lowest = np.full((len(x_edges) - 1, len(y_edges) - 1), float(reference[2]))
    columns, rows = np.searchsorted(x_edges, front[:, 0]), np.searchsorted(y_edges, front[:, 1])
    np.minimum.at(lowest, (columns, rows), front[:, 2])
    lowest = np.minimum.accumulate(np.minimum.accumulate(lowest, axis=0), axis=1)
    return x_edges, y_edges, lowest


def _places(values: NDArray[np.floating], edges: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """(M,) the cell of each value and the share of the cell that lies below it; beyond the last edge, its end."""
    cells = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    shares = (np.minimum(values, edges[-1]) - edges[cells]) / (edges[cells + 1] - edges[cells])
    return cells, shares


def _reachable_areas(areas: NDArray[np.float64]) -> NDArray[np.float64]:
    """(X + 1, Y + 1) area at or beyond each corner, from (X, Y) areas of cells."""
    corners = np.zeros((areas.shape[0] + 1, areas.shape[1] + 1))
    corners[:-1, :-1] = areas[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1]
    return corners

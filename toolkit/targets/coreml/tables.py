"""Look-up tables for weights: the values that a tensor, or a group of its channels, is allowed to have.

``kmeans`` places them where the sum of squared errors is least. In one dimension that optimum is found exactly by
dynamic programming over the sorted values (Wang and Song 2011, "Ckmeans.1d.dp", The R Journal 3/2); more values than
``_EXACT`` are first merged into as many weighted means, and the result is refined on all of them by Lloyd's iteration
(Lloyd 1982, IEEE Trans. Inf. Theory 28/2). ``uniform`` spaces them evenly from the least value to the largest.
Nothing here is random, so equal weights give equal builds.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["kmeans", "uniform"]

_EXACT = 256
_ROUNDS = 30


def look_up_table(values: NDArray[Any], bits: int, method: Method) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return ``2 ** bits`` values in the dtype of ``values``, ascending, and the index of the nearest for each value.

    The indices [values.size] are in row-major order.
    """
    flat = values.reshape(-1).astype(np.float64)
    count = 2**bits
    entries = _uniform(flat, count) if method == "uniform" else _kmeans(flat, count)
    table = entries.astype(values.dtype)
    borders = (table[1:].astype(np.float64) + table[:-1]) / 2
    return table, np.searchsorted(borders, flat).astype(np.uint8)


def _uniform(flat: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return np.linspace(flat.min(), flat.max(), count)


def _kmeans(flat: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    points, weights = np.unique(flat, return_counts=True)
    if len(points) <= count:
        return np.concatenate([points, np.full(count - len(points), points[-1])])
    merged, mass = _merged(points, weights.astype(np.float64))
    centres = _optimal(merged, mass, count)
    return centres if len(points) == len(merged) else _refined(points, weights.astype(np.float64), centres)


def _merged(points: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Merge neighbours into at most ``_EXACT`` weighted means, even in rank and in distance alike."""
    if len(points) <= _EXACT:
        return points, weights
    rank = (np.cumsum(weights) - weights / 2) / weights.sum()
    place = (points - points[0]) / (points[-1] - points[0])
    parts = np.minimum(((rank + place) / 2 * _EXACT).astype(int), _EXACT - 1)
    mass = np.bincount(parts, weights, _EXACT)
    means = np.bincount(parts, weights * points, _EXACT)
    used = mass > 0
    return means[used] / mass[used], mass[used]


def _optimal(points: NDArray[np.float64], weights: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the means of the partition of sorted points into ``count`` runs with the least squared error."""
    shifted = points - np.average(points, weights=weights)  # prefix sums of squares then cancel little
    mass, first, second = (np.concatenate([[0.0], np.cumsum(weights * shifted**power)]) for power in (0, 1, 2))
    run = mass[None, :] - mass[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = second[None, :] - second[:, None] - (first[None, :] - first[:, None]) ** 2 / run
    errors[run <= 0] = np.inf
    best, cuts = errors[0], []
    for _ in range(count - 1):
        total = best[:, None] + errors
        cuts.append(total.argmin(0))
        best = total.min(0)
    borders = [len(points)]
    for cut in reversed(cuts):
        borders.append(int(cut[borders[-1]]))
    ends = np.array([*borders, 0][::-1])
    means = np.diff(first[ends]) / np.diff(mass[ends])
    return np.asarray(means + np.average(points, weights=weights))


def _refined(
    points: NDArray[np.float64], weights: NDArray[np.float64], centres: NDArray[np.float64]
) -> NDArray[np.float64]:
    mass = np.concatenate([[0.0], np.cumsum(weights)])
    first = np.concatenate([[0.0], np.cumsum(weights * points)])
    for _ in range(_ROUNDS):
        inner = np.searchsorted(points, (centres[1:] + centres[:-1]) / 2)
        ends = np.concatenate([[0], inner, [len(points)]])
        share = np.diff(mass[ends])
        moved = np.where(share > 0, np.diff(first[ends]) / np.maximum(share, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres

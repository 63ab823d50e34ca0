"""The threshold at which the rounded distribution tells most of the original: least Kullback-Leibler divergence.

After Migacz, "8-bit inference with TensorRT" (2017): for each candidate threshold the histogram is clipped, what lies
beyond is added to its outermost bins (P), and the clipped bins alone are merged into as many groups as the grid has
values and spread evenly over the filled bins of each group (Q). There are hundreds of candidates here, first all over
the range and then around the best. What lies on every grid is not rounded: exact zeros are left out, and the outermost
bins are groups of their own, as a ReLU6 heaps values up there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolkit.core.artifacts import Range
from toolkit.ranges.base import Grid, Seen

COARSE = 192
FINE = 32
MOST_CUT = 0.01
"""The share of the values that a threshold may leave out at most: divergence alone falls for spiky histograms, such as
constant borders of images make, and would cut off the greater part of them."""
_FLOOR = 1e-7
"""The share that Q is taken to give to a bin that only P fills, so that the divergence stays finite."""

Floats = NDArray[np.float64]


def range_of(seen: Seen, grid: Grid) -> Range:
    """Return ``[-t, t]``, no wider than what was seen, for the threshold ``t`` of least divergence.

    A histogram of fewer bins than the grid has values cannot tell them apart: the range is then that of min-max, as
    always for 16-bit grids.
    """
    divergences = Divergences(seen, grid)
    most, least = divergences.most, divergences.least
    if least >= most:
        return Range(low=seen.low, high=seen.high)
    tried = np.unique(np.linspace(least, most, COARSE).round().astype(int))
    best = int(tried[np.argmin([divergences.at(int(bins)) for bins in tried])])
    stride = -(-(most - least) // COARSE)
    near = np.unique(np.linspace(max(best - stride, least), min(best + stride, most), FINE).round().astype(int))
    near = np.unique(np.append(near, best))
    best = int(near[np.argmin([divergences.at(int(bins)) for bins in near])])
    return seen.within(-best * seen.width, best * seen.width)


class Divergences:
    """The divergence of one tensor's histogram for any threshold, given in bins from zero (``least`` to ``most``)."""

    def __init__(self, seen: Seen, grid: Grid) -> None:
        self._first = seen.first
        self._end = seen.first + len(seen.counts)
        self._counts = seen.counts.astype(np.float64)
        if self._first <= 0 < self._end:
            self._counts[-self._first] -= seen.zeros
        self._ends = np.concatenate([[0.0], np.cumsum(self._counts)])
        self._values = grid.steps + 1
        self.most = max(-self._first, self._end)
        two_sided = self._first < 0 < self._end
        fewest = -(-self._values // 2) if two_sided or grid.symmetric else self._values
        self.least = min(self.most, max(fewest, self._holding(1 - MOST_CUT)))

    def at(self, bins: int) -> float:
        """Return KL(P || Q) in nats for the threshold at this many bins from zero."""
        begin = max(-bins, self._first) - self._first
        end = min(bins, self._end) - self._first
        if end <= begin:
            return float("inf")
        inside = self._counts[begin:end]
        total, kept = self._ends[-1], self._ends[end] - self._ends[begin]
        if kept <= 0:
            return 0.0 if total <= 0 else float("inf")
        wanted = inside.copy()
        wanted[0] += self._ends[begin]
        wanted[-1] += total - self._ends[end]
        filled = wanted > 0
        shares = wanted[filled] / total
        rounded = np.maximum(_merged(inside, self._groups(bins))[filled] / kept, _FLOOR)
        return float(np.sum(shares * np.log(shares / rounded)))

    def _holding(self, share: float) -> int:
        """Return the least threshold that holds a share of the values."""
        bins = np.arange(self.most + 1)
        begins = np.clip(-bins - self._first, 0, len(self._counts))
        ends = np.clip(bins - self._first, 0, len(self._counts))
        held = self._ends[np.maximum(begins, ends)] - self._ends[begins]
        return int(np.argmax(held >= share * self._ends[-1]))

    def _groups(self, bins: int) -> int:
        """Return how many of the grid's values lie in the clipped range: half of a symmetric grid on one side."""
        low, high = max(-bins, min(self._first, 0)), min(bins, max(self._end, 0))
        inside = min(high, self._end) - max(low, self._first)
        return max(3, round(self._values * inside / (high - low)))


def _merged(counts: Floats, groups: int) -> Floats:
    """Spread the sum of each of so many groups of neighbours, the outermost of one bin, evenly over its filled bins."""
    if len(counts) <= groups:
        return counts
    inner = len(counts) - 2
    begins = np.concatenate([[0], 1 + np.arange(groups - 2) * inner // (groups - 2), [len(counts) - 1]])
    filled = counts > 0
    sums = np.add.reduceat(counts, begins)
    numbers = np.add.reduceat(filled.astype(np.float64), begins)
    means = np.divide(sums, numbers, out=np.zeros_like(sums), where=numbers > 0)
    sizes = np.diff(np.append(begins, len(counts)))
    return np.where(filled, np.repeat(means, sizes), 0.0)

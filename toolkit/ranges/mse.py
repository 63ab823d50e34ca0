"""The range with the least mean squared error: a finer grid against the values that it cuts off.

For uniform rounding with step ``s`` the error within the range is ``s**2 / 12`` a value (Bennett 1948); a value beyond
its end loses its distance to it. Exact zeros, as a ReLU makes them, lie on every grid and lose nothing, nor do the
values that a ReLU6 heaps up at the end of a range that is not cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.core.artifacts import Range
from toolkit.ranges.base import Grid, Seen

_COARSE = 96
_FINE = 24

Floats = NDArray[np.float64]


def range_of(seen: Seen, grid: Grid) -> Range:
    """Return the range of least expected squared error: both ends searched together, coarsely and then finely."""
    least, most = min(seen.low, 0.0), max(seen.high, 0.0)
    if least == most:
        return Range(low=seen.low, high=seen.high)
    if grid.symmetric:
        bound = max(-least, most)
        errors = _Errors.of(seen, grid)
        best = _best_bound(lambda ends: errors.at(-ends, ends), bound, seen.width)
        return seen.within(-best, best)
    low, high = _best_ends(_Errors.of(seen, grid), -least, most, seen.width)
    return seen.within(-low, high)


@dataclass(frozen=True, slots=True)
class _Errors:
    """Sums over the histogram from which the error of any range follows at once."""

    edges: Floats
    counts: Floats
    firsts: Floats
    seconds: Floats
    steps: int
    seen: Seen

    @classmethod
    def of(cls, seen: Seen, grid: Grid) -> _Errors:
        edges = seen.edges
        middles = np.clip((edges[:-1] + edges[1:]) / 2, seen.low, seen.high)
        count, first, second = (_summed(seen.counts * middles**power) for power in (0, 1, 2))
        return cls(edges, count, first, second, grid.steps, seen)

    def at(self, low: Floats, high: Floats) -> Floats:
        """Return the sum of squared errors of ranges, for arrays of ends that broadcast."""
        below, above = (self._sums(ends) for ends in (low, high))
        total = (self.counts[-1], self.firsts[-1], self.seconds[-1])
        over = tuple(whole - part for whole, part in zip(total, above, strict=True))
        inside = np.maximum(total[0] - below[0] - over[0] - self._on_grid(low, high), 0)
        step = (high - low) / self.steps
        cut = (_squares(sums, end) for sums, end in ((below, low), (over, high)))
        return np.asarray(inside * step**2 / 12 + sum(np.maximum(lost, 0) for lost in cut))

    def _on_grid(self, low: Floats, high: Floats) -> Floats:
        """Return how many values lie on the grid as they are: zeros, and those at an end that is not cut."""
        seen = self.seen
        at_low = np.where(low <= seen.low, seen.at_low if seen.low < 0 else 0, 0)
        at_high = np.where(high >= seen.high, seen.at_high if seen.high > 0 else 0, 0)
        return np.asarray(seen.zeros + at_low + at_high, np.float64)

    def _sums(self, ends: Floats) -> tuple[Floats, Floats, Floats]:
        counts, firsts, seconds = (
            np.interp(ends, self.edges, sums) for sums in (self.counts, self.firsts, self.seconds)
        )
        return counts, firsts, seconds


def _squares(sums: tuple[Floats, Floats, Floats], end: Floats) -> Floats:
    """Return the sum of squared distances to an end, from count, sum and sum of squares of what lies beyond."""
    count, first, second = sums
    return second - 2 * end * first + end**2 * count


def _summed(values: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(values)])


def candidates(bound: float, width: float, count: int = _COARSE) -> Floats:
    """Return distances from zero to try: evenly and geometrically spaced, so that a small bulk is found too."""
    if bound <= 0:
        return np.zeros(1)
    least = min(width, bound)
    return np.unique(np.concatenate([np.linspace(bound / count, bound, count), np.geomspace(least, bound, count // 2)]))


def _around(tried: Floats, best: int, count: int = _FINE) -> Floats:
    before, after = tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)]
    return np.unique(np.append(np.linspace(before, after, count), tried[best]))


def _best_bound(error: Callable[[Floats], Floats], bound: float, width: float) -> float:
    tried = candidates(bound, width)
    for _ in range(2):
        tried = _around(tried, int(np.argmin(error(tried))))
    return float(tried[int(np.argmin(error(tried)))])


def _best_ends(errors: _Errors, low_bound: float, high_bound: float, width: float) -> tuple[float, float]:
    """Return how far to go below and above zero."""
    lows, highs = candidates(low_bound, width), candidates(high_bound, width)
    low, high = _least(errors, lows, highs)
    for _ in range(2):
        lows, highs = _around(lows, low), _around(highs, high)
        low, high = _least(errors, lows, highs)
    return float(lows[low]), float(highs[high])


def _least(errors: _Errors, lows: Floats, highs: Floats) -> tuple[int, int]:
    found = errors.at(-lows[:, None], highs[None, :])
    low, high = np.unravel_index(int(np.argmin(found)), found.shape)
    return int(low), int(high)

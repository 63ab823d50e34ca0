"""A histogram of a stream whose extent nobody knows beforehand: it grows by doubling the width of its bins.

Widths are powers of two and bins begin at multiples of them, so that finding a value's bin is exact and merging
two bins loses nothing: the result is that of one histogram over all values at once, in whatever pieces and
order they came.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BINS = 4096
"""The most bins of a tensor. Its values extend over more than half as many, unless float32 itself is coarser."""

_PIECE = 1 << 16
"""Elements at a time, so that what is between two steps stays in the processor's cache."""
_SIGNIFICANT_BITS = 24
_LEAST_EXPONENT = -126


class Histogram:
    """Counts of float32 values in at most :data:`BINS` bins of width ``2 ** exponent``."""

    def __init__(self) -> None:
        self.exponent = _LEAST_EXPONENT
        self.first = 0
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self._low = math.inf
        self._high = -math.inf
        self._piece = np.empty(_PIECE, np.float32)
        self._wide_piece: NDArray[np.float64] | None = None

    def add(self, values: NDArray[np.float32], low: float, high: float) -> None:
        """Count flat values, all of which lie in ``[low, high]``."""
        self._make_room(min(low, self._low), max(high, self._high))
        for start in range(0, values.size, _PIECE):
            taken = values[start : start + _PIECE]
            place = self._room(taken.size)
            np.multiply(taken, math.ldexp(1.0, -self.exponent), out=place, dtype=place.dtype)
            np.floor(place, out=place)  # before the shift, which would round what lies just below a whole number
            np.subtract(place, self.first, out=place)
            self.counts += np.bincount(place.astype(np.intp), minlength=BINS)

    def _room(self, size: int) -> NDArray[np.float32] | NDArray[np.float64]:
        """Return a place for products: in single precision they are exact unless they shrink and may vanish."""
        if self.exponent <= 0:
            return self._piece[:size]
        if self._wide_piece is None:
            self._wide_piece = np.empty(_PIECE, np.float64)
        return self._wide_piece[:size]

    def tight(self) -> tuple[int, NDArray[np.int64]]:
        """Return the first bin's place in multiples of the width, and the bins from the lowest to the highest value."""
        begin = _place(self._low, self.exponent) - self.first
        end = _place(self._high, self.exponent) - self.first
        return self.first + begin, self.counts[begin : end + 1].copy()

    def _make_room(self, low: float, high: float) -> None:
        if (low, high) == (self._low, self._high):
            return
        known = self._low <= self._high
        exponent = exponent_for(low, high)
        first = _place(low, exponent)
        fits = known and exponent == self.exponent and first >= self.first
        if not (fits and _place(high, exponent) < self.first + BINS):
            if known:
                self._move(exponent, first)
            self.exponent, self.first = exponent, first
        self._low, self._high = low, high

    def _move(self, exponent: int, first: int) -> None:
        filled = np.flatnonzero(self.counts)
        places = ((filled + self.first) >> (exponent - self.exponent)) - first
        moved = np.zeros(BINS, np.int64)
        np.add.at(moved, places, self.counts[filled])
        self.counts = moved


def exponent_for(low: float, high: float) -> int:
    """Return the least exponent of a bin width at which ``[low, high]`` fits into :data:`BINS` bins.

    It is also coarse enough for float32 to tell each bin from the next anywhere in the interval.
    """
    magnitude = max(abs(low), abs(high))
    if magnitude == 0:
        return _LEAST_EXPONENT
    exponent = max(_LEAST_EXPONENT, math.frexp(magnitude)[1] - _SIGNIFICANT_BITS)
    extent = high - low
    if extent > 0:
        exponent = max(exponent, math.frexp(extent / BINS)[1] - 1)
    while _place(high, exponent) - _place(low, exponent) >= BINS:
        exponent += 1
    return exponent


def _place(value: float, exponent: int) -> int:
    return math.floor(math.ldexp(value, -exponent))

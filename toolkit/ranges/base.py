"""What one pass over the data learned of a tensor, and the contract of a range method that reads it.

A range method is a module ``toolkit/ranges/NAME.py`` with one pure function, :meth:`RangeMethod.range_of`. Every method
reads the same statistics, so asking for one more costs no further run of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from toolkit.core.artifacts import Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The integers that a tensor will be rounded to: ``bits`` wide, with zero always among the values they stand for.

    ``symmetric`` grids reach equally far to both sides of zero.
    """

    bits: int = 8
    symmetric: bool = False

    @property
    def steps(self) -> int:
        """How many steps lie between the smallest and the largest value: 255, or 254 where it is symmetric."""
        return int(2**self.bits - (2 if self.symmetric else 1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """The statistics of one tensor over all samples; its size does not depend on how many there were.

    ``low`` and ``high`` are exact. ``average_low`` and ``average_high`` are exponential moving averages of the extremes
    of each sample, in the order of the samples. Bin ``i`` of ``counts`` (int64, at most 4096 of them) holds the values
    of ``[(first + i) * width, (first + i + 1) * width)``; ``width`` is a power of two. Of the ``elements``, ``zeros``
    are exactly zero, as after a ReLU, ``at_low`` equal to ``low`` and ``at_high`` to ``high``. ``history`` has rows
    ``samples, low, high``: the extremes so far, at a few moments ever further apart. ``still_channels`` never changed
    their value, ``still_values`` is what they hold.
    """

    tensor: str
    samples: int
    elements: int
    zeros: int
    at_low: int
    at_high: int
    low: float
    high: float
    average_low: float
    average_high: float
    width: float
    first: int
    counts: NDArray[np.int64]
    history: NDArray[np.float64]
    still_channels: NDArray[np.int64]
    still_values: NDArray[np.float64]

    @property
    def edges(self) -> NDArray[np.float64]:
        """Where bins begin and end, one more than there are bins."""
        return (self.first + np.arange(len(self.counts) + 1, dtype=np.float64)) * self.width

    def share_below(self, value: float) -> float:
        """Return which share of the elements is less than a value, its own bin counted in proportion."""
        if value <= self.low:
            return 0.0
        ends = np.concatenate([[0], np.cumsum(self.counts)])
        return float(np.interp(value, self.edges, ends)) / self.elements

    def clipped_share(self, held: Range) -> float:
        """Return which share of the elements a range leaves out."""
        above = 0.0 if held.high >= self.high else 1.0 - self.share_below(held.high)
        return self.share_below(held.low) + above

    def within(self, low: float, high: float) -> Range:
        """Return a range, but no wider than the values that were seen."""
        least, most = (min(max(end, self.low), self.high) + 0.0 for end in (low, high))  # and no negative zeros
        return Range(low=min(least, most), high=most)


class RangeMethod(Protocol):
    """A way to choose, of the values a tensor took, the interval that the integers will cover."""

    def range_of(self, seen: Seen, grid: Grid) -> Range:
        """Return the interval for one tensor: finite, and within ``[seen.low, seen.high]``."""

"""The range that holds all but one value in 100,000 at either end."""

from __future__ import annotations

import numpy as np

from toolkit.core.artifacts import Range
from toolkit.ranges.base import Grid, Seen

SHARE = 0.99999


def range_of(seen: Seen, grid: Grid) -> Range:
    """Return the ``1 - SHARE`` and ``SHARE`` quantiles, within one bin of the data's own."""
    return seen.within(quantile(seen, 1 - SHARE), quantile(seen, SHARE))


def quantile(seen: Seen, share: float) -> float:
    """Return the value that a share of the elements does not exceed, linear between the edges of its bin."""
    ends = np.cumsum(seen.counts)
    wanted = share * seen.elements
    place = int(np.searchsorted(ends, wanted, side="left"))
    place = min(place, len(seen.counts) - 1)
    before = int(ends[place] - seen.counts[place])
    inside = (wanted - before) / seen.counts[place] if seen.counts[place] else 0.0
    return float((seen.first + place + min(max(inside, 0.0), 1.0)) * seen.width)

"""True minimum and maximum of every tensor over all samples: the ranges of ``range_method = "minmax"``.

No sample weighs more than another and none is forgotten, unlike the moving averages that some toolchains call min-max.
"""

from __future__ import annotations

from toolkit.core.artifacts import Range
from toolkit.ranges.base import Grid, Seen


def range_of(seen: Seen, grid: Grid) -> Range:
    """Return the closed interval of all values that were seen, whatever the grid."""
    return Range(low=seen.low, high=seen.high)

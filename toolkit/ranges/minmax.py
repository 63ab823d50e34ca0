"""True minimum and maximum of every tensor over all samples: the ranges of ``range_method = "minmax"``.

No sample weighs more than another and none is forgotten, unlike the moving averages that some toolchains call min-max.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolkit.core.artifacts import Range
from toolkit.core.errors import DataError
from toolkit.ranges.base import Grid, Seen


class MinMax:
    """An observer that keeps two numbers a tensor, however many samples it sees.

    >>> seen = MinMax()
    >>> seen.see("x", np.array([0.5, -1.0], np.float32))
    >>> seen.see("x", np.array([2.0], np.float32))
    >>> seen.ranges()["x"]
    Range(low=-1.0, high=2.0)
    """

    def __init__(self) -> None:
        self._ranges: dict[str, tuple[float, float]] = {}

    def see(self, tensor: str, values: NDArray[np.float32]) -> None:
        """Widen the tensor's range to cover the values; an empty array tells nothing and is ignored.

        Raises:
            DataError: a value is NaN or infinite. The range stays as it was.
        """
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DataError(
                f"The tensor {tensor!r} takes a value that is not finite during calibration.",
                hint="Look for NaN or infinity in the calibration data, or for an overflow in the model itself.",
            )
        known = self._ranges.get(tensor, (low, high))
        self._ranges[tensor] = (min(low, known[0]), max(high, known[1]))

    def ranges(self) -> dict[str, Range]:
        """Return the closed interval of each tensor seen, in the order in which they were first seen."""
        return {tensor: Range(low=low, high=high) for tensor, (low, high) in self._ranges.items()}


def range_of(seen: Seen, grid: Grid) -> Range:
    """Return the closed interval of all values that were seen, whatever the grid."""
    return Range(low=seen.low, high=seen.high)

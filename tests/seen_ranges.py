"""The least that gives a target ranges to quantize with, for tests that do without the calibrate stage."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolkit.core.artifacts import Range


class MinMax:
    """The lowest and the highest value of each tensor."""

    def __init__(self) -> None:
        self._ranges: dict[str, tuple[float, float]] = {}

    def see(self, tensor: str, values: NDArray[np.float32]) -> None:
        if values.size:
            low, high = self._ranges.get(tensor, (np.inf, -np.inf))
            self._ranges[tensor] = (min(low, float(values.min())), max(high, float(values.max())))

    def ranges(self) -> dict[str, Range]:
        return {tensor: Range(low=low, high=high) for tensor, (low, high) in self._ranges.items()}

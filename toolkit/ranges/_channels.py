"""Which channels of a tensor never change: dead after a ReLU, or stuck at a bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class StillChannels:
    """The channels that have held one value in every place of every sample so far.

    A look costs little once channels are known to move, for those are not looked at again. A tensor of rank four or
    more has its channels on ``axis``, one of rank two or three on its last; others have none, nor has a single one.
    """

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self.channels: NDArray[np.int64] = np.zeros(0, np.int64)
        self.values: NDArray[np.float32] = np.zeros(0, np.float32)
        self._begun = False

    def see(self, values: NDArray[np.float32]) -> None:
        """Take one sample's values into account."""
        if values.ndim < 2 or (self._begun and not self.channels.size):
            return
        axis = (self._axis if values.ndim > 3 else -1) % values.ndim
        others = tuple(index for index in range(values.ndim) if index != axis)
        if not self._begun:
            self._begun = True
            if values.shape[axis] < 2 or not values.size:
                return
            least = values.min(axis=others)
            self.channels = np.flatnonzero(least == values.max(axis=others))
            self.values = least[self.channels]
            return
        if self.channels[-1] >= values.shape[axis]:
            self.channels, self.values = self.channels[:0], self.values[:0]
            return
        shape = [1] * values.ndim
        shape[axis] = -1
        same = (np.take(values, self.channels, axis=axis) == self.values.reshape(shape)).all(axis=others)
        self.channels, self.values = self.channels[same], self.values[same]

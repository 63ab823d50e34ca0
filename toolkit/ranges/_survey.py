"""One pass over the activations of all samples: everything that any range method and the calibration report need."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from toolkit.core.errors import DataError
from toolkit.ranges._channels import StillChannels
from toolkit.ranges._histogram import Histogram
from toolkit.ranges.base import Seen

SMOOTHING = 0.05
"""How much one sample's extremes count in the moving average, as in quantization-aware training (Jacob et al. 2018)."""


class Survey:
    """Watches every tensor of a model. Memory grows with the number of tensors, never with that of samples.

    >>> survey = Survey()
    >>> survey.see("x", np.array([[0.5, -1.0]], np.float32))
    >>> survey.see("x", np.array([[2.0, 0.0]], np.float32))
    >>> (x,) = survey.seen()
    >>> x.low, x.high, x.samples, x.elements, x.zeros
    (-1.0, 2.0, 2, 4, 1)
    """

    def __init__(self, channel_axis: int = 1) -> None:
        self._channel_axis = channel_axis
        self._tensors: dict[str, _Tensor] = {}

    def see(self, tensor: str, values: NDArray[np.float32]) -> None:
        """Take one sample's values of a tensor into account; an empty array tells nothing and is ignored.

        Raises:
            DataError: a value is NaN or infinite. What was seen before stays as it was.
        """
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise DataError(
                f"The tensor {tensor!r} takes a value that is not finite during calibration.",
                hint="Look for NaN or infinity in the calibration data, or for an overflow in the model itself.",
            )
        if tensor not in self._tensors:
            self._tensors[tensor] = _Tensor(self._channel_axis)
        self._tensors[tensor].see(values, low, high)

    def seen(self) -> tuple[Seen, ...]:
        """Return what is known of each tensor, in the order in which they were first seen."""
        return tuple(state.seen(name) for name, state in self._tensors.items())


class _Tensor:
    def __init__(self, channel_axis: int) -> None:
        self._histogram = Histogram()
        self._channels = StillChannels(channel_axis)
        self._samples = self._elements = self._zeros = 0
        self._low, self._high = math.inf, -math.inf
        self._at_low = self._at_high = 0
        self._average_low = self._average_high = 0.0
        self._history: list[tuple[int, float, float]] = []
        self._next_moment = 1

    def see(self, values: NDArray[np.float32], low: float, high: float) -> None:
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        self._histogram.add(flat, low, high)
        self._channels.see(values)
        if low <= 0 <= high:
            self._zeros += flat.size - int(np.count_nonzero(flat))
        if low <= self._low:
            self._at_low = int(np.count_nonzero(flat == low)) + (self._at_low if low == self._low else 0)
        if high >= self._high:
            self._at_high = int(np.count_nonzero(flat == high)) + (self._at_high if high == self._high else 0)
        self._low, self._high = min(low, self._low), max(high, self._high)
        weight = SMOOTHING if self._samples else 1.0
        self._average_low += weight * (low - self._average_low)
        self._average_high += weight * (high - self._average_high)
        self._samples += 1
        self._elements += flat.size
        if self._samples == self._next_moment:
            self._history.append((self._samples, self._low, self._high))
            self._next_moment += max(1, self._samples // 4)

    def seen(self, name: str) -> Seen:
        first, counts = self._histogram.tight()
        return Seen(
            tensor=name,
            samples=self._samples,
            elements=self._elements,
            zeros=self._zeros,
            at_low=self._at_low,
            at_high=self._at_high,
            low=self._low,
            high=self._high,
            average_low=self._average_low,
            average_high=self._average_high,
            width=math.ldexp(1.0, self._histogram.exponent),
            first=first,
            counts=counts,
            history=np.array(self._history, np.float64).reshape(-1, 3),
            still_channels=self._channels.channels.astype(np.int64),
            still_values=self._channels.values.astype(np.float64),
        )

"""The grids of integers that a recipe puts tensors on, as ONNX Runtime's quantizer lays them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.core.artifacts import Range
from toolkit.core.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationGrid:
    """Unsigned integers that stand for activations: ``(integer - zero_point) * scale`` is the float."""

    bits: int
    scale: float
    zero_point: int


def activation_grid(seen: Range, bits: int) -> ActivationGrid:
    """Return the grid of 8 or 16 bits that a range gets.

    The range is widened to hold zero, so that zero is exact, and spans all integers (ONNX, QuantizeLinear).

    >>> activation_grid(Range(low=-1.0, high=2.984375), 8)
    ActivationGrid(bits=8, scale=0.015625, zero_point=64)
    """
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    top = 2**bits - 1
    scale = float(np.float32((high - low) / top))
    if scale < np.finfo(np.float32).tiny:
        return ActivationGrid(bits=bits, scale=1.0, zero_point=0)
    zero = int(np.clip(np.rint(-low / scale), 0, top))
    return ActivationGrid(bits=bits, scale=scale, zero_point=zero)


def rounded_weights(weights: NDArray[np.float32], channel: int, recipe: Recipe) -> NDArray[np.float32]:
    """Return what is left of a layer's weights after the recipe rounded them.

    Symmetric: ``max|w| / (2 ** (bits - 1) - 1)`` is the scale. Asymmetric: the range, widened to hold zero, spans all
    integers. One scale for the tensor, for each index of the axis ``channel``, or for each block of ``block_size``
    weights along the other axes in order.
    """
    if recipe.weight_bits >= 16:
        return weights
    if recipe.granularity == "tensor":
        return _rounded(weights.reshape(1, -1), recipe).reshape(weights.shape)
    moved = np.moveaxis(weights, channel, 0)
    rows = moved.reshape(len(moved), -1)
    if recipe.granularity == "channel":
        made = _rounded(rows, recipe)
    else:
        width = rows.shape[1]
        padded = np.pad(rows, ((0, 0), (0, -width % recipe.block_size)))
        made = _rounded(padded.reshape(-1, recipe.block_size), recipe).reshape(padded.shape)[:, :width]
    return np.ascontiguousarray(np.moveaxis(made.reshape(moved.shape), 0, channel))


def _rounded(rows: NDArray[np.float32], recipe: Recipe) -> NDArray[np.float32]:
    top = 2 ** (recipe.weight_bits - 1) - 1
    low = np.minimum(rows.min(axis=1, keepdims=True), 0)
    high = np.maximum(rows.max(axis=1, keepdims=True), 0)
    span = np.maximum(-low, high) / top if recipe.symmetric else (high - low) / (2 * top + 1)
    scale = np.where(span < np.finfo(np.float32).tiny, 1, span).astype(np.float32)
    if recipe.symmetric:
        return np.asarray(np.clip(np.rint(rows / scale), -top, top) * scale, np.float32)
    zero = np.clip(np.rint(-top - 1 - low / scale), -top - 1, top)
    return np.asarray((np.clip(np.rint(rows / scale) + zero, -top - 1, top) - zero) * scale, np.float32)

"""Which of the integers near it each weight becomes, chosen so that a layer's output moves least on real inputs.

Rounding each weight to the nearest step ignores that inputs are alike: errors of weights that are multiplied by nearly
the same values can be made to cancel. With the covariance ``H`` of what the weights are multiplied by, the output's
mean squared error is ``e H e'`` for a row of rounding errors ``e``, and rounding one weight after the other, each time
making good what the ones before spoiled, comes close to its minimum: the method of Frantar et al. 2022, "GPTQ: Accurate
Post-Training Quantization for Generative Pre-trained Transformers", here as Babai's nearest plane on a Cholesky factor
of ``H``, which chooses the same integers and needs no inverse (Chen et al. 2025, "The Geometry of LLM Quantization").
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from toolkit.core.linear import Floats, Grid, LinearLayer, Window
from toolkit.core.ports import Array

PLACES = (144, 400)
"""Of a sample's places in a convolution's output, about how many are looked at, an even grid of them: four for each
weight of an output, within these bounds."""
DAMPING = 0.01
"""Of the mean variance, added to each: directions that no sample showed are not free to move in."""
_ELEMENTS = 1 << 20
"""Weights that are rounded at a time, for which some ten numbers each are in memory."""
_BLOCK = 64
"""Columns after which what they spoiled is carried over to all that follow in one product."""


class Moments:
    """Sums over what the weights of a layer are multiplied by, of one sample after the other.

    What is kept has the size of an output's weights squared, float32 [groups, weights, weights]. All is about the mean
    of the first rows: of inputs far from zero nothing else would be left of how they vary.
    """

    def __init__(self, layer: LinearLayer) -> None:
        self._layer = layer
        self._pivot: Array | None = None
        self._products: Array | float = 0.0
        self._sums: Floats | float = 0.0
        self._rows = 0

    @staticmethod
    def size_bytes(layer: LinearLayer) -> int:
        """Return how much memory the moments of a layer take."""
        weights = math.prod(layer.weight.shape[1:])
        return 4 * layer.groups * weights * weights

    @property
    def is_usable(self) -> bool:
        """Whether the layer saw anything, and nothing but finite numbers."""
        return self._rows > 0 and bool(np.isfinite(self._products).all())

    def add(self, values: Array) -> None:
        """Take in a layer's input, batch axis first: float32 [batch, ..., channels, ...]."""
        rows = np.ascontiguousarray(inputs_of(self._layer, values), np.float32)
        if self._pivot is None:
            self._pivot = rows.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
        rows = rows - self._pivot
        self._products = self._products + np.matmul(rows.transpose(0, 2, 1), rows)
        self._sums = self._sums + rows.sum(axis=1, dtype=np.float64)
        self._rows += rows.shape[1]

    def second(self, *, centred: bool) -> Floats:
        """Return the mean products of two inputs, of their deviations from their means where ``centred``.

        The former is what counts where nothing else corrects an output's mean, the latter where a bias does.

        Returns:
            float64 [groups, weights of an output, weights of an output].
        """
        assert self._rows, "a layer that saw nothing is not asked"
        assert self._pivot is not None
        apart = np.asarray(self._sums) / self._rows
        found = np.asarray(self._products, np.float64) / self._rows - apart[:, :, None] * apart[:, None, :]
        if not centred:
            means = self._pivot[:, 0].astype(np.float64) + apart
            found = found + means[:, :, None] * means[:, None, :]
        return _damped(found, self._rows)


def _damped(found: Floats, rows: int) -> Floats:
    """Pull what few rows cannot know towards a diagonal: with none left to know it by, the nearest integer is best."""
    size = found.shape[1]
    variances = np.maximum(np.einsum("gkk->gk", found), 0)
    level = np.maximum(variances.mean(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    known = rows / (rows + size)
    pulled = known * found
    places = np.arange(size)
    pulled[:, places, places] = variances + DAMPING * level
    return np.asarray(pulled)


def inputs_of(layer: LinearLayer, values: Array) -> Array:
    """Return what the weights of a layer's outputs are multiplied by at some of its places.

    Args:
        layer: a convolution or product.
        values: its input, batch axis first.

    Returns:
        [groups, batch * places, inputs of a group * product of the kernel's sizes], in the order of the weights.
    """
    if layer.window is None:
        return np.asarray(values.reshape(1, -1, layer.weight.shape[1]))
    images, window, kernel = np.moveaxis(values, layer.channel_axis, 1), layer.window, layer.weight.shape[2:]
    axes = len(kernel)
    padded: Any = np.pad(images, ((0, 0), (0, 0), *zip(window.before, window.after, strict=True)))
    reach = tuple((taps - 1) * spread + 1 for taps, spread in zip(kernel, window.dilations, strict=True))
    seen: Any = sliding_window_view(padded, reach, axis=tuple(range(2, 2 + axes)))  # type: ignore[call-overload]
    seen = seen[(..., *(slice(None, None, spread) for spread in window.dilations))]
    most = min(max(4 * math.prod(layer.weight.shape[1:]), PLACES[0]), PLACES[1])
    seen = seen[(slice(None), slice(None), *_some(seen.shape[2 : 2 + axes], window, most))]
    parts = seen.reshape(len(seen), layer.groups, -1, *seen.shape[2:])
    places, taps = tuple(range(3, 3 + axes)), tuple(range(3 + axes, 3 + 2 * axes))
    rows = parts.transpose(1, 0, *places, 2, *taps)
    return np.asarray(rows.reshape(layer.groups, -1, math.prod(layer.weight.shape[1:])))


def _some(sizes: tuple[int, ...], window: Window, most: int) -> tuple[slice, ...]:
    """Choose an even grid of at most so many of the places where the kernel stops."""
    steps = [min(step, size) for step, size in zip(window.strides, sizes, strict=True)]
    every = 1
    while math.prod(-(-size // (step * every)) for size, step in zip(sizes, steps, strict=True)) > most:
        every += 1
    return tuple(slice(None, None, step * every) for step in steps)


def rounded(weight: Array, grid: Grid, second: Floats) -> Array:
    """Return weights on a grid whose layer's outputs are close to those of ``weight``.

    An output that comes out no closer than with each weight at its nearest step gets the nearest ones.

    Args:
        weight: float32 [outputs, inputs of a group, *kernel].
        grid: where the build's weights may lie.
        second: :meth:`Moments.second` of the layer's input.

    Returns:
        float32, as ``weight``.
    """
    groups, size = second.shape[:2]
    order = np.argsort(-np.einsum("gkk->gk", second), axis=1, kind="stable")
    factor = _factor(np.take_along_axis(np.take_along_axis(second, order[:, :, None], 1), order[:, None, :], 2))
    parts = [
        np.broadcast_to(part, weight.shape).reshape(groups, -1, size)
        for part in (weight, grid.step, grid.lowest, grid.highest)
    ]
    outputs, placed = parts[0].shape[1], np.empty(parts[0].shape, np.float32)
    some = max(1, _ELEMENTS // (groups * size))
    for start in range(0, outputs, some):  # an output's weights do not depend on others: memory is that of a few
        columns = np.broadcast_to(order[:, None, :], (groups, min(some, outputs - start), size))
        wide, step, lowest, highest = (
            np.take_along_axis(part[:, start : start + some].astype(np.float64), columns, 2) for part in parts
        )
        values = _best(wide, step, (lowest, highest), factor)
        np.put_along_axis(placed[:, start : start + some], columns, values.astype(np.float32), 2)
    return placed.reshape(weight.shape)


def _factor(second: Floats) -> Floats:
    """Return the upper triangular ``R`` with ``R R' = second``, damped further where rounding left that none."""
    places = np.arange(second.shape[1])
    level = np.einsum("gkk->gk", second).max(axis=1, keepdims=True)
    for damping in (0.0, 0.01, 0.1, 1.0):
        held = second.copy()
        held[:, places, places] += damping * level
        try:
            return np.asarray(np.linalg.cholesky(held[:, ::-1, ::-1])[:, ::-1, ::-1])
        except np.linalg.LinAlgError:
            continue
    alone = np.zeros_like(second)
    alone[:, places, places] = 1.0
    return alone


def _best(wide: Floats, step: Floats, ends: tuple[Floats, Floats], factor: Floats) -> Floats:
    """Return the weights chosen one after the other, or the nearest where those are no worse."""
    chosen = _one_after_the_other(wide, step, *ends, factor)
    nearest = np.clip(np.rint(wide / step), *ends)
    better = _errors(wide - chosen * step, factor) < _errors(wide - nearest * step, factor)
    return np.asarray(np.where(better[:, :, None], chosen, nearest) * step)


def _one_after_the_other(wide: Floats, step: Floats, lowest: Floats, highest: Floats, factor: Floats) -> Floats:
    """Return whole steps, column by column: each takes up what the columns before it left in its component."""
    chosen, errors = np.zeros_like(wide), np.zeros_like(wide)
    size = wide.shape[2]
    for start in range(0, size, _BLOCK):
        end = min(start + _BLOCK, size)
        left = np.matmul(errors[:, :, :start], factor[:, :start, start:end])
        for column in range(start, end):
            own = errors[:, :, start:column] @ factor[:, start:column, column, None]
            spoiled = (left[:, :, column - start] + own[:, :, 0]) / factor[:, None, column, column]
            steps = np.rint((wide[:, :, column] + spoiled) / step[:, :, column])
            chosen[:, :, column] = np.clip(steps, lowest[:, :, column], highest[:, :, column])
            errors[:, :, column] = wide[:, :, column] - chosen[:, :, column] * step[:, :, column]
    return chosen


def _errors(errors: Floats, factor: Floats) -> Floats:
    """Return the mean squared error of each output, [groups, outputs of a group]."""
    return np.asarray(np.square(np.matmul(errors, factor)).sum(axis=2))

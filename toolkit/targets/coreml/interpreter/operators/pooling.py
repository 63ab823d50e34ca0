"""Pooling over one, two or three spatial axes, with explicit padding so that every ``pad_type`` is exact."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering
from toolkit.targets.coreml.interpreter.operators.padding import Window, explicit_padding, spatial


@dataclass(frozen=True, slots=True)
class _Pool:
    """``after`` is the declared padding, ``tail`` what ``ceil_mode`` adds to it."""

    window: Window
    before: list[int]
    after: list[int]
    tail: list[int]

    @property
    def attributes(self) -> dict[str, list[int]]:
        ends = [after + tail for after, tail in zip(self.after, self.tail, strict=True)]
        kernel, strides = list(self.window.kernel), list(self.window.strides)
        return {"kernel_shape": kernel, "strides": strides, "pads": [*self.before, *ends]}


def max_pool(layer: Layer) -> None:
    """``max_pool``: padding never wins."""
    layer.emit("MaxPool", layer.tensor("x"), **_pool(layer).attributes)


def avg_pool(layer: Layer) -> None:
    """``avg_pool``: padding counts as zeros in the mean unless ``exclude_padding_from_average``."""
    pool = _pool(layer)
    if layer.flag("exclude_padding_from_average", False):
        layer.emit("AveragePool", layer.tensor("x"), count_include_pad=0, **pool.attributes)
        return
    share = _share_inside(pool, layer.output.shape[2:])
    if (share == 1).all():
        layer.emit("AveragePool", layer.tensor("x"), count_include_pad=1, **pool.attributes)
        return
    mean = layer.step("AveragePool", layer.tensor("x"), count_include_pad=1, **pool.attributes)
    layer.emit("Div", mean, layer.floats(share))


def l2_pool(layer: Layer) -> None:
    """``l2_pool``: the root of the sum of squares in each window."""
    pool = _pool(layer)
    square = layer.step("Mul", layer.tensor("x"), layer.tensor("x"))
    mean = layer.step("AveragePool", square, count_include_pad=1, **pool.attributes)
    layer.emit("Sqrt", layer.step("Mul", mean, layer.floats(math.prod(pool.window.kernel))))


def _pool(layer: Layer) -> _Pool:
    kernel = layer.integers("kernel_sizes")
    window = Window(spatial(layer), tuple(kernel), tuple(layer.integers("strides", [1] * len(kernel))))
    before, after = explicit_padding(layer, window)
    tail = []
    rows = zip(window.size, kernel, window.strides, before, after, layer.output.shape[2:], strict=True)
    for size, extent, stride, start, end, out in rows:
        last = (out - 1) * stride
        missing = max(last + extent - (start + size + end), 0)
        if max(start, end + missing) >= extent or last >= start + size:
            raise layer.refusal("has a window that lies wholly in its padding")
        tail.append(missing)
    return _Pool(window, before, after, tail)


def _share_inside(pool: _Pool, out: tuple[int, ...]) -> np.ndarray:
    """Return which share of each window lies inside the declared padding: the mean's true denominator."""
    share = np.ones(out)
    rows = zip(pool.window.size, pool.window.kernel, pool.window.strides, pool.before, pool.after, strict=True)
    for axis, (size, extent, stride, start, end) in enumerate(rows):
        first = np.arange(out[axis]) * stride
        inside = np.minimum(first + extent, start + size + end) - first
        share *= (inside / extent).reshape([-1 if index == axis else 1 for index in range(len(out))])
    return share


LOWERINGS: dict[str, Lowering] = {"max_pool": max_pool, "avg_pool": avg_pool, "l2_pool": l2_pool}

"""Pooling."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from toolkit.targets.coreml.lowering.node import Known, Lowering, Node, Tensor, count, kind, shape_of
from toolkit.targets.coreml.lowering.operators.padding import constant_pad

MAX_TAPS = 4096
"""Elements of a window that is written out, as each becomes an operation."""
MAX_REACH = 2**20
"""Largest window, gap, padding or number of places along an axis."""

_LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """Where a pooling node looks: per spatial axis its taps, steps, gaps, paddings, and how many places it visits."""

    taps: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]
    places: list[int]

    @property
    def plain(self) -> bool:
        """Whether Core ML's own pooling visits the same places."""
        return all(item == 1 for item in self.dilations)


def _window(node: Node, size: tuple[int, ...]) -> _Window:
    """Read a node's window; formulas of its places from the ONNX operator specification of MaxPool."""
    spatial = len(size)
    taps = node.integers("kernel_shape") or [1] * spatial
    strides = node.integers("strides") or [1] * spatial
    dilations = node.integers("dilations") or [1] * spatial
    reach = [(tap - 1) * gap + 1 for tap, gap in zip(taps, dilations, strict=True)]
    automatic = node.word("auto_pad", "NOTSET")
    if automatic.startswith("SAME"):
        places = [-(-length // stride) for length, stride in zip(size, strides, strict=True)]
        total = [
            max((place - 1) * stride + wide - length, 0)
            for place, stride, wide, length in zip(places, strides, reach, size, strict=True)
        ]
        small, large = [item // 2 for item in total], [item - item // 2 for item in total]
        before, after = (small, large) if automatic == "SAME_UPPER" else (large, small)
    else:
        pads = node.integers("pads") if automatic == "NOTSET" else None
        pads = pads or [0] * 2 * spatial
        before, after, places = pads[:spatial], pads[spatial:], []
        for at in range(spatial):
            room = size[at] + before[at] + after[at] - reach[at]
            place = room // strides[at] + 1
            if node.integer("ceil_mode", 0) and room % strides[at]:
                # a place that begins in the padding after the input does not count
                place += 1 if place * strides[at] < size[at] + before[at] else 0
            places.append(place)
    if max(*taps, *dilations, *before, *after, *places) > MAX_REACH:
        raise node.refusal(f"looks at more than {MAX_REACH:,} places along an axis")
    return _Window(taps=taps, strides=strides, dilations=dilations, before=before, after=after, places=places)


def _written_out(node: Node, window: _Window) -> Iterator[tuple[int, ...]]:
    """Yield every tap of a window that is written out, by its place along each axis."""
    if math.prod(window.taps) > MAX_TAPS:
        raise node.unlowered(f"has a window of more than {MAX_TAPS:,} elements that would have to be written out")
    return itertools.product(*(range(tap) for tap in window.taps))


def _covering(window: _Window, size: tuple[int, ...]) -> list[int]:
    """Return how far beyond the input the last place reaches, per axis."""
    last = [(place - 1) * stride for place, stride in zip(window.places, window.strides, strict=True)]
    reach = [(tap - 1) * gap + 1 for tap, gap in zip(window.taps, window.dilations, strict=True)]
    return [
        start + wide - before - length
        for start, wide, before, length in zip(last, reach, window.before, size, strict=True)
    ]


def _taps(node: Node, x: Tensor, window: _Window, fill: float) -> Iterator[Tensor]:
    """Yield what each tap of the window sees over all places."""
    after = [max(item, 0) for item in _covering(window, shape_of(x)[2:])]
    padded = constant_pad(node, x, [(0, 0), (0, 0), *zip(window.before, after, strict=True)], fill)
    outer = shape_of(x)[:2]
    for position in _written_out(node, window):
        begin = [tap * gap for tap, gap in zip(position, window.dilations, strict=True)]
        end = [
            start + (place - 1) * stride + 1
            for start, place, stride in zip(begin, window.places, window.strides, strict=True)
        ]
        yield node.mil.slice_by_index(
            x=padded, begin=[0, 0, *begin], end=[*outer, *end], stride=[1, 1, *window.strides]
        )


def _counted(window: _Window, size: tuple[int, ...], *, padding: bool) -> Known:
    """Return how many elements each place averages over, [1, 1, places…]: those of the padding too if it counts."""
    sizes = [_counted_along(window, at, length, padding=padding).astype(np.float32) for at, length in enumerate(size)]
    total = sizes[0]
    for other in sizes[1:]:
        total = np.multiply.outer(total, other)
    return total[None, None]


def _counted_along(window: _Window, at: int, length: int, *, padding: bool) -> Known:
    starts = np.arange(window.places[at]) * window.strides[at] - window.before[at]
    steps = starts[:, None] + np.arange(window.taps[at]) * window.dilations[at]
    low, high = (-window.before[at], length + window.after[at]) if padding else (0, length)
    return np.asarray(np.sum((steps >= low) & (steps < high), axis=1))


def _own_padding(window: _Window, size: tuple[int, ...]) -> dict[str, Any]:
    """Return the padding under which Core ML visits the same places; its own ceil_mode is not needed then."""
    after = [max(item, 0) for item in _covering(window, size)]
    if not any(window.before) and not any(after):
        return {"pad_type": "valid"}
    return {"pad_type": "custom", "pad": [item for pair in zip(window.before, after, strict=True) for item in pair]}


def _max_pool(node: Node) -> Tensor | list[Tensor]:
    x = node.tensor()
    if kind(x) == "i":
        whole = replace(node, arguments=(node.mil.cast(x=x, dtype="fp32"),))
        made = _max_pool(whole)
        parts = made if isinstance(made, list) else [made]
        return [node.mil.cast(x=part, dtype="int32") for part in parts]
    window = _window(node, shape_of(x)[2:])
    if node.wants(1):
        return _max_pool_with_places(node, x, window)
    if window.plain and _small_padding(window, shape_of(x)[2:]):
        return node.mil.max_pool(
            x=x, kernel_sizes=window.taps, strides=window.strides, **_own_padding(window, shape_of(x)[2:])
        )
    largest: Tensor = None
    for seen in _taps(node, x, window, _LOWEST):
        largest = seen if largest is None else node.mil.maximum(x=largest, y=seen)
    return largest


def _max_pool_with_places(node: Node, x: Tensor, window: _Window) -> list[Tensor]:
    """Keep the place of the largest element so far beside it; places count through the whole flattened input."""
    mil, shape = node.mil, shape_of(x)
    largest: Tensor = None
    for seen, position in zip(_taps(node, x, window, _LOWEST), _positions(node, window, shape[2:]), strict=True):
        places = np.broadcast_to(position, shape_of(seen)).copy()
        if largest is None:
            largest, best = seen, places
            continue
        better = mil.greater(x=seen, y=largest)
        largest, best = mil.maximum(x=seen, y=largest), mil.select(cond=better, a=places, b=best)
    size = count(shape[2:])
    first = np.arange(shape[0] * shape[1], dtype=np.int32).reshape([*shape[:2], *[1] * len(shape[2:])]) * size
    return [largest, mil.add(x=best, y=first)]


def _positions(node: Node, window: _Window, size: tuple[int, ...]) -> Iterator[Known]:
    """Yield where in the flattened image each tap of the window looks, [1, 1, places…]."""
    axes = range(len(size))
    steps = [count(size[:at]) if node.integer("storage_order", 0) else count(size[at + 1 :]) for at in axes]
    for position in _written_out(node, window):
        total = np.zeros([1] * len(size), np.int64)
        for at in axes:
            along = np.arange(window.places[at]) * window.strides[at] - window.before[at]
            along = (along + position[at] * window.dilations[at]) * steps[at]
            total = total + along.reshape([-1 if other == at else 1 for other in axes])
        yield total[None, None].astype(np.int32)


def _small_padding(window: _Window, size: tuple[int, ...]) -> bool:
    after = _covering(window, size)
    return all(tap > max(pair) for tap, *pair in zip(window.taps, window.before, after, strict=True))


def _average_pool(node: Node) -> Tensor:
    x = node.tensor()
    size = shape_of(x)[2:]
    window, padding = _window(node, size), bool(node.integer("count_include_pad", 0))
    counted = _counted(window, size, padding=padding)
    if window.plain and _small_padding(window, size):
        seen = _counted(window, size, padding=False)
        if not padding or np.array_equal(seen, counted):
            return _averaged(node, x, window, exclude=True)
        if np.all(counted == count(window.taps)):
            return _averaged(node, x, window, exclude=False)
    total: Tensor = None
    for seen in _taps(node, x, window, 0.0):
        total = seen if total is None else node.mil.add(x=total, y=seen)
    return node.mil.real_div(x=total, y=counted)


def _averaged(node: Node, x: Tensor, window: _Window, *, exclude: bool) -> Tensor:
    return node.mil.avg_pool(
        x=x,
        kernel_sizes=window.taps,
        strides=window.strides,
        exclude_padding_from_average=exclude,
        **_own_padding(window, shape_of(x)[2:]),
    )


def _lp_pool(node: Node) -> Tensor:
    mil, x = node.mil, node.tensor()
    window, p = _window(node, shape_of(x)[2:]), node.integer("p", 2)
    raised = mil.square(x=x) if p == 2 else mil.pow(x=mil.abs(x=x), y=np.float32(p))
    total: Tensor = None
    for seen in _taps(node, raised, window, 0.0):
        total = seen if total is None else mil.add(x=total, y=seen)
    return mil.sqrt(x=total) if p == 2 else mil.pow(x=total, y=np.float32(1 / p))


def _over_space(operator: str) -> Lowering:
    def lower(node: Node) -> Tensor:
        x = node.tensor()
        return getattr(node.mil, operator)(x=x, axes=list(range(2, x.rank)), keep_dims=True)

    return lower


def _global_lp_pool(node: Node) -> Tensor:
    mil, x, p = node.mil, node.tensor(), node.integer("p", 2)
    axes = list(range(2, x.rank))
    if p == 2:
        return mil.reduce_l2_norm(x=x, axes=axes, keep_dims=True)
    total = mil.reduce_sum(x=mil.pow(x=mil.abs(x=x), y=np.float32(p)), axes=axes, keep_dims=True)
    return mil.pow(x=total, y=np.float32(1 / p))


LOWERINGS: dict[str, Lowering] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _over_space("reduce_mean"),
    "GlobalLpPool": _global_lp_pool,
    "GlobalMaxPool": _over_space("reduce_max"),
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
}

"""Padding."""

from __future__ import annotations

from typing import Literal

import numpy as np

from toolkit.targets.coreml.lowering.node import Lowering, Node, Tensor, kind, scalar, shape_of

_MODES: dict[str, Literal["reflect", "edge", "wrap"]] = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def _pad(node: Node) -> Tensor:
    x, mode = node.tensor(), node.word("mode", "constant")
    pads = node.integers("pads", 1) or []
    axes = [int(at) % len(x.shape) for at in node.known(3)] if node.has(3) else list(range(len(x.shape)))
    ends = {axis: (pads[at], pads[at + len(axes)]) for at, axis in enumerate(axes)}
    if mode != "constant":
        return _by_index(node, x, ends, mode)
    value = node.known(2).reshape(-1)[0] if node.has(2) else node.number("value", 0.0)
    return constant_pad(node, x, [ends.get(axis, (0, 0)) for axis in range(len(x.shape))], float(value))


def constant_pad(node: Node, x: Tensor, ends: list[tuple[int, int]], value: float) -> Tensor:
    """Lengthen axes by a value; negative lengths cut."""
    mil = node.mil
    if any(min(pair) < 0 for pair in ends):
        begin = [max(-before, 0) for before, _ in ends]
        end = [size - max(-after, 0) for size, (_, after) in zip(shape_of(x), ends, strict=True)]
        x = mil.slice_by_index(x=x, begin=begin, end=end)
    positive = [(max(before, 0), max(after, 0)) for before, after in ends]
    if not any(max(pair) for pair in positive):
        return mil.identity(x=x)
    if kind(x) == "f":
        flat = [item for pair in positive for item in pair]
        return mil.pad(x=x, pad=flat, mode="constant", constant_val=np.float32(value))
    for axis, pair in enumerate(positive):  # Core ML pads floats only
        blocks = [np.full(_resized(x, axis, size), scalar(value, x)) for size in pair]
        parts = [block for block in (blocks[0], x, blocks[1]) if not isinstance(block, np.ndarray) or block.size]
        x = mil.concat(values=parts, axis=axis) if len(parts) > 1 else x
    return x


def _resized(x: Tensor, axis: int, size: int) -> tuple[int, ...]:
    return tuple(size if at == axis else length for at, length in enumerate(shape_of(x)))


def _by_index(node: Node, x: Tensor, ends: dict[int, tuple[int, int]], mode: str) -> Tensor:
    """Take from each axis the elements that stand before, in and after it."""
    for axis, (before, after) in ends.items():
        if before == 0 and after == 0:
            continue
        size = shape_of(x)[axis]
        positive = (max(before, 0), max(after, 0))
        indices = np.pad(np.arange(size, dtype=np.int32), positive, mode=_MODES[mode])
        indices = indices[max(-before, 0) : len(indices) - max(-after, 0)]
        x = node.mil.gather(x=x, indices=indices, axis=axis)
    return x


LOWERINGS: dict[str, Lowering] = {"Pad": _pad}

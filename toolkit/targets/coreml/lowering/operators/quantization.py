"""Quantized arithmetic, computed in floats: a scale, an offset, a rounding.

The programs are for iOS 16, where Core ML has neither ``quantize`` nor ``dequantize``, so the speed of 8-bit arithmetic
is not to be had. Sums of products are exact up to 2**24 in float32, which 258 terms of two bytes never leave; a program
made float16 afterwards rounds them beyond 2048 and overflows beyond 65504. Formulas from the ONNX operator
specification.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from toolkit.targets.coreml.lowering.node import Lowering, Node, Tensor, element_name, kind, shape_of
from toolkit.targets.coreml.lowering.operators import convolution, linear

_RANGES = {2: (0, 255), 3: (-128, 127), 4: (0, 65535), 5: (-32768, 32767), 21: (0, 15), 22: (-8, 7), 25: (0, 3)}
_RANGES[26] = (-2, 1)
"""Smallest and largest number of ONNX's integer element types."""


def _quantize(node: Node) -> Tensor:
    scale = _aligned(node, 1, 0)
    offset = _aligned(node, 2, 0) if node.has(2) else None
    target = (node.element(2) if node.has(2) else 0) or node.integer("output_dtype", 0) or 2
    return _stepped(node, _floats(node, node.tensor(0)), scale, (offset, target))


def _stepped(node: Node, x: Tensor, scale: Tensor, goal: tuple[Tensor | None, int]) -> Tensor:
    """Return round(x / scale) + offset within a type; ``goal`` is (offset, ONNX's element type)."""
    mil, (offset, target) = node.mil, goal
    if target not in _RANGES:
        raise node.refusal(f"quantizes to {element_name(target)}, which Core ML has not")
    low, high = _RANGES[target]
    steps = mil.round(x=mil.real_div(x=x, y=scale))
    if offset is not None:
        steps = mil.add(x=steps, y=_floats(node, offset))
    return mil.cast(x=mil.clip(x=steps, alpha=np.float32(low), beta=np.float32(high)), dtype="int32")


def _dequantize(node: Node) -> Tensor:
    offset = _aligned(node, 2, 0) if node.has(2) else None
    return node.mil.mul(x=_centred(node, node.tensor(0), offset), y=_aligned(node, 1, 0))


def _aligned(node: Node, index: int, like: int) -> Tensor:
    """Return a scale or offset so that it fits the axes of an argument: one a tensor, a slice, or a block."""
    mil, value, shape = node.mil, node.tensor(index), shape_of(node.tensor(like))
    held = shape_of(value)
    axis, block = node.integer("axis", 1), node.integer("block_size", 0)
    if not held or held == (1,):
        return value.reshape(()) if isinstance(value, np.ndarray) else value
    if block:
        places = np.repeat(np.arange(held[axis]), block)[: shape[axis]].astype(np.int32)
        if isinstance(value, np.ndarray):
            return np.take(value, places, axis)
        return mil.gather(x=value, indices=places, axis=axis % len(shape))
    line = [-1 if at == axis % len(shape) else 1 for at in range(len(shape))]
    return value.reshape(line) if isinstance(value, np.ndarray) else mil.reshape(x=value, shape=line)


def _floats(node: Node, x: Tensor) -> Tensor:
    if kind(x) == "f":
        return x
    return x.astype(np.float32) if isinstance(x, np.ndarray) else node.mil.cast(x=x, dtype="fp32")


def _centred(node: Node, x: Tensor, offset: Tensor | None) -> Tensor:
    """Return x - offset as floats; whole numbers are subtracted as such, which keeps all their digits."""
    if offset is not None:
        x = x - offset if isinstance(x, np.ndarray) and isinstance(offset, np.ndarray) else node.mil.sub(x=x, y=offset)
    return _floats(node, x)


def _offset(node: Node, index: int, line: list[int] | None = None) -> Tensor | None:
    """Return the offset at an argument, one a row or column where it has several and ``line`` says how."""
    if not node.has(index):
        return None
    value = node.tensor(index)
    if not len(shape_of(value)) or shape_of(value) == (1,) or line is None:
        return value
    return value.reshape(line) if isinstance(value, np.ndarray) else node.mil.reshape(x=value, shape=line)


def _product(node: Node, x: Tensor, y: Tensor) -> Tensor:
    bare = replace(node, arguments=(x, y), attributes={})
    return linear.LOWERINGS["MatMul"](bare)


def _matmul_integer(node: Node) -> Tensor:
    x = _centred(node, node.tensor(0), _offset(node, 2, [-1, 1]))
    y = _centred(node, node.tensor(1), _offset(node, 3))
    return node.mil.cast(x=node.mil.round(x=_product(node, x, y)), dtype="int32")


def _qlinear_matmul(node: Node) -> Tensor:
    mil = node.mil
    x = mil.mul(x=_centred(node, node.tensor(0), _offset(node, 2, [-1, 1])), y=_scale(node, 1, [-1, 1]))
    y = mil.mul(x=_centred(node, node.tensor(3), _offset(node, 5)), y=_scale(node, 4))
    return _stepped(node, _product(node, x, y), _scale(node, 6), (_offset(node, 7), node.element(7) or 2))


def _scale(node: Node, index: int, line: list[int] | None = None) -> Tensor:
    value = _offset(node, index, line)
    if value is None:
        raise node.refusal(f"lacks its argument {index}")
    return _floats(node, value)


def _conv_integer(node: Node) -> Tensor:
    rank = len(shape_of(node.tensor(0)))
    x = _centred(node, node.tensor(0), _offset(node, 2))
    weight = _centred(node, node.tensor(1), _offset(node, 3, [-1] + [1] * (rank - 1)))
    made = convolution.LOWERINGS["Conv"](replace(node, arguments=(x, weight)))
    return node.mil.cast(x=node.mil.round(x=made), dtype="int32")


def _qlinear_conv(node: Node) -> Tensor:
    """Convolve in steps of both scales: the sums are whole numbers, as in the specification."""
    mil, rank = node.mil, len(shape_of(node.tensor(0)))
    x = _centred(node, node.tensor(0), _offset(node, 2))
    weight = _centred(node, node.tensor(3), _offset(node, 5, [-1] + [1] * (rank - 1)))
    made = convolution.LOWERINGS["Conv"](replace(node, arguments=(x, weight)))
    line = [1, -1] + [1] * (rank - 2)
    if node.has(8):
        bias = _offset(node, 8, line)
        made = mil.add(x=made, y=_floats(node, bias))
    made = mil.mul(x=mil.mul(x=made, y=_scale(node, 1)), y=_scale(node, 4, line))
    return _stepped(node, made, _scale(node, 6), (_offset(node, 7), node.element(7) or 2))


LOWERINGS: dict[str, Lowering] = {
    "ConvInteger": _conv_integer,
    "DequantizeLinear": _dequantize,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QuantizeLinear": _quantize,
}

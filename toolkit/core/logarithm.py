"""Logarithms of values that integers cannot tell apart: spectra on their way to decibels.

``log(x * x + 1e-10)`` asks how many times larger one value is than another, over ten powers of ten; a grid of 256 even
steps has nothing between zero and 0.4 % of the largest. What leads there by linear and arithmetic operators, from the
model's inputs or the last other layer on, adds the same floor of noise under the quiet bands. Whoever quantizes can
find these nodes here and leave them in float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from toolkit.core.artifacts import Range

Node = Any
"""An operator with ``op_type`` and lists of tensor names ``input`` and ``output``, such as an ``onnx.NodeProto``."""

REASON = "a logarithm tells values apart that {bits} bits cannot, and it leads there"

_ARITHMETIC = frozenset({"Abs", "Add", "Clip", "Div", "Max", "Min", "Mul", "Neg", "Pow", "Sqrt", "Square", "Sub"})
_SUMS = frozenset({"ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare"})
_LINEAR = frozenset({"Conv", "ConvTranspose", "DFT", "Einsum", "Gemm", "MatMul", "STFT"})
_ARRANGEMENT = frozenset(
    {"Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "Split", "Squeeze", "Tile"}
    | {"Transpose", "Unsqueeze"}
)
_LEADING = _ARITHMETIC | _SUMS | _LINEAR | _ARRANGEMENT
"""What passes a floor of noise on. An exponential does not: it makes steps of what was added a share of the value."""


def is_too_wide(seen: Range, bits: int) -> bool:
    """Whether a grid of so many bits has its first step above the least value, all of them being positive or zero."""
    return bool(seen.low < seen.high / 2**bits)


def find(nodes: Sequence[Node], too_wide: Callable[[str], bool]) -> tuple[Node, ...]:
    """Return every logarithm of a tensor that is ``too_wide`` for the grid, and what leads to it, in the graph's order.

    Args:
        nodes: the graph, in any order.
        too_wide: whether a tensor, by name, holds values side by side that the grid of its activations cannot tell
            apart from zero.
    """
    makers = {name: node for node in nodes for name in node.output}
    left = [node for node in nodes if node.op_type == "Log" and too_wide(node.input[0])]
    found = {id(node) for node in left}
    while left:
        for name in left.pop().input:
            maker = makers.get(name)
            if maker is not None and id(maker) not in found and maker.op_type in _LEADING:
                found.add(id(maker))
                left.append(maker)
    return tuple(node for node in nodes if id(node) in found)

"""Layers that stay float because a logarithm tells their values apart more finely than integers do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from toolkit.core import logarithm
from toolkit.core.artifacts import Range
from toolkit.targets.tflite.flatbuffer import Graph, Operator

_TYPES = {
    "ADD": "Add",
    "ADD_N": "Add",
    "SUB": "Sub",
    "MUL": "Mul",
    "DIV": "Div",
    "NEG": "Neg",
    "ABS": "Abs",
    "MAXIMUM": "Max",
    "MINIMUM": "Min",
    "POW": "Pow",
    "SQRT": "Sqrt",
    "SQUARE": "Square",
    "LOG": "Log",
    "SUM": "ReduceSum",
    "MEAN": "ReduceMean",
    "REDUCE_MAX": "ReduceMax",
    "REDUCE_MIN": "ReduceMin",
    "CONV_2D": "Conv",
    "DEPTHWISE_CONV_2D": "Conv",
    "TRANSPOSE_CONV": "ConvTranspose",
    "FULLY_CONNECTED": "Gemm",
    "BATCH_MATMUL": "MatMul",
    "CONCATENATION": "Concat",
    "PACK": "Concat",
    "PAD": "Pad",
    "PADV2": "Pad",
    "MIRROR_PAD": "Pad",
    "RESHAPE": "Reshape",
    "SLICE": "Slice",
    "STRIDED_SLICE": "Slice",
    "SPLIT": "Split",
    "SPLIT_V": "Split",
    "UNPACK": "Split",
    "SQUEEZE": "Squeeze",
    "EXPAND_DIMS": "Unsqueeze",
    "TILE": "Tile",
    "BROADCAST_TO": "Expand",
    "TRANSPOSE": "Transpose",
    "GATHER": "Gather",
    "RFFT2D": "DFT",
    "COMPLEX_ABS": "Abs",
    "REAL": "Slice",
    "IMAG": "Slice",
}


class _Node(NamedTuple):
    op_type: str
    input: list[str]
    output: list[str]


def layers_of(graph: Graph, ranges: Mapping[str, Range], bits: int) -> dict[str, str]:
    """Return the layers to leave in float, each with the reason, as :mod:`toolkit.core.logarithm` finds them.

    Args:
        graph: the main graph of the float model.
        ranges: of its activations, by tensor name.
        bits: of the activations.
    """

    def too_wide(name: str) -> bool:
        seen = ranges.get(name)
        return seen is not None and logarithm.is_too_wide(seen, bits)

    nodes = [_node(graph, operator) for operator in graph.operators]
    return {
        node.output[0]: logarithm.REASON.format(bits=bits) for node in logarithm.find(nodes, too_wide) if node.output
    }


def _node(graph: Graph, operator: Operator) -> _Node:
    """A fused activation makes an operator something else than what noise passes through unchanged."""
    return _Node(
        op_type="" if operator.activated else _TYPES.get(operator.kind, operator.kind),
        input=[graph.tensors[index].name for index in operator.inputs if index >= 0],
        output=[graph.tensors[index].name for index in operator.outputs if index >= 0],
    )

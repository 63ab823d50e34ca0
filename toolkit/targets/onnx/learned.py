"""The learned weights of a float ONNX file, layer by layer: what a layer is known by in other runtimes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from toolkit.core.ports import Array
from toolkit.targets.onnx import graph

_TABLE = 0


def learned_weights(model: Path) -> Iterator[tuple[str, Array, int]]:
    """Yield layer, float weights and the axis of their output channels; see :class:`toolkit.core.ports.Target`.

    Raises:
        ModelError: it is no ONNX model, or is damaged.
    """
    read = graph.read(model)
    constants = graph.initializers(read)
    for node in read.graph.node:
        value = graph.attribute(node, "value", None) if node.op_type == "Constant" else None
        if value is not None:
            constants[node.output[0]] = value
    named = Counter(node.name for node in read.graph.node)
    for node in read.graph.node:
        axes = graph.weight_inputs(node, constants)
        if node.op_type == "Gather" and node.input[_TABLE] in constants and graph.attribute(node, "axis", 0) == 0:
            axes = {_TABLE: -1}
        place = next((index for index in axes if _is_weight(constants[node.input[index]])), None)
        if place is not None:
            values = graph.array_of(constants[node.input[place]])
            layer = node.name if node.name and named[node.name] == 1 else node.output[0]
            yield layer, values, axes[place] % values.ndim


def _is_weight(constant: object) -> bool:
    from onnx import TensorProto

    assert isinstance(constant, TensorProto)
    return constant.data_type == TensorProto.FLOAT and len(constant.dims) > 1

"""Batch normalisation in an ONNX graph that no convolution has taken up: written as operators with integer kernels.

``y = scale (x - mean) / sqrt(variance + epsilon) + shift`` (Ioffe and Szegedy 2015) with constants is ``y = a x + b`` a
channel. Behind a convolution or product it goes into that layer's weights; elsewhere it becomes a convolution of each
channel with one weight, which integers compute with a scale a channel and one rounding. As it stands ONNX Runtime
computes it in float between integer layers, and TFLite in four integer operators with a rounding each.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core.ports import Array

Model = Any
"""An ``onnx.ModelProto``."""
Node = Any

OPERATOR = "BatchNormalization"
_EPSILON = 1e-5
_WEIGHT, _BIAS = 1, 2


def rewrite(model: Model, onnx: Any) -> None:
    """Write every batch normalisation of the main graph otherwise, in place, where its constants and rank are known.

    Args:
        model: operator set 9 or later.
        onnx: the library, which this floor does not import.
    """
    if not any(node.op_type == OPERATOR for node in model.graph.node):
        return
    work = _Work(model, onnx)
    made = [new for node in model.graph.node for new in work.instead_of(node)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in made]
    del model.graph.node[:]
    model.graph.node.extend(copies)


@dataclass(frozen=True, slots=True)
class _Line:
    """``factor * x + offset``, float64 [channels]."""

    factor: Array
    offset: Array


class _Work:
    def __init__(self, model: Model, onnx: Any) -> None:
        self._graph, self._onnx = model.graph, onnx
        self._constants = {init.name: init for init in model.graph.initializer}
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._uses = Counter(name for node in model.graph.node for name in node.input)
        self._uses.update(output.name for output in model.graph.output)
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self._ranks = {
            value.name: len(value.type.tensor_type.shape.dim)
            for value in (*inferred.input, *inferred.value_info)
            if value.type.tensor_type.HasField("shape")
        }

    def instead_of(self, node: Node) -> list[Node]:
        """Return the nodes that take the place of one; mostly itself."""
        line = self._line_of(node)
        if line is None:
            return [node]
        if self._into_weights(node, line):
            return []
        rank = self._ranks.get(node.input[0], 0)
        if rank < 2:
            return [node]
        return self._as_convolution(node, line) if rank == 4 else self._as_product(node, line, rank)

    def _line_of(self, node: Node) -> _Line | None:
        if node.op_type != OPERATOR or any(node.output[1:]) or self._attribute(node, "training_mode", 0):
            return None
        if not self._constants.keys() >= set(node.input[1:5]):
            return None
        scale, shift, mean, variance = (self._array(name) for name in node.input[1:5])
        factor = scale / np.sqrt(variance + self._attribute(node, "epsilon", _EPSILON))
        return _Line(factor, shift - mean * factor) if np.isfinite(factor).all() else None

    def _into_weights(self, node: Node, line: _Line) -> bool:
        """Scale the outputs of the layer in front, if nothing else reads them."""
        layer = self._makers.get(node.input[0])
        if layer is None or layer.op_type not in ("Conv", "Gemm") or self._uses[layer.output[0]] > 1:
            return False
        factors = {self._attribute(layer, name, 1.0) for name in ("alpha", "beta")}
        if not self._constants.keys() >= set(filter(None, layer.input[1:])) or factors != {1.0}:
            return False
        weight = self._array(layer.input[_WEIGHT])
        axis = 1 if layer.op_type == "Gemm" and not self._attribute(layer, "transB", 0) else 0
        has_bias = len(layer.input) > _BIAS and layer.input[_BIAS]
        bias = self._array(layer.input[_BIAS]) if has_bias else np.zeros(weight.shape[axis])
        if bias.size not in (1, weight.shape[axis]):
            return False
        spread = [-1 if place == axis else 1 for place in range(weight.ndim)]
        scaled = self._constant(f"{node.name}/weight", weight * line.factor.reshape(spread))
        moved = self._constant(f"{node.name}/bias", bias.reshape(-1) * line.factor + line.offset)
        del layer.input[1:]
        layer.input.extend([scaled, moved])
        layer.output[0] = node.output[0]
        self._makers[node.output[0]] = layer
        return True

    def _as_convolution(self, node: Node, line: _Line) -> list[Node]:
        channels = len(line.factor)
        weight = self._constant(f"{node.name}/weight", line.factor.reshape(channels, 1, 1, 1))
        inputs = [node.input[0], weight, self._constant(f"{node.name}/bias", line.offset)]
        make = self._onnx.helper.make_node
        return [make("Conv", inputs, node.output[:1], node.name, group=channels, kernel_shape=[1, 1])]

    def _as_product(self, node: Node, line: _Line, rank: int) -> list[Node]:
        shape = (-1, *[1] * (rank - 2))
        factor = self._constant(f"{node.name}/factor", line.factor.reshape(shape))
        offset = self._constant(f"{node.name}/offset", line.offset.reshape(shape))
        scaled = f"{node.output[0]}/scaled"
        make = self._onnx.helper.make_node
        return [
            make("Mul", [node.input[0], factor], [scaled], f"{node.name}/scaled"),
            make("Add", [scaled, offset], node.output[:1], node.name),
        ]

    def _array(self, name: str) -> Array:
        return np.asarray(self._onnx.numpy_helper.to_array(self._constants[name]), np.float64)

    def _constant(self, name: str, values: Array) -> str:
        while name in self._constants or name in self._makers:
            name = f"{name}~"
        made = self._onnx.numpy_helper.from_array(np.asarray(values, np.float32), name)
        self._graph.initializer.append(made)
        self._constants[name] = made
        return name

    def _attribute(self, node: Node, name: str, default: Any) -> Any:
        get = self._onnx.helper.get_attribute_value
        return next((get(item) for item in node.attribute if item.name == name), default)

"""Inputs and outputs of a statically quantized graph as 8-bit integers, and the grid that they stand on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.artifacts import Range, Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.targets.onnx import graph, runtime
from toolkit.targets.onnx.graph import Model, Node

_BORDER_DTYPES = ("int8", "uint8", "int16", "uint16")
_ROUND, _WIDEN = "QuantizeLinear", "DequantizeLinear"


def to_integers(model: Model, ranges: Mapping[str, Range]) -> None:
    """Make every float input and output of a quantized graph unsigned 8-bit, in place.

    The integers are those that the graph works with inside; where a border layer stayed float they follow from the
    calibrated range.

    Raises:
        ModelError: calibration never saw the tensor.
    """
    from onnx import TensorProto

    for value in model.graph.input:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            _open_input(model, value.name, ranges)
            value.type.tensor_type.elem_type = TensorProto.UINT8
    for value in model.graph.output:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            _open_output(model, value.name, ranges)
            value.type.tensor_type.elem_type = TensorProto.UINT8
    graph.sort(model)
    graph.drop_unused(model)


def grids(model: Model) -> dict[str, tuple[float, int]]:
    """Return scale and zero point of the inputs and outputs that are integers standing for floats."""
    constants = graph.initializers(model)
    inputs = {value.name for value in model.graph.input}
    outputs = {value.name for value in model.graph.output}
    found = {}
    for node in model.graph.node:
        is_border = (node.op_type == _WIDEN and node.input[0] in inputs) or (
            node.op_type == _ROUND and node.output[0] in outputs
        )
        if is_border and node.input[1] in constants and len(node.input) > 2 and node.input[2] in constants:
            scale, zero = (graph.array_of(constants[name]) for name in node.input[1:3])
            if scale.size == 1:
                border = node.input[0] if node.op_type == _WIDEN else node.output[0]
                found[border] = (float(scale.reshape(())), int(zero.reshape(())))
    return found


def open_session(model: Path, threads: int) -> runtime.OrtSession:
    """Load a model as an app would; its signature says what integers at the borders stand for."""
    session = runtime.open_session(model, threads)
    plain = session.signature
    if any(spec.dtype in _BORDER_DTYPES for spec in (*plain.inputs, *plain.outputs)):
        found = grids(graph.read(model))
        session.signature = Signature(
            inputs=tuple(_on_grid(spec, found) for spec in plain.inputs),
            outputs=tuple(_on_grid(spec, found) for spec in plain.outputs),
        )
    return session


def _on_grid(spec: TensorSpec, found: Mapping[str, tuple[float, int]]) -> TensorSpec:
    scale, zero = found.get(spec.name, (0.0, 0))
    return dataclasses.replace(spec, scale=scale, zero_point=zero)


def _open_input(model: Model, name: str, ranges: Mapping[str, Range]) -> None:
    rounded = next((n for n in model.graph.node if n.op_type == _ROUND and n.input[0] == name), None)
    parts = list(rounded.input[1:]) if rounded is not None else _grid(model, name, ranges)
    floats = graph.own_name(name, "float")
    for node in model.graph.node:
        if node is rounded:
            continue
        for index, read in enumerate(node.input):
            if rounded is not None and read == rounded.output[0]:
                node.input[index] = name
            elif read == name:
                node.input[index] = floats
    if any(floats in node.input for node in model.graph.node):
        model.graph.node.append(_node(_WIDEN, [name, *parts], floats))
    if rounded is not None:
        graph.replace(model.graph.node, [node for node in model.graph.node if node is not rounded])


def _open_output(model: Model, name: str, ranges: Mapping[str, Range]) -> None:
    makers = {out: node for node in model.graph.node for out in node.output}
    maker, inner = makers[name], graph.own_name(name, "float")
    rounded = makers.get(maker.input[0]) if maker.op_type == _WIDEN else None
    _rename(model, name, inner)
    if rounded is None or rounded.op_type != _ROUND:
        model.graph.node.append(_node(_ROUND, [inner, *_grid(model, name, ranges)], name))
        return
    _rename(model, rounded.output[0], name)
    if not any(inner in node.input for node in model.graph.node):
        graph.replace(model.graph.node, [node for node in model.graph.node if inner not in node.output])


def _rename(model: Model, name: str, new: str) -> None:
    """Rename a tensor in all nodes, but not in the list of outputs."""
    for node in model.graph.node:
        for field in (node.input, node.output):
            for index, other in enumerate(field):
                if other == name:
                    field[index] = new


def _grid(model: Model, name: str, ranges: Mapping[str, Range]) -> list[str]:
    """Add scale and zero point of a tensor, ``(high - low) / 255`` with the range widened to hold zero."""
    if name not in ranges:
        raise ModelError(f"Calibration never saw {name!r}, so it cannot be an integer.", hint='Take io = "float".')
    low, high = min(ranges[name].low, 0.0), max(ranges[name].high, 0.0)
    scale = np.float32((high - low) / 255 or 1)
    parts = [graph.own_name(name, "scale"), graph.own_name(name, "zero")]
    graph.add_constant(model, parts[0], np.asarray(scale))
    graph.add_constant(model, parts[1], np.asarray(np.uint8(np.clip(np.rint(-low / scale), 0, 255))))
    return parts


def _node(operator: str, inputs: list[str], output: str) -> Node:
    from onnx import helper

    made: Any = helper.make_node(operator, inputs, [output], graph.own_name(output, operator))
    return made

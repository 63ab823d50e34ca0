"""The learned weights of a float ``.tflite`` file, layer by layer: what a layer is known by in other runtimes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.errors import ModelError
from toolkit.core.ports import Array
from toolkit.targets.tflite.census import weighted
from toolkit.targets.tflite.flatbuffer import Graph, Operator, read_graph

_OUTPUT_AXIS = {"CONV_2D": 0, "TRANSPOSE_CONV": 0, "FULLY_CONNECTED": 0}
"""Where output channels lie in the weights of an operator; last in those of all others."""


def learned_weights(model: Path) -> Iterator[tuple[str, Array, int]]:
    """Yield layer, float weights and the axis of their output channels; see :class:`toolkit.core.ports.Target`.

    Raises:
        ModelError: it is no ``.tflite`` file, or is damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = read_graph(model)
    raw = model.read_bytes()
    parsed = schema.Model.GetRootAs(raw, 0)
    for operator in weighted(graph):
        place = _largest(graph, operator)
        if place is not None and operator.outputs:
            values = _values(parsed, raw, place, graph.tensors[place].shape)
            axis = _OUTPUT_AXIS.get(operator.kind, -1) % values.ndim
            yield graph.tensors[operator.outputs[0]].name, values, axis


def _largest(graph: Graph, operator: Operator) -> int | None:
    floats = [
        index
        for index in operator.inputs
        if graph.is_constant(index) and graph.tensors[index].dtype == "float32" and len(graph.tensors[index].shape) > 1
    ]
    return max(floats, key=lambda index: graph.tensors[index].constant_bytes, default=None)


def _values(parsed: Any, raw: bytes, place: int, shape: tuple[int, ...]) -> Array:
    buffer = parsed.Buffers(parsed.Subgraphs(0).Tensors(place).Buffer())
    if buffer.DataLength():
        content = bytes(memoryview(buffer.DataAsNumpy()))
    else:  # beyond 2 GB buffers lie behind the flatbuffer
        content = raw[buffer.Offset() : buffer.Offset() + buffer.Size()]
    values = np.frombuffer(content, "<f4")
    if values.size != int(np.prod(shape)):
        raise ModelError(f"A tensor of shape {list(shape)} holds {values.size} floats: the file is damaged.")
    return values.reshape(shape)

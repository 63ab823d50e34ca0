"""Activations that the translator to TFLite does not know, written as arithmetic that it does."""

from __future__ import annotations

from typing import Any

import numpy as np

Model = Any
"""An ``onnx.ModelProto``."""
_DEFAULTS = {"HardSigmoid": (0.2, 0.5), "HardSwish": (1 / 6, 0.5)}
"""Slope and offset of the line that is clipped to 0..1, where a node does not say them (ONNX operator definitions)."""


def with_plain_activations(model: Model) -> Model:
    """Return the model with each HardSigmoid, HardSwish and Reciprocal as products, sums, quotients and clipping."""
    from onnx import helper

    known = (*_DEFAULTS, "Reciprocal")
    if not any(node.op_type in known for node in model.graph.node):
        return model
    nodes: list[Any] = []
    constants: list[Any] = []
    for node in model.graph.node:
        if node.op_type == "Reciprocal":
            one = _constant(f"{node.output[0]}/one", 1.0, constants)
            nodes.append(helper.make_node("Div", [one, node.input[0]], node.output, node.name))
        elif node.op_type in _DEFAULTS:
            nodes += _clipped_line(node, constants)
        else:
            nodes.append(node)
    graph = helper.make_graph(
        nodes, model.graph.name, model.graph.input, model.graph.output, [*model.graph.initializer, *constants]
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _clipped_line(node: Any, constants: list[Any]) -> list[Any]:
    from onnx import helper

    given = {item.name: item.f for item in node.attribute}
    slope, offset = (
        given.get(word, usual) for word, usual in zip(("alpha", "beta"), _DEFAULTS[node.op_type], strict=True)
    )
    source, name = node.input[0], node.output[0]
    gate = name if node.op_type == "HardSigmoid" else f"{name}/gate"
    numbers = {"slope": slope, "offset": offset, "low": 0.0, "high": 1.0}
    words = {word: _constant(f"{name}/{word}", number, constants) for word, number in numbers.items()}
    made = [
        helper.make_node("Mul", [source, words["slope"]], [f"{name}/line"], f"{name}/mul"),
        helper.make_node("Add", [f"{name}/line", words["offset"]], [f"{name}/raised"], f"{name}/add"),
        helper.make_node("Clip", [f"{name}/raised", words["low"], words["high"]], [gate], f"{name}/clip"),
    ]
    if gate != name:
        made.append(helper.make_node("Mul", [source, gate], [name], node.name))
    return made


def _constant(name: str, number: float, constants: list[Any]) -> str:
    from onnx import numpy_helper

    constants.append(numpy_helper.from_array(np.asarray(number, np.float32), name))
    return name

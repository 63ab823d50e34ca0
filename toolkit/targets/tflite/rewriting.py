"""ONNX operators that TFLite lacks, written as ones that it has, before the translation."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.core import gelu
from toolkit.core.ports import Array

Model = Any
"""An ``onnx.ModelProto``."""

_TINY = 1e-30
_ERF_P = 0.3275911
_ERF_A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
"""Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: off by at most 1.5e-7."""


def with_tflite_operators(model: Model) -> Model:
    """Return the model with each GELU as one operator, which TFLite has, and every other Erf as a polynomial.

    The translator reads a ``Gelu`` whatever the operator set, so the rest of the model keeps its own.
    """
    from onnx import helper

    nodes = list(model.graph.node)
    if not any(node.op_type in ("Erf", "Tanh") for node in nodes):
        return model
    constants = {init.name: init for init in model.graph.initializer}
    shown = {value.name for value in model.graph.output}
    fused = {id(found.nodes[-1]): found for found in gelu.find(nodes, _value_in(constants), shown)}
    gone = {id(node) for found in fused.values() for node in found.nodes}
    made = []
    for node in nodes:
        if id(node) in fused:
            found = fused[id(node)]
            mode = "tanh" if found.approximate else "none"
            made.append(helper.make_node("Gelu", [found.source], [found.output], node.name, approximate=mode))
        elif id(node) not in gone:
            made += _erf(model, node.input[0], node.output[0]) if node.op_type == "Erf" else [node]
    graph = helper.make_graph(made, model.graph.name, model.graph.input, model.graph.output, model.graph.initializer)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _value_in(constants: dict[str, Any]) -> gelu.ValueOf:
    from onnx import numpy_helper

    def value_of(name: str) -> float | None:
        values: Array = numpy_helper.to_array(constants[name]) if name in constants else np.empty(0)
        return float(values.reshape(-1)[0]) if values.size == 1 else None

    return value_of


def _erf(model: Model, source: str, output: str) -> list[Any]:
    """Return nodes for ``erf(x) = sign(x) (1 - poly(t) exp(-x^2))`` with ``t = 1 / (1 + p |x|)``."""
    from onnx import helper, numpy_helper

    nodes: list[Any] = []

    def constant(value: float) -> str:
        name = f"{output}/erf/{value}"
        if all(init.name != name for init in model.graph.initializer):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(operator: str, *inputs: str, to: str = "") -> str:
        made = to or f"{output}/erf/{len(nodes)}"
        nodes.append(helper.make_node(operator, list(inputs), [made], f"{made}/node"))
        return made

    size = node("Abs", source)
    t = node("Div", constant(1.0), node("Add", node("Mul", size, constant(_ERF_P)), constant(1.0)))
    poly = node("Mul", t, constant(_ERF_A[-1]))
    for factor in reversed(_ERF_A[:-1]):
        poly = node("Mul", node("Add", poly, constant(factor)), t)
    bell = node("Exp", node("Neg", node("Mul", source, source)))
    sign = node("Div", source, node("Add", size, constant(_TINY)))  # the exporter has no Sign; exact but next to zero
    node("Mul", sign, node("Sub", constant(1.0), node("Mul", poly, bell)), to=output)
    return nodes

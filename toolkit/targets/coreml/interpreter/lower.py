"""Lower an ML Program to an ONNX graph, operator by operator."""

from __future__ import annotations

from typing import Any

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.targets.coreml.interpreter import graph as onnx_graph
from toolkit.targets.coreml.interpreter.graph import Graph, Layer, computed_dtype, onnx_type
from toolkit.targets.coreml.interpreter.operators import LOWERINGS
from toolkit.targets.coreml.interpreter.program import Program, Value

_IR_VERSION = 9


def lower(program: Program, signature: Signature) -> Any:
    """Return the ``onnx.ModelProto`` that computes what the program computes.

    Its inputs and outputs have the names and dtypes of ``signature``, which is the model description's.

    Raises:
        ModelError: an operator is not supported; it and its layer are named.
    """
    from onnx import helper

    check_supported(program)
    graph = Graph()
    inputs = [_open_input(graph, value, signature.inputs) for value in program.inputs]
    # what a float16 interface casts last must first exist under another name
    graph.renamed.update({value.name: graph.fresh(value.name) for value in program.outputs})
    for operation in program.operations:
        LOWERINGS[operation.operator](Layer(operation, graph))
    outputs = [_close_output(graph, value, signature.outputs) for value in program.outputs]
    made = helper.make_graph(graph.nodes, "program", inputs, outputs, list(graph.constants.values()))
    opsets = [helper.make_opsetid("", onnx_graph.OPSET)]
    return helper.make_model(made, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="palmtop")


def check_supported(program: Program) -> None:
    """Hold a program's operators against those that are lowered.

    Raises:
        ModelError: one is not; the first is named with its layer, and the others are listed.
    """
    unknown = [operation for operation in program.operations if operation.operator not in LOWERINGS]
    if unknown:
        others = sorted({operation.operator for operation in unknown[1:]} - {unknown[0].operator})
        more = f" Nor are: {', '.join(others)}." if others else ""
        raise ModelError(
            f"The operator {unknown[0].operator!r} of layer {unknown[0].name!r} is not executed on the host.{more}",
            hint="docs/coreml.md lists what is.",
        )


def _open_input(graph: Graph, value: Value, specs: tuple[TensorSpec, ...]) -> Any:
    from onnx import helper

    spec = _spec_of(value, specs)
    computed = computed_dtype(value.type.dtype)
    if spec.dtype != computed:
        graph.renamed[value.name] = graph.fresh(value.name)
        graph.add("Cast", [value.name], [graph.renamed[value.name]], to=onnx_type(computed))
    return helper.make_tensor_value_info(value.name, onnx_type(spec.dtype), value.type.shape)


def _close_output(graph: Graph, value: Value, specs: tuple[TensorSpec, ...]) -> Any:
    from onnx import helper

    spec = _spec_of(value, specs)
    graph.add("Cast", [graph.tensor(value)], [value.name], to=onnx_type(spec.dtype))
    return helper.make_tensor_value_info(value.name, onnx_type(spec.dtype), value.type.shape)


def _spec_of(value: Value, specs: tuple[TensorSpec, ...]) -> TensorSpec:
    for spec in specs:
        if spec.name == value.name:
            return spec
    raise ModelError(
        f"The program's {value.name!r} is not in the model's description.", hint="Convert the model again."
    )

"""Lower an ML Program to an ONNX graph, operator by operator."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.core.artifacts import TensorSpec
from toolkit.core.errors import ModelError
from toolkit.targets.coreml.interface import Colour, Interface
from toolkit.targets.coreml.interpreter import graph as onnx_graph
from toolkit.targets.coreml.interpreter.graph import GRAPH_BYTES, Graph, Layer, computed_dtype, onnx_type
from toolkit.targets.coreml.interpreter.operators import LOWERINGS
from toolkit.targets.coreml.interpreter.program import NO_TENSORS, Operation, Program, Value

_IR_VERSION = 9


def lower(program: Program, interface: Interface, *, rounded: bool = False) -> Any:
    """Return the ``onnx.ModelProto`` that computes what the program computes.

    Its inputs and outputs have the names and dtypes of the interface's signature, which is the model description's.
    Where it is ``rounded``, every float16 tensor is rounded to half precision as soon as it is computed.

    Raises:
        ModelError: an operator is not supported, a shape is flexible or absurd, or an operation contradicts itself; it
            and its layer are named.
    """
    from onnx import helper

    check_supported(program)
    _check_fixed(program)
    graph = Graph()
    inputs = [_open_input(graph, value, interface) for value in program.inputs]
    # what a float16 interface casts last must first exist under another name
    graph.renamed.update({value.name: graph.fresh(value.name) for value in program.outputs})
    for operation in program.operations:
        kept = {value.name: _before_rounding(graph, value) for value in operation.outputs} if rounded else {}
        _lower(operation, graph)
        for name, after in kept.items():
            _round(graph, name, after)
    outputs = [_close_output(graph, value, interface) for value in program.outputs]
    made = helper.make_graph(graph.nodes, "program", inputs, outputs, list(graph.constants.values()))
    opsets = [helper.make_opsetid("", onnx_graph.OPSET)]
    return helper.make_model(made, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="palmtop")


def _lower(operation: Operation, graph: Graph) -> None:
    layer = Layer(operation, graph)
    try:
        LOWERINGS[operation.operator](layer)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # such as an axis beyond the rank: coremltools writes none, but any file may be opened
        raise layer.refusal(f"contradicts itself ({type(error).__name__}: {error})") from error


def _before_rounding(graph: Graph, value: Value) -> str:
    """Let a float16 value be computed under another name; return the one it has after rounding, empty for others."""
    if value.type.dtype != "fp16":
        return ""
    name = graph.name_of(value)
    graph.renamed[value.name] = graph.fresh(value.name)
    return name


def _round(graph: Graph, name: str, after: str) -> None:
    if not after:
        return
    before = graph.renamed.pop(name)
    if after != name:
        graph.renamed[name] = after
    if before in graph.constants:  # a constant has the precision that the file gives it
        graph.add("Identity", [before], [after])
        return
    half = graph.fresh(name)
    graph.add("Cast", [before], [half], to=onnx_type("float16"))
    graph.add("Cast", [half], [after], to=onnx_type("float32"))


def check_supported(program: Program) -> None:
    """Hold a program's operators against those that are lowered.

    Raises:
        ModelError: one is not; the first is named with its layer, and the others are listed. Or a value is no tensor.
    """
    for value in (*program.inputs, *program.outputs):
        if value.type.dtype == "state":
            raise ModelError(
                f"The program keeps state between calls ({value.name!r}), which is not executed on the host.",
                hint="Convert the model with its state as inputs and outputs.",
            )
        if value.type.dtype in NO_TENSORS:
            raise ModelError(
                f"The program's {value.name!r} is a {value.type.dtype}, which is not executed on the host."
            )
    unknown = [operation for operation in program.operations if operation.operator not in LOWERINGS]
    if unknown:
        others = sorted({operation.operator for operation in unknown[1:]} - {unknown[0].operator})
        more = f" Nor are: {', '.join(others)}." if others else ""
        raise ModelError(
            f"The operator {unknown[0].operator!r} of layer {unknown[0].name!r} is not executed on the host.{more}",
            hint="docs/coreml.md lists what is.",
        )


def _check_fixed(program: Program) -> None:
    for operation in program.operations:
        for value in operation.outputs:
            if -1 in value.type.shape:
                raise ModelError(
                    f"The layer {operation.name!r} ({operation.operator}) yields a tensor of flexible shape.",
                    hint="Only shapes that follow from those of the inputs are executed on the host.",
                )
            if 4 * value.type.count > GRAPH_BYTES:
                raise ModelError(
                    f"The layer {operation.name!r} ({operation.operator}) yields a tensor of the absurd shape "
                    f"{list(value.type.shape)}.",
                    hint="No phone holds it; convert the model with smaller inputs.",
                )


def _open_input(graph: Graph, value: Value, interface: Interface) -> Any:
    from onnx import helper

    spec = _spec_of(value, interface.signature.inputs)
    computed = computed_dtype(value.type.dtype)
    colour = interface.pictures.get(value.name)
    if spec.dtype != computed or colour:
        name = value.name
        graph.renamed[name] = graph.fresh(name)
        made = graph.fresh(name) if colour else graph.renamed[name]
        graph.add("Cast", [name], [made], to=onnx_type(computed))
        if colour:
            graph.add("Transpose", [_swapped(graph, made, colour)], [graph.renamed[name]], perm=[0, 3, 1, 2])
    return helper.make_tensor_value_info(value.name, onnx_type(spec.dtype), spec.shape if colour else value.type.shape)


def _close_output(graph: Graph, value: Value, interface: Interface) -> Any:
    from onnx import helper

    spec = _spec_of(value, interface.signature.outputs)
    colour = interface.pictures.get(value.name)
    made, shape = graph.tensor(value), value.type.shape
    dtype = "int64" if value.name == interface.label else spec.dtype
    if colour:
        turned, shape = graph.fresh(value.name), spec.shape
        graph.add("Transpose", [made], [turned], perm=[0, 2, 3, 1])
        made = _pixels(graph, _swapped(graph, turned, colour))
    graph.add("Cast", [made], [value.name], to=onnx_type(dtype))
    return helper.make_tensor_value_info(value.name, onnx_type(dtype), shape)


def _swapped(graph: Graph, tensor: str, colour: Colour) -> str:
    """Turn RGB into the colours of the program, or back, on the last axis."""
    if colour != "bgr":
        return tensor
    made = graph.fresh(tensor)
    graph.add("Gather", [tensor, graph.constant(np.array([2, 1, 0]), graph.fresh(tensor))], [made], axis=3)
    return made


def _pixels(graph: Graph, tensor: str) -> str:
    """Round to whole numbers from 0 to 255."""
    rounded, made = graph.fresh(tensor), graph.fresh(tensor)
    limits = [graph.constant(np.array(limit, np.float32), graph.fresh(tensor)) for limit in (0, 255)]
    graph.add("Round", [tensor], [rounded])
    graph.add("Clip", [rounded, *limits], [made])
    return made


def _spec_of(value: Value, specs: tuple[TensorSpec, ...]) -> TensorSpec:
    for spec in specs:
        if spec.name == value.name:
            return spec
    raise ModelError(
        f"The program's {value.name!r} is not in the model's description.", hint="Convert the model again."
    )

"""ONNX graphs: read with distrust, brought into the one shape that calibration and quantization both work on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.errors import ModelError
from toolkit.core.ports import Array
from toolkit.core.store import writing_to
from toolkit.targets.onnx import runtime

Model = Any
"""An ``onnx.ModelProto``; the library is imported inside functions only."""
Node = Any
"""An ``onnx.NodeProto``."""

WEIGHT_AXIS: Mapping[str, Mapping[int, int]] = {
    "Conv": {1: 0},
    "ConvTranspose": {1: 1},
    "MatMul": {0: -2, 1: -1},
    "LSTM": {1: 1, 2: 1},
    "GRU": {1: 1, 2: 1},
    "RNN": {1: 1, 2: 1},
}
"""Operators with weights: their inputs that may be weights, and the axis of the output channels there. Gemm's depends
on whether its weight is transposed."""
WEIGHTED = frozenset({*WEIGHT_AXIS, "Gemm"})
IR_WITH_INT4 = 10
"""The first version of the file format with 4-bit integers."""
BIAS = 2
"""The input of a Conv, ConvTranspose or Gemm that is its bias."""


def read(path: Path) -> Model:
    """Read and check one ONNX file.

    Raises:
        ModelError: there is none, it is cut short or not ONNX, or its weights lie in other files.
    """
    import onnx
    from google.protobuf.message import DecodeError

    damaged = "Export it again; palmtop reads single-file ONNX models."
    if not path.is_file():
        raise ModelError(f"There is no ONNX file {path}.")
    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{path.name} is not an ONNX model or is cut short.", hint=damaged) from error
    if not model.graph.node or not model.graph.output or not model.opset_import:
        raise ModelError(f"{path.name} is not an ONNX model or is cut short: it holds no graph.", hint=damaged)
    outside = next((init.name for init in model.graph.initializer if init.external_data), None)
    if outside is not None:
        raise ModelError(f"{path.name} keeps the weight {outside!r} in another file.", hint=damaged)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelError(f"{path.name} is not a valid ONNX model: {runtime.one_line(error)}", hint=damaged) from error
    return model


def read_unchecked(path: Path) -> Model:
    """Read a file that ONNX Runtime just wrote; it may hold operators that the checker does not know."""
    import onnx

    return onnx.load_model(str(path))


def write(model: Model, out: Path) -> None:
    """Write a model as one file.

    Raises:
        ModelError: it is beyond the 2 GB that one file can hold.
        OutputError: the place cannot be written.
    """
    try:
        raw = model.SerializeToString()
    except ValueError as error:
        raise ModelError("The model is larger than the 2 GB one ONNX file can hold.") from error
    with writing_to(out.parent):
        out.write_bytes(raw)


def lower_ir_version(model: Model) -> None:
    """Stamp the file format that the model's operator sets call for, so that older runtimes on phones take it."""
    from onnx import TensorProto, helper

    known = [opset for opset in model.opset_import if opset.domain in ("", "ai.onnx.ml")]
    four_bits = any(init.data_type in (TensorProto.INT4, TensorProto.UINT4) for init in model.graph.initializer)
    lowest = IR_WITH_INT4 if four_bits else 8
    model.ir_version = max(lowest, min(model.ir_version, helper.find_min_ir_version_for(known)))


def opset_of(model: Model) -> int:
    """Return the version of the standard operators, 0 when the model uses none."""
    return next((int(opset.version) for opset in model.opset_import if opset.domain in ("", "ai.onnx")), 0)


def initializers(model: Model) -> dict[str, Any]:
    """Return the ``TensorProto`` of each constant of the main graph, by name."""
    return {init.name: init for init in model.graph.initializer}


def subgraphs(node: Node) -> Iterator[Any]:
    """Yield the graphs inside a node: branches of an If, the body of a Loop or Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def captured(nodes: Iterable[Node]) -> set[str]:
    """Return every name that a graph inside one of the nodes mentions; some are tensors of the graph around it."""
    found: set[str] = set()
    pending = [inner for node in nodes for inner in subgraphs(node)]
    while pending:
        graph = pending.pop()
        found.update(output.name for output in graph.output)
        for node in graph.node:
            found.update(node.input)
            pending.extend(subgraphs(node))
    return found


def sort(model: Model) -> None:
    """Put every node of the main graph behind those that it reads from, as the format demands."""
    makers = {name: index for index, node in enumerate(model.graph.node) for name in node.output if name}
    needs = [{makers[name] for name in (*node.input, *captured([node])) if name in makers} for node in model.graph.node]
    order = list(TopologicalSorter(dict(enumerate(needs))).static_order())
    replace(model.graph.node, [model.graph.node[index] for index in order])


def drop_unused(model: Model) -> None:
    """Remove the constants that nothing reads."""
    used = captured(model.graph.node) | {name for node in model.graph.node for name in node.input}
    used.update(output.name for output in model.graph.output)
    replace(model.graph.initializer, [init for init in model.graph.initializer if init.name in used])


def weight_inputs(node: Node, constants: Mapping[str, Any]) -> dict[int, int]:
    """Return the inputs of a node that are constant weights, each with the axis of its output channels."""
    axes = WEIGHT_AXIS.get(node.op_type, {})
    if node.op_type == "Gemm":
        axes = {1: 0 if attribute(node, "transB", 0) else 1}
    return {index: axis for index, axis in axes.items() if index < len(node.input) and node.input[index] in constants}


def attribute(node: Node, name: str, default: Any) -> Any:
    """Return the value of a node's attribute."""
    from onnx import helper

    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def prepare(model: Model) -> None:
    """Bring a model into the shape that the quantizer can work on, in place; the same model gives the same names.

    Constant nodes become initializers, every node has a name of its own, a constant with two different jobs becomes
    two, factors and biases of Gemm are plain, and what the file claims of inner tensors (often wrong) is dropped.
    """
    _constants_to_initializers(model)
    _name_nodes(model)
    _drop_default_inputs(model)
    _separate_weights(model)
    _plain_gemms(model)
    del model.graph.value_info[:]


def names(model: Model) -> set[str]:
    """Return the name of every tensor of the main graph."""
    found = {name for node in model.graph.node for name in (*node.input, *node.output)}
    return found | {value.name for value in (*model.graph.input, *model.graph.initializer)}


def rename(model: Model, new: Mapping[str, str]) -> None:
    """Give tensors other names, everywhere; a tensor that already has one of them makes way."""
    taken = set(new.values())
    mapping = {name: f"{name}/inner" for name in names(model) if name in taken and name not in new}
    mapping.update(new)
    for node in model.graph.node:
        for field in (node.input, node.output):
            for index, name in enumerate(field):
                field[index] = mapping.get(name, name)
        for inner in subgraphs(node):
            _rename_captured(inner, mapping)
    for values in (model.graph.input, model.graph.output, model.graph.initializer, model.graph.value_info):
        for value in values:
            value.name = mapping.get(value.name, value.name)


def _rename_captured(inner: Any, mapping: Mapping[str, str]) -> None:
    own = {value.name for value in (*inner.input, *inner.initializer)}
    own.update(name for node in inner.node for name in node.output)
    seen = {name: new for name, new in mapping.items() if name not in own}
    for node in inner.node:
        for index, name in enumerate(node.input):
            node.input[index] = seen.get(name, name)
        for deeper in subgraphs(node):
            _rename_captured(deeper, seen)
    for output in inner.output:
        output.name = seen.get(output.name, output.name)


@dataclass(frozen=True, slots=True)
class TensorType:
    """What ONNX Runtime infers of a tensor: numpy's word for its type, and its shape with -1 for unknown sizes."""

    dtype: str
    shape: tuple[int, ...]


def expose(model: Model) -> bytes:
    """Return a copy of a model in which every tensor that a node makes is an output."""
    import onnx

    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    known = {output.name for output in model.graph.output}
    for node in model.graph.node:
        fresh = [name for name in node.output if name and name not in known]
        exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in fresh)
    return bytes(exposed.SerializeToString())


def types_of(session: Any) -> dict[str, TensorType]:
    """Return the types of a session's inputs and outputs, those of sequences and maps left out."""
    return {
        arg.name: TensorType(
            runtime.DTYPES[arg.type], tuple(size if isinstance(size, int) else -1 for size in arg.shape)
        )
        for arg in (*session.get_inputs(), *session.get_outputs())
        if arg.type in runtime.DTYPES
    }


def declare(model: Model, types: Mapping[str, TensorType]) -> None:
    """Write the inferred types of inner tensors into the model."""
    from onnx import helper

    outer = {value.name for value in (*model.graph.input, *model.graph.output)}
    for name, kind in types.items():
        if name not in outer:
            element = helper.np_dtype_to_tensor_dtype(np.dtype(kind.dtype))
            shape = [None if size < 0 else size for size in kind.shape]
            model.graph.value_info.append(helper.make_tensor_value_info(name, element, shape))


OWN = "~"
"""Marks the names of the tensors that palmtop adds to a graph."""


def own_name(name: str, part: str = "") -> str:
    """Return a name for a tensor that palmtop adds, made from the one that it serves."""
    return f"{name}{OWN}{part}"


def use_domain(model: Model, domain: str) -> None:
    """Declare version 1 of an operator set unless the model has it."""
    from onnx import helper

    if all(opset.domain != domain for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(domain, 1))


def array_of(constant: Any) -> Array:
    """Return the values of a ``TensorProto``."""
    from onnx import numpy_helper

    return np.asarray(numpy_helper.to_array(constant))


def limits_of(integers: Array) -> tuple[int, int]:
    """Return the least and the largest integer of an array's type, which may have 4 bits only."""
    import ml_dtypes

    known = ml_dtypes.iinfo(integers.dtype)
    return int(known.min), int(known.max)


def add_constant(model: Model, name: str, values: Array) -> None:
    """Add an initializer."""
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, order="C"), name))


def _constants_to_initializers(model: Model) -> None:
    outputs = {output.name for output in model.graph.output}
    kept = []
    for node in model.graph.node:
        value = attribute(node, "value", None) if node.op_type == "Constant" else None
        if value is None or node.output[0] in outputs:
            kept.append(node)
        else:
            model.graph.initializer.add().CopyFrom(value)
            model.graph.initializer[-1].name = node.output[0]
    replace(model.graph.node, kept)


def replace(field: Any, items: Sequence[Any]) -> None:
    """Make some of a repeated field's own items its whole content, in the order given."""
    copies = [type(item)() for item in items]
    for copy, item in zip(copies, items, strict=True):
        copy.CopyFrom(item)
    del field[:]
    field.extend(copies)


def _name_nodes(model: Model) -> None:
    taken = Counter(node.name for node in model.graph.node)
    for index, node in enumerate(model.graph.node):
        if not node.name or taken[node.name] > 1:
            node.name = f"{node.op_type}_{index}_{next(filter(None, node.output), '')}"


def _drop_default_inputs(model: Model) -> None:
    constants = initializers(model)
    replace(model.graph.input, [value for value in model.graph.input if value.name not in constants])


def _separate_weights(model: Model) -> None:
    constants = initializers(model)
    jobs: dict[str, set[tuple[str, int | str]]] = {}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            jobs.setdefault(name, set()).add(_job(node, index, constants))
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name in constants and len(jobs[name]) > 1 and _job(node, index, constants)[0] != "other":
                own = f"{name}/of/{node.name}/{index}"
                model.graph.initializer.add().CopyFrom(constants[name])
                model.graph.initializer[-1].name = node.input[index] = own


def _job(node: Node, index: int, constants: Mapping[str, Any]) -> tuple[str, int | str]:
    """Say what a node takes an input for. A weight serves many nodes that share its channel axis, a bias only one."""
    axes = weight_inputs(node, constants)
    if index in axes:
        return "weight", axes[index] % max(1, len(constants[node.input[index]].dims))
    if index == BIAS and node.op_type in ("Conv", "ConvTranspose", "Gemm"):
        return "bias", node.name
    return "other", 0


def _plain_gemms(model: Model) -> None:
    """Fold the factors of Gemm into its constants and make its bias a vector; ORT's quantizer gets both wrong."""
    constants = initializers(model)
    for node in model.graph.node:
        if node.op_type != "Gemm" or node.input[1] not in constants:
            continue
        alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
        weight = array_of(constants[node.input[1]])
        width = weight.shape[weight_inputs(node, constants)[1]]
        if alpha != 1:
            _give(model, node, 1, weight * np.asarray(alpha, weight.dtype))
            _set_to_one(node, "alpha")
        if len(node.input) <= BIAS or node.input[BIAS] not in constants:
            continue
        bias = array_of(constants[node.input[BIAS]])
        if bias.size in (1, width) and bias.shape[-1:] in ((), (1,), (width,)):
            if beta != 1 or bias.shape != (width,):
                _give(model, node, BIAS, np.broadcast_to(bias.reshape(-1), (width,)) * np.asarray(beta, bias.dtype))
            _set_to_one(node, "beta")


def _give(model: Model, node: Node, index: int, values: Array) -> None:
    own = f"{node.input[index]}/in/{node.name}"
    add_constant(model, own, values)
    node.input[index] = own


def _set_to_one(node: Node, factor: str) -> None:
    for item in node.attribute:
        if item.name == factor:
            item.f = 1.0

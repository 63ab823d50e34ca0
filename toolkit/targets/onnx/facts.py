"""What is in an ONNX file: precision and weight bytes of each layer, and what a phone needs to run it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.artifacts import Inspection, LayerFact, Requirements
from toolkit.core.store import size_of
from toolkit.targets.onnx import borders, census, graph, runtime
from toolkit.targets.onnx.graph import Model, Node

OPSET_SINCE = ((15, "1.10"), (16, "1.11"), (17, "1.12"), (18, "1.14"), (19, "1.15"), (20, "1.17"), (21, "1.18"))
"""First ONNX Runtime release for a standard operator set ("ONNX opset support" in the compatibility page of ONNX
Runtime's documentation). For newer sets the release that palmtop itself ran the model with is named."""
FORMAT_SINCE = ((8, "1.10"), (9, "1.16"), (10, "1.18"))
"""The same for the version of the file format (IR)."""
PRODUCTS_SINCE = {4: "1.17", 8: "1.22"}
"""First release with ``com.microsoft.MatMulNBits`` of so many bits on the CPU: the ones after the changes microsoft/
onnxruntime #17890 and #24384."""
WIDE_INTEGERS_SINCE, FOUR_BITS_SINCE = "1.16", "1.20"
"""The same for ``com.microsoft.DequantizeLinear`` on integers of 16 bits, and of 4."""
ANDROID_API_MIN = 24
IOS_MIN = "15.1"
"""Floors of the Android and iOS packages of ONNX Runtime since release 1.21, by its release notes."""

MOVERS = frozenset(
    ("Cast", "Identity", "Shape", "Expand", "Tile", "Where", "Gather", "ConstantOfShape", "Size", "If", "Loop", "Scan")
)
"""Operators that move values, or run inner graphs, and compute none."""

_PLUMBING = frozenset(("QuantizeLinear", "DequantizeLinear", "Constant"))
_LOOP_STATE = 2
"""Where the values that a Loop carries begin, in its inputs and its body's; a count and a condition are before them."""
_INDICES = frozenset(("int64", "bool"))


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A constant input of a layer as it lies in the file; the weight is the one of highest rank."""

    dtype: str
    rank: int
    size_bytes: int


def inspect(path: Path) -> Inspection:
    """Read a file's facts; see :meth:`toolkit.core.ports.Target.inspect`."""
    model = graph.read(path)
    session = borders.open_session(path, threads=1)
    signature = session.signature
    session.close()
    return Inspection(
        format="onnx",
        signature=signature,
        layers=layers(model),
        size_bytes=size_of(path),
        requirements=requirements(model),
        census=census.take(path)[0],
    )


def layers(model: Model) -> tuple[LayerFact, ...]:
    """Return the facts of every operator that computes, those inside If, Loop and Scan included."""
    from onnx import shape_inference

    return tuple(_layers_of(shape_inference.infer_shapes(model).graph, {}, {}, ""))


def requirements(model: Model) -> Requirements:
    """Derive the floors from operator set and file format."""
    operators = sorted({f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in model.graph.node})
    needs = [since(OPSET_SINCE, graph.opset_of(model)), since(FORMAT_SINCE, model.ir_version), *_contrib(model)]
    return Requirements(
        runtime="onnxruntime",
        runtime_min=max(needs, key=lambda version: [int(part) for part in version.split(".")]),
        android_api_min=ANDROID_API_MIN,
        ios_min=IOS_MIN,
        operators=tuple(operators),
    )


def _contrib(model: Model) -> Iterator[str]:
    """Yield the first releases that have the contrib operators of a model."""
    from onnx import TensorProto

    constants = graph.initializers(model)
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            yield PRODUCTS_SINCE.get(graph.attribute(node, "bits", 4), PRODUCTS_SINCE[8])
        elif node.domain and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            kinds = {constants[name].data_type for name in node.input if name in constants}
            yield FOUR_BITS_SINCE if kinds & {TensorProto.INT4, TensorProto.UINT4} else WIDE_INTEGERS_SINCE


def since(table: tuple[tuple[int, str], ...], version: int) -> str:
    """Return the first release of ONNX Runtime that a table names for a version; the installed one beyond its end."""
    known = next((release for newest, release in table if version <= newest), "")
    return known or ".".join(str(runtime.load_library().__version__).split(".")[:2])


def _layers_of(
    inner: Any, parameters: Mapping[str, _Parameter], types: Mapping[str, str], prefix: str
) -> Iterator[LayerFact]:
    unpacked = _parameters(inner)
    parameters = {**parameters, **unpacked}
    types = {**types, **_types(inner)}
    for node in inner.node:
        if node.op_type not in _PLUMBING and node.output[0] not in unpacked:
            yield _fact(node, parameters, types, prefix)
        for body in graph.subgraphs(node):
            inside = {**parameters, **_carried(node, body, parameters)}
            yield from _layers_of(body, inside, types, f"{prefix}{node.name or node.op_type}/")


def _carried(node: Node, body: Any, parameters: Mapping[str, _Parameter]) -> dict[str, _Parameter]:
    """Return the constants that a Loop hands to its body as values to carry, as exporters do with weights."""
    if node.op_type != "Loop":
        return {}
    pairs = zip(node.input[_LOOP_STATE:], body.input[_LOOP_STATE:], strict=False)
    return {inner.name: parameters[outer] for outer, inner in pairs if outer in parameters}


def _parameters(inner: Any) -> dict[str, _Parameter]:
    """Return the constants, and what is unpacked from them before any layer reads it, as what lies in the file.

    Scalars such as the bounds of a Clip, and shapes and indices, are no weights.
    """
    sizes: dict[str, int] = {}
    kinds: dict[str, tuple[str, int]] = {}
    found: dict[str, _Parameter] = {}
    for name, constant in _constants(inner):
        values = graph.array_of(constant)
        sizes[name], kinds[name] = values.nbytes, (_word(constant.data_type), values.ndim)
        if values.size > 1 and kinds[name][0] not in _INDICES:
            found[name] = _Parameter(*kinds[name], values.nbytes)
    for node in inner.node:
        source = node.input[0] if node.input else ""
        if node.op_type in ("DequantizeLinear", "Cast") and source in sizes:
            size = sum(sizes.get(name, 0) for name in node.input)
            dtype, rank = kinds[source]
            found[node.output[0]] = _Parameter(dtype, rank, size)
        elif node.op_type in ("Sub", "Mul") and source in found and source not in sizes and node.input[1] in sizes:
            known = found[source]
            found[node.output[0]] = _Parameter(known.dtype, known.rank, known.size_bytes + sizes[node.input[1]])
    return found


def _constants(inner: Any) -> Iterator[tuple[str, Any]]:
    for init in inner.initializer:
        yield init.name, init
    for node in inner.node:
        value = graph.attribute(node, "value", None) if node.op_type == "Constant" else None
        if value is not None:
            yield node.output[0], value


def _types(inner: Any) -> dict[str, str]:
    """Return the type of each tensor; what comes out of a DequantizeLinear counts as the integers that went in."""
    types = {
        value.name: _word(value.type.tensor_type.elem_type)
        for value in (*inner.input, *inner.output, *inner.value_info)
        if value.type.HasField("tensor_type")
    }
    for node in inner.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in types:
            types[node.output[0]] = types[node.input[0]]
    return types


def _fact(node: Node, parameters: Mapping[str, _Parameter], types: Mapping[str, str], prefix: str) -> LayerFact:
    own = [parameters[name] for name in node.input if name in parameters]
    weights = max(own, key=lambda parameter: (parameter.rank, parameter.size_bytes), default=None)
    fed = [types[name] for name in node.input if name not in parameters and name in types]
    made = [types[name] for name in node.output if name in types]
    activations = [dtype for dtype in (*fed, *made) if dtype not in (*_INDICES, "int32")] or [*fed, *made]
    return LayerFact(
        name=f"{prefix}{node.name or next(filter(None, node.output), node.op_type)}",
        operator=node.op_type,
        weight_dtype=weights.dtype if weights is not None else "",
        activation_dtype=activations[0] if activations else "",
        weight_bytes=sum(parameter.size_bytes for parameter in own),
        outputs=tuple(filter(None, node.output)),
    )


def _word(element: int) -> str:
    from onnx import TensorProto, helper

    if element in (TensorProto.UNDEFINED, TensorProto.STRING):
        return ""
    return str(helper.tensor_dtype_to_np_dtype(element))

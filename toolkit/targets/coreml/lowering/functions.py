"""Write out functions: those of the model itself, and operators that ONNX defines by other operators.

This happens while lowering, when the types and shapes of all arguments are known, because some definitions depend on
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.targets.coreml.lowering.node import Tensor, kind, shape_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The nodes that a call stands for, with names of their own, and the versions of the operators in them."""

    nodes: tuple[Any, ...]
    opsets: Mapping[str, int]


def written_out(
    spec: Any, layer: str, arguments: Sequence[Tensor | None], functions: Mapping[tuple[str, str], Any], version: int
) -> Body | None:
    """Return what a node stands for, or None where it is no function.

    ``functions`` are the model's own by domain and name, ``version`` is that of the node's domain.
    """
    function = functions.get((spec.domain, spec.op_type))
    if function is None:
        function = _definition(spec, arguments, version)
    if function is None:
        return None
    nodes = tuple(_renamed(spec, function, layer))
    return Body(nodes=nodes, opsets={item.domain: item.version for item in function.opset_import})


def _definition(spec: Any, arguments: Sequence[Tensor | None], version: int) -> Any | None:
    from onnx import FunctionProto, defs

    domain = "" if spec.domain == "ai.onnx" else spec.domain
    if not defs.has(spec.op_type, domain):
        return None
    try:
        schema = defs.get_schema(spec.op_type, version, domain)
    except defs.SchemaError:  # it came with a later opset than the model's
        return None
    function = FunctionProto()
    if schema.has_context_dependent_function:
        made = schema.get_context_dependent_function_with_opset_version(
            _fitting(schema.context_dependent_function_opset_versions, version),
            spec.SerializeToString(),
            [_type_of(item) for item in arguments],
        )
    elif schema.has_function:
        made = schema.get_function_with_opset_version(_fitting(schema.function_opset_versions, version))
    else:
        return None
    if not made:
        return None
    function.ParseFromString(made)
    defaults = {name: item.default_value for name, item in schema.attributes.items() if item.default_value.name}
    function.attribute_proto.extend(defaults[name] for name in function.attribute if name in defaults)
    return function


def _fitting(versions: Sequence[int], version: int) -> int:
    """Return the newest definition that is not newer than the model, else the oldest there is."""
    return max((item for item in versions if item <= version), default=min(versions))


def _type_of(value: Tensor | None) -> bytes:
    from onnx import TensorProto, TypeProto, helper

    if value is None:
        return bytes(TypeProto().SerializeToString())
    if isinstance(value, np.ndarray):
        element = helper.np_dtype_to_tensor_dtype(value.dtype)
    else:
        element = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "b": TensorProto.BOOL}[kind(value)]
    return bytes(helper.make_tensor_type_proto(element, shape_of(value)).SerializeToString())


def _renamed(spec: Any, function: Any, layer: str) -> list[Any]:
    """Return the function's nodes with the call's tensors and attributes in place of its own."""
    from onnx import NodeProto

    names = {"": ""}
    names.update(dict.fromkeys(function.input, ""))
    names.update(zip(function.input, spec.input, strict=False))
    names.update(zip(function.output, spec.output, strict=False))
    given = {item.name: item for item in function.attribute_proto}
    given.update({item.name: item for item in spec.attribute})
    made = []
    for index, node in enumerate(function.node):
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{layer}/{node.name or f'{node.op_type}_{index}'}"
        _rename(copy, names, layer)
        _settle(copy, given)
        made.append(copy)
    return made


def _rename(node: Any, names: dict[str, str], layer: str) -> None:
    node.input[:] = [names.get(name, f"{layer}/{name}") for name in node.input]
    node.output[:] = [names.get(name) or (f"{layer}/{name}" if name else "") for name in node.output]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _rename(inner, names, layer)
            for item in (*graph.input, *graph.output, *graph.initializer):
                item.name = names.get(item.name) or f"{layer}/{item.name}"


def _settle(node: Any, given: Mapping[str, Any]) -> None:
    """Put the call's attributes where the function refers to its own; one that is not given is left out."""
    kept = []
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _settle(inner, given)
        if not attribute.ref_attr_name:
            kept.append(attribute)
        elif attribute.ref_attr_name in given:
            name = attribute.name
            attribute.CopyFrom(given[attribute.ref_attr_name])
            attribute.name = name
            kept.append(attribute)
    copies = [type(item).FromString(item.SerializeToString()) for item in kept]
    del node.attribute[:]
    node.attribute.extend(copies)

"""Lower an ONNX model to a MIL program: static shapes, 32-bit numbers, names of the ONNX graph kept.

Everything that does not depend on the inputs is computed while lowering, so chains of ``Shape``, ``Gather`` and
``Concat`` that exporters write vanish.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.core.errors import ModelError
from toolkit.targets.coreml.lowering.control import captured
from toolkit.targets.coreml.lowering.folding import FOLDED_SHAPES, fold
from toolkit.targets.coreml.lowering.functions import written_out
from toolkit.targets.coreml.lowering.inexpressible import BITWISE, REASONS
from toolkit.targets.coreml.lowering.loops import lower_if, lower_loop, lower_scan
from toolkit.targets.coreml.lowering.node import Known, Node, NotExpressible, Tensor, count, kind, narrow, shape_of
from toolkit.targets.coreml.lowering.operators import LOWERINGS

MAX_RANK = 5
MAX_DEPTH = 8
"""Functions are made of functions, and so on; damaged models of themselves."""
MAX_NODES = 30_000
"""Nodes that are lowered, those of functions and loops written out included."""
MAX_ELEMENTS = 2**31 - 1
"""Elements of one tensor; Core ML counts them in 32 bits."""

_BUILDER_ERRORS = (
    *(ValueError, TypeError, AssertionError, NotImplementedError, KeyError, IndexError),
    *(OverflowError, ZeroDivisionError),
)
"""What coremltools' builder raises for arguments it does not take, and our lowerings for damaged attributes."""
_CONTROL = {"If": lower_if, "Loop": lower_loop, "Scan": lower_scan}


def lower(model: Any, ct: Any) -> Any:
    """Return the MIL ``Program`` that computes what an ``onnx.ModelProto`` computes, for iOS 16 and later.

    Inputs and outputs of 64-bit integers, narrow integers and truth values become int32, all floats float32.

    Raises:
        NotExpressible: an operator, a shape or an element type has no counterpart in Core ML; its layer is named.
        NotLowered: an operator could be lowered but is not; its layer is named.
        NeedsConstant: an argument that Core ML must know beforehand depends on the inputs.
        ModelError: the model contradicts itself.
    """
    return _Lowerer(model, ct).program()


class _Lowerer:
    """Lowers one graph; ``values`` holds every tensor so far by its ONNX name."""

    def __init__(self, model: Any, ct: Any) -> None:
        from coremltools.converters.mil import Builder

        self.graph = model.graph
        self.ct = ct
        self.mil = Builder
        self.functions = {(item.domain, item.name): item for item in model.functions}
        self.opsets = {"" if item.domain == "ai.onnx" else item.domain: item.version for item in model.opset_import}
        self.depth = self.lowered = 0
        declared = (*model.graph.input, *model.graph.value_info, *model.graph.output)
        self.elements = {item.name: item.type.tensor_type.elem_type for item in declared}
        self.owned: set[int] = set()  # values that bear the name of a tensor already; ``values`` keeps them alive
        self.values: dict[str, Tensor | None] = {"": None}

    def program(self) -> Any:
        from coremltools.converters.mil.mil import Function, Program
        from onnx import numpy_helper

        self.values.update({item.name: numpy_helper.to_array(item) for item in self.graph.initializer})
        inputs = [item for item in self.graph.input if item.name not in self.values]
        holders = {item.name: self.holder(item) for item in inputs}
        program = Program()
        with Function(holders, opset_version=self.ct.target.iOS16) as function:
            for item in inputs:
                self.values[item.name] = self.opened(item, function.inputs[item.name])
                self.owned.add(id(self.values[item.name]))
            for index, spec in enumerate(self.graph.node):
                self.node(spec, index)
            function.set_outputs([self.closed(item.name) for item in self.graph.output])
        program.add_function("main", function)
        return program

    def holder(self, item: Any) -> Any:
        from coremltools.converters.mil.mil import types

        shape = tuple(_size(item.name, size) for size in _tensor_type(item).shape.dim)
        if len(shape) > MAX_RANK:
            raise _refused(item.name, f"has {len(shape)} axes; Core ML takes {MAX_RANK} at most")
        if count(shape) > MAX_ELEMENTS:
            raise _refused(item.name, f"has {count(shape):,} elements; Core ML takes {MAX_ELEMENTS:,} at most")
        floats = _element_kind(item) == "f"
        # Core ML takes no scalars: a single element stands for one
        return self.mil.placeholder(shape=shape or (1,), dtype=types.fp32 if floats else types.int32)

    def opened(self, item: Any, value: Tensor) -> Tensor:
        if not _tensor_type(item).shape.dim:
            value = self.mil.squeeze(x=value, axes=[0])
        return self.mil.cast(x=value, dtype="bool") if _element_kind(item) == "b" else value

    def node(self, spec: Any, index: int) -> None:
        from onnx import helper

        self.lowered += 1
        if self.lowered > MAX_NODES:
            raise ModelError(
                f"Written out, the model has more than {MAX_NODES:,} nodes.", hint="Export it without such loops."
            )
        arguments = [self.value(name, spec) for name in spec.input]
        layer = spec.name or next((name for name in spec.output if name), f"{spec.op_type}_{index}")
        attributes = {item.name: helper.get_attribute_value(item) for item in spec.attribute}
        node = self.view(spec, layer, arguments, attributes)
        try:
            self.dispatch(spec, node)
        except _BUILDER_ERRORS as error:
            raise node.misbuilt(error) from error

    def dispatch(self, spec: Any, node: Node) -> None:
        arguments = list(node.arguments)
        if spec.op_type in FOLDED_SHAPES and arguments and arguments[0] is not None:
            self.keep(spec, FOLDED_SHAPES[spec.op_type](shape_of(arguments[0]), node.attributes))
        elif spec.domain in ("", "ai.onnx") and spec.op_type in _CONTROL:
            self.control(node)
        elif self.is_known(spec, arguments):
            given = dict(zip(spec.input, arguments, strict=True))
            self.keep(spec, *fold(spec, node.name, given, self.opsets, list(self.functions.values())))
        elif spec.domain in ("", "ai.onnx") and spec.op_type in LOWERINGS:
            self.emit(node)
        else:
            self.call(spec, node)

    def view(self, spec: Any, layer: str, arguments: list[Tensor | None], attributes: dict[str, Any]) -> Node:
        return Node(
            operator=spec.op_type,
            name=layer,
            opset=self.opsets.get("", 1),
            arguments=tuple(arguments),
            argument_names=tuple(spec.input),
            output_names=tuple(spec.output),
            attributes=attributes,
            elements=tuple(map(self.element, spec.input, arguments)),
            mil=self.mil,
        )

    def is_known(self, spec: Any, arguments: list[Tensor | None]) -> bool:
        """Whether a node depends on nothing that exists at run time only, its subgraphs included."""
        inner = [self.values.get(name) for item in spec.attribute for name in captured(item)]
        return all(item is None or isinstance(item, np.ndarray) for item in (*arguments, *inner))

    def element(self, name: str, value: Tensor | None) -> int:
        from onnx import helper

        if isinstance(value, np.ndarray) and value.dtype.kind not in "OSU":
            return int(helper.np_dtype_to_tensor_dtype(value.dtype))
        return int(self.elements.get(name, 0))

    def control(self, node: Node) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ModelError(f"The subgraphs of layer {node.name!r} are nested too deep.", hint="Export it again.")
        made = _CONTROL[node.operator](self, node)
        self.depth -= 1
        self.values.update({name: value for name, value in zip(node.output_names, made, strict=False) if name})

    def call(self, spec: Any, node: Node) -> None:
        domain = "" if spec.domain == "ai.onnx" else spec.domain
        body = written_out(spec, node.name, node.arguments, self.functions, self.opsets.get(domain, 1))
        if body is None or self.depth >= MAX_DEPTH:
            if not domain and spec.op_type in REASONS:
                raise node.refusal(REASONS[spec.op_type])
            if not domain and spec.op_type in BITWISE:
                raise node.unlowered("works on the bits of numbers, which palmtop does not lower")
            raise node.unlowered("has no counterpart in Core ML that palmtop knows")
        before, self.opsets = self.opsets, {**self.opsets, **body.opsets}
        self.depth += 1
        for index, inner in enumerate(body.nodes):
            self.node(inner, index)
        self.depth -= 1
        self.opsets = before

    def value(self, name: str, spec: Any) -> Tensor | None:
        if name not in self.values:
            raise ModelError(
                f"The ONNX operator {spec.op_type} uses the tensor {name!r} before it exists.",
                hint="The model is damaged; export it again.",
            )
        return self.values[name]

    def keep(self, spec: Any, *values: Tensor) -> None:
        self.values.update(zip(spec.output, values, strict=False))

    def emit(self, node: Node) -> None:
        made = LOWERINGS[node.operator](node)
        outputs = made if isinstance(made, list) else [made]
        for name, value in zip(node.output_names, outputs, strict=False):
            if not name:
                continue
            if value is None:
                raise node.refusal(f"yields {name!r}, which Core ML cannot tell")
            self.values[name] = self.named(value, name, node)

    def named(self, value: Tensor, name: str, node: Node) -> Tensor:
        """Give what a node made the name it has in the ONNX graph."""
        if isinstance(value, np.ndarray | np.generic):
            return np.asarray(value)
        if 0 in shape_of(value):
            raise node.refusal("yields a tensor without elements, which Core ML has not")
        if count(shape_of(value)) > MAX_ELEMENTS:
            raise node.refusal(f"yields {count(shape_of(value)):,} elements; Core ML takes {MAX_ELEMENTS:,} at most")
        if value.val is not None:  # the builder computed it: it hangs on no input
            return np.asarray(value.val)
        if id(value) not in self.owned:
            self.owned.add(id(value))
            value.name = name
        return value

    def closed(self, name: str) -> Any:
        value = self.values.get(name)
        if value is None:
            raise ModelError(f"Nothing makes the output {name!r}.", hint="The model is damaged; export it again.")
        if len(shape_of(value)) > MAX_RANK:
            raise _refused(name, f"has {len(shape_of(value))} axes; Core ML gives {MAX_RANK} at most")
        if isinstance(value, np.ndarray):
            return self.constant_output(value, name)
        if kind(value) == "b":
            value.name = f"{name}_truth"
            return self.mil.cast(x=value, dtype="int32", name=name)
        used = value.op is None or value.name != name
        return self.mil.identity(x=value, name=name) if used else value

    def constant_output(self, value: Known, name: str) -> Any:
        if value.size == 0:
            raise _refused(name, "has no elements; Core ML has no such tensor")
        array = narrow(value)
        array = array.astype(np.int32) if array.dtype.kind == "b" else array
        return self.mil.identity(x=self.mil.const(val=array), name=name)


def _tensor_type(item: Any) -> Any:
    if item.type.WhichOneof("value") != "tensor_type":
        raise _refused(item.name, "is no tensor")
    return item.type.tensor_type


def _element_kind(item: Any) -> str:
    from onnx import helper

    held = _tensor_type(item).elem_type
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(held))
    except (KeyError, TypeError) as error:
        raise _refused(item.name, f"has ONNX's element type {held}") from error
    if dtype.kind not in "fiub":
        words = "strings" if dtype.kind == "O" else str(dtype)
        raise _refused(item.name, f"holds {words}, which Core ML has not")
    return {"f": "f", "b": "b"}.get(dtype.kind, "i")


def _size(name: str, size: Any) -> int:
    if not size.HasField("dim_value") or size.dim_value < 0:
        raise _refused(name, "has an axis whose length is not fixed")
    if size.dim_value == 0:
        raise _refused(name, "has no elements; Core ML has no such tensor")
    return int(size.dim_value)


def _refused(name: str, what: str) -> NotExpressible:
    return NotExpressible(
        f"The tensor {name!r} {what}.", hint="Change the model's interface, or leave out this target."
    )

"""Read an ML Program from a package into plain values: operations, their arguments, and constants as arrays.

Reference: the MIL message definitions that ship with coremltools (``MIL.proto``). Nothing is inferred: names, types and
shapes are those in the file, so what is executed is what a phone would be given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.errors import ModelError
from toolkit.targets.coreml.interpreter import weights
from toolkit.targets.coreml.package import Package

_DTYPES = {
    1: "bool",
    2: "string",
    10: "fp16",
    11: "fp32",
    12: "fp64",
    21: "int8",
    22: "int16",
    23: "int32",
    24: "int64",
    25: "int4",
    31: "uint8",
    32: "uint16",
    33: "uint32",
    35: "uint4",
    36: "uint2",
    37: "uint1",
    38: "uint6",
    39: "uint3",
}
NO_TENSORS = ("dictionary", "list", "state", "tuple")
"""Kinds of values that are no tensors: a program may have them, but is not executed then."""

_WITHOUT_OUTPUT = ("write_state",)
_MAX_ELEMENTS = 1 << 32


LITERAL = "literal#"
"""What the names of arguments begin with that an operation holds itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorType:
    """Element type in MIL's words (``fp16``, ``int32``, ``string``, …) and shape, with -1 for a flexible axis.

    What is no tensor has its kind (one of ``NO_TENSORS``) in place of an element type, and no shape.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Value:
    """A tensor of the program; ``constant`` is its array where the file gives it."""

    name: str
    type: TensorType
    constant: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation:
    """One operation: an operator's name, arguments by parameter name, and what it yields.

    ``inner`` are the operations in the blocks of control flow.
    """

    operator: str
    name: str
    inputs: Mapping[str, tuple[Value, ...]]
    outputs: tuple[Value, ...]
    inner: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Program:
    """The main function of an ML Program, in the order of execution; ``const`` operations are folded into values."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    operations: tuple[Operation, ...]
    specification_version: int


def load_program(package: Package, model: Any) -> Program:
    """Return the program of a parsed model.

    Raises:
        ModelError: it is damaged, has no main function, or a shape in it is flexible or absurd.
    """
    functions = model.mlProgram.functions
    wanted = main_function(model)
    if wanted not in functions:
        raise ModelError(f"{package.root} has no function {wanted!r}.", hint=f"It has: {', '.join(sorted(functions))}.")
    return _Reader(package).function(functions[wanted], int(model.specificationVersion))


def main_function(model: Any) -> str:
    """Return the name of the function that is executed."""
    return str(model.description.defaultFunctionName or "main")


def layer_name(spec: Any) -> str:
    """Return what an operation's message calls its layer: its name, else its first output's."""
    if "name" in spec.attributes:
        words = spec.attributes["name"].immediateValue.tensor.strings.values
        if words and words[0]:
            return str(words[0])
    return str(spec.outputs[0].name) if len(spec.outputs) else str(spec.type)


@dataclass(slots=True)
class _Reader:
    """Reads one function; knows every value that has a name so far."""

    package: Package
    values: dict[str, Value] = field(default_factory=dict)
    files: dict[str, weights.BlobFile] = field(default_factory=dict)

    def function(self, function: Any, version: int) -> Program:
        block = function.block_specializations.get(function.opset)
        if block is None:
            raise self.damaged("its main function is empty")
        inputs = tuple(self.declare(item) for item in function.inputs)
        operations = self.operations(block)
        outputs = tuple(self.look_up(name) for name in block.outputs)
        return Program(inputs=inputs, outputs=outputs, operations=operations, specification_version=version)

    def operations(self, block: Any) -> tuple[Operation, ...]:
        return tuple(made for spec in block.operations if (made := self.operation(spec)) is not None)

    def inner(self, spec: Any) -> tuple[Operation, ...]:
        made: list[Operation] = []
        for block in spec.blocks:
            for item in block.inputs:
                self.declare(item)
            made += self.operations(block)
        return tuple(made)

    def operation(self, spec: Any) -> Operation | None:
        if spec.type == "const":
            self.constant(spec)
            return None
        inputs = {key: tuple(self.bound(item) for item in argument.arguments) for key, argument in spec.inputs.items()}
        for key, attribute in spec.attributes.items():
            # constexpr operations may carry their arguments as attributes
            if key != "name":
                inputs[key] = (self.literal(attribute, f"{spec.type}.{key}"),)
        outputs = self.classified(spec, inputs) if spec.type == "classify" else ()
        inner = self.inner(spec)
        outputs = outputs or tuple(self.declare(item) for item in spec.outputs)
        if not outputs and spec.type not in _WITHOUT_OUTPUT:
            raise self.damaged(f"an operation {spec.type!r} yields nothing")
        return Operation(operator=spec.type, name=layer_name(spec), inputs=inputs, outputs=outputs, inner=inner)

    def classified(self, spec: Any, inputs: Mapping[str, tuple[Value, ...]]) -> tuple[Value, ...]:
        """Declare the outputs of ``classify``, which are no tensors: the place of the best label, and all values."""
        if len(spec.outputs) != 2 or not inputs.get("classes"):
            raise self.damaged("its 'classify' operation has not two outputs, or no classes")
        count = inputs["classes"][0].type.count
        kinds = (TensorType(dtype="int64", shape=(1,)), TensorType(dtype="fp32", shape=(count,)))
        made = tuple(Value(name=item.name, type=kind) for item, kind in zip(spec.outputs, kinds, strict=True))
        self.values.update({value.name: value for value in made})
        return made

    def constant(self, spec: Any) -> None:
        if len(spec.outputs) != 1 or "val" not in spec.attributes:
            raise self.damaged("a constant has no value")
        name = spec.outputs[0].name
        self.values[name] = self.literal(spec.attributes["val"], name)

    def bound(self, binding: Any) -> Value:
        if binding.WhichOneof("binding") == "name":
            return self.look_up(binding.name)
        return self.literal(binding.value, f"{LITERAL}{len(self.values)}")

    def look_up(self, name: str) -> Value:
        if name not in self.values:
            raise self.damaged(f"it uses the value {name!r} before it exists")
        return self.values[name]

    def declare(self, item: Any) -> Value:
        value = Value(name=item.name, type=self.tensor_type(item.type, item.name))
        self.values[item.name] = value
        return value

    def tensor_type(self, spec: Any, name: str) -> TensorType:
        kind = str(spec.WhichOneof("type")).removesuffix("Type")
        if kind in NO_TENSORS:
            return TensorType(dtype=kind, shape=())
        if kind != "tensor":
            raise self.damaged(f"{name!r} has no type")
        tensor = spec.tensorType
        if tensor.dataType not in _DTYPES:
            raise self.damaged(f"{name!r} has the unknown element type {tensor.dataType}")
        made = TensorType(
            dtype=_DTYPES[tensor.dataType],
            shape=tuple(
                int(item.constant.size) if item.WhichOneof("dimension") == "constant" else -1
                for item in tensor.dimensions
            ),
        )
        if abs(made.count) > _MAX_ELEMENTS:
            raise ModelError(f"{self.package.root}: {name!r} has the absurd shape {list(made.shape)}.")
        return made

    def literal(self, spec: Any, name: str) -> Value:
        if spec.type.WhichOneof("type") == "listType":
            words = [self.literal(item, name).constant for item in spec.immediateValue.list.values]
            kind = TensorType(dtype="string", shape=(len(words),))
            return Value(name=name, type=kind, constant=np.array([str(word) for word in words]))
        kind = self.tensor_type(spec.type, name)
        if spec.WhichOneof("value") == "blobFileValue":
            blob = spec.blobFileValue
            return Value(
                name=name, type=kind, constant=self.file(blob.fileName).read(blob.offset, kind.dtype, kind.shape)
            )
        return Value(name=name, type=kind, constant=self.immediate(spec.immediateValue.tensor, kind, name))

    def immediate(self, tensor: Any, kind: TensorType, name: str) -> NDArray[Any]:
        which = tensor.WhichOneof("value")
        if which is None:
            raise self.damaged(f"the constant {name!r} is empty")
        held = getattr(tensor, which).values
        wanted = weights.bytes_of(kind.dtype, kind.count) if which == "bytes" else kind.count
        if len(held) != wanted:
            raise self.damaged(f"the constant {name!r} has another size than its shape {list(kind.shape)}")
        if which == "bytes":
            return weights.decode(held, kind.dtype, kind.shape)
        if which == "strings":
            return np.array(list(held)).reshape(kind.shape)
        plain = weights.PLAIN.get(kind.dtype, np.dtype(np.int8))
        return np.array(held, dtype=plain).reshape(kind.shape)

    def file(self, name: str) -> weights.BlobFile:
        if name not in self.files:
            self.files[name] = weights.BlobFile(self.package.weight_file(name))
        return self.files[name]

    def damaged(self, what: str) -> ModelError:
        return ModelError(f"{self.package.root}: {what}.", hint="The program is damaged; convert the model again.")


def read_package(path: Path) -> tuple[Any, Program]:
    """Open a package and return its parsed model message and its program.

    Raises:
        ModelError: see :func:`.package.open_package`, :func:`.messages.read_specification`, :func:`load_program`.
    """
    from toolkit.targets.coreml.messages import read_specification
    from toolkit.targets.coreml.package import open_package

    package = open_package(path)
    model = read_specification(package)
    return model, load_program(package, model)

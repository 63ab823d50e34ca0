"""The ONNX graph under construction, and one MIL operation's view of it.

A lowering function gets a :class:`Layer`: it reads the operation's arguments from it and emits ONNX nodes into it.
Every float is float32 in the graph (float16 programs are executed in float32) and every integer wider than 8 bits is
int32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.errors import ModelError
from toolkit.targets.coreml.interpreter.program import Operation, TensorType, Value

OPSET = 20
GRAPH_BYTES = 1_900_000_000
"""A graph is handed to ONNX Runtime as one message, which protobuf limits to 2 GB."""

_COMPUTED = {
    "bool": "bool",
    "fp16": "float32",
    "fp32": "float32",
    "fp64": "float32",
    "int8": "int8",
    "uint8": "uint8",
    "int16": "int32",
    "uint16": "int32",
    "int32": "int32",
    "uint32": "int32",
    "int64": "int32",
}


def computed_dtype(dtype: str) -> str:
    """Return the numpy dtype in which the graph holds a MIL element type."""
    return _COMPUTED.get(dtype, "uint8" if dtype.startswith("uint") else "int8")


@dataclass(slots=True)
class Graph:
    """Nodes and constants so far. ``renamed`` maps MIL names to graph names where they differ.

    ``expanded`` holds how to compute what is left to the graph, should an operation want it beforehand after all.
    """

    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    known: dict[str, NDArray[Any]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    expanded: dict[str, Callable[[], NDArray[Any]]] = field(default_factory=dict)
    _bytes: int = 0
    _steps: int = 0

    def name_of(self, value: Value) -> str:
        """Return the graph's name of a MIL value."""
        return self.renamed.get(value.name, value.name)

    def fresh(self, hint: str) -> str:
        """Return a name that no MIL value can have, as they hold no ``#``."""
        self._steps += 1
        return f"{hint}#{self._steps}"

    def constant(self, array: NDArray[Any], name: str) -> str:
        """Add an initializer once and return its name."""
        from onnx import numpy_helper

        if name not in self.constants:
            self._bytes += array.nbytes
            if self._bytes > GRAPH_BYTES:
                raise ModelError("The program's weights exceed 2 GB, more than the host interpreter takes.")
            self.constants[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def add(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Append a node."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, outputs, name=outputs[0], **attributes))

    def tensor(self, value: Value) -> str:
        """Return the graph's name of a value, adding it as an initializer if it is a constant."""
        if value.constant is None:
            return self.name_of(value)
        array = value.constant.astype(computed_dtype(value.type.dtype), copy=False)
        return self.constant(array, self.name_of(value))


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation being lowered."""

    operation: Operation
    graph: Graph

    @property
    def output(self) -> TensorType:
        """The type of the first output."""
        return self.operation.outputs[0].type

    def has(self, key: str) -> bool:
        """Whether an optional argument is given."""
        return bool(self.operation.inputs.get(key))

    def value(self, key: str) -> Value:
        """Return an argument.

        Raises:
            ModelError: it is missing.
        """
        if not self.has(key):
            raise self.refusal(f"lacks its argument {key!r}")
        return self.operation.inputs[key][0]

    def knows(self, key: str) -> bool:
        """Whether an argument is given and does not depend on the program's inputs."""
        value = next(iter(self.operation.inputs.get(key, ())), None)
        known = self.graph.known.keys() | self.graph.expanded.keys()
        return value is not None and (value.constant is not None or value.name in known)

    def values(self, key: str) -> tuple[Value, ...]:
        """Return a variadic argument."""
        self.value(key)
        return self.operation.inputs[key]

    def type(self, key: str) -> TensorType:
        """Return an argument's type."""
        return self.value(key).type

    def tensor(self, key: str) -> str:
        """Return the graph's name of an argument."""
        return self.graph.tensor(self.value(key))

    def array(self, key: str) -> NDArray[Any]:
        """Return an argument that must be known before execution.

        Raises:
            ModelError: it is missing or computed at run time.
        """
        value = self.value(key)
        known = value.constant if value.constant is not None else self.graph.known.get(value.name)
        if known is None and value.name in self.graph.expanded:
            known = self.graph.expanded[value.name]()
        if known is None:
            raise self.refusal(f"needs a constant {key!r}")
        return known

    def integers(self, key: str, default: Sequence[int] | None = None) -> list[int]:
        """Return a constant list of integers, ``default`` when it is not given."""
        if default is not None and not self.has(key):
            return list(default)
        return [int(item) for item in self.array(key).reshape(-1)]

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a constant integer."""
        return default if default is not None and not self.has(key) else int(self.array(key).reshape(-1)[0])

    def number(self, key: str, default: float | None = None) -> float:
        """Return a constant number."""
        return default if default is not None and not self.has(key) else float(self.array(key).reshape(-1)[0])

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Return a constant truth value."""
        return default if default is not None and not self.has(key) else bool(self.array(key).reshape(-1)[0])

    def word(self, key: str, default: str | None = None) -> str:
        """Return a constant string."""
        return default if default is not None and not self.has(key) else str(self.array(key).reshape(-1)[0])

    def emit(self, operator: str, *inputs: str, **attributes: Any) -> None:
        """Append the node that yields the operation's first output."""
        name = self.graph.name_of(self.operation.outputs[0])
        self.graph.add(operator, inputs, [name], **attributes)

    def step(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node in between and return the name of what it yields."""
        name = self.graph.fresh(self.operation.outputs[0].name)
        self.graph.add(operator, inputs, [name], **attributes)
        return name

    def settle(self, array: NDArray[Any], output: int = 0) -> None:
        """Make an output a constant."""
        value = self.operation.outputs[output]
        self.graph.known[value.name] = array
        self.graph.constant(array.astype(computed_dtype(value.type.dtype), copy=False), self.graph.name_of(value))

    def floats(self, values: Any) -> str:
        """Add a float32 constant and return its name."""
        return self.graph.constant(np.asarray(values, np.float32), self.graph.fresh(self.operation.outputs[0].name))

    def ints(self, values: Any) -> str:
        """Add an int64 constant, as ONNX wants for shapes and axes, and return its name."""
        return self.graph.constant(np.asarray(values, np.int64), self.graph.fresh(self.operation.outputs[0].name))

    def of_type(self, number: float, dtype: str) -> str:
        """Add a scalar in the graph's dtype for a MIL element type and return its name."""
        scalar = np.asarray(number).astype(computed_dtype(dtype))
        return self.graph.constant(scalar, self.graph.fresh(self.operation.outputs[0].name))

    def refusal(self, what: str) -> ModelError:
        """Return the error for an operation that cannot be executed as it stands."""
        return ModelError(
            f"The operator {self.operation.operator!r} of layer {self.operation.name!r} {what}.",
            hint="docs/coreml.md lists what is executed on the host.",
        )


Lowering = Callable[[Layer], None]
"""Emits into the graph what one operator does."""


def onnx_type(dtype: str) -> int:
    """Return ONNX's number for a numpy dtype name."""
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

"""One ONNX node being lowered: its arguments as MIL takes them, its attributes, and the builder.

Arguments are either MIL values, which exist at run time only, or numpy arrays, whose values are known while lowering.
MIL computes in float32, int32 and bool here: every other float becomes float32, every other integer int32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.errors import ModelError

Known = NDArray[Any]
Tensor = Any
"""A MIL ``Var`` or a numpy array."""


class NotExpressible(ModelError):
    """Core ML has no way to compute what the node computes."""


class NotLowered(ModelError):
    """Core ML could compute what the node computes, but palmtop does not lower it."""


class NeedsConstant(ModelError):
    """Core ML must know an argument of the node before execution; ``tensor`` is its name in the ONNX graph."""

    def __init__(self, message: str, *, tensor: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.tensor = tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node, with ``mil`` the builder its function emits operations through."""

    operator: str
    name: str
    opset: int
    arguments: tuple[Tensor | None, ...]
    argument_names: tuple[str, ...]
    output_names: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    elements: tuple[int, ...] = ()
    """ONNX's element types of the arguments, as far as the graph declares them, else 0."""
    mil: Any

    def has(self, index: int) -> bool:
        """Whether an optional argument is given."""
        return index < len(self.arguments) and self.arguments[index] is not None

    def tensor(self, index: int = 0) -> Tensor:
        """Return an argument: a MIL value, or an array of float32, int32 or bool.

        Raises:
            ModelError: it is missing.
        """
        if not self.has(index):
            raise self.refusal(f"lacks its argument {index}")
        value = self.arguments[index]
        return narrow(value, self) if isinstance(value, np.ndarray) else value

    def tensors(self) -> list[Tensor]:
        """Return all arguments."""
        return [self.tensor(index) for index in range(len(self.arguments))]

    def known(self, index: int) -> Known:
        """Return an argument's array as it is in the ONNX graph, 64-bit integers included.

        Raises:
            NeedsConstant: its values exist at run time only.
        """
        value = self.arguments[index] if self.has(index) else None
        if not isinstance(value, np.ndarray):
            name = self.argument_names[index]
            raise NeedsConstant(
                f"Core ML must know the argument {name!r} of {self.operator} in layer {self.name!r} beforehand.",
                tensor=name,
                hint="Make it a constant of the ONNX model: fix input shapes and simplify the model.",
            )
        return value

    def is_known(self, index: int) -> bool:
        """Whether an argument's values are known while lowering."""
        return self.has(index) and isinstance(self.arguments[index], np.ndarray)

    def integers(self, key: str, index: int | None = None) -> list[int] | None:
        """Return a list that is an attribute in old opsets and an argument in new ones, None where it is neither."""
        if index is not None and self.has(index):
            return [int(item) for item in self.known(index).reshape(-1)]
        return [int(item) for item in self.attributes[key]] if key in self.attributes else None

    def integer(self, key: str, default: int) -> int:
        """Return an integer attribute."""
        return int(self.attributes.get(key, default))

    def number(self, key: str, default: float) -> float:
        """Return a float attribute."""
        return float(self.attributes.get(key, default))

    def word(self, key: str, default: str) -> str:
        """Return a string attribute."""
        value = self.attributes.get(key, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def axis(self, default: int, rank: int) -> int:
        """Return the attribute ``axis``, counted from the front."""
        return self.integer("axis", default) % max(rank, 1)

    def wants(self, index: int) -> bool:
        """Whether anything may read an output."""
        return index < len(self.output_names) and bool(self.output_names[index])

    def element(self, index: int) -> int:
        """Return ONNX's element type of an argument, 0 where the graph does not tell."""
        return self.elements[index] if index < len(self.elements) else 0

    def subgraph(self, key: str) -> Any:
        """Return an attribute that is a graph.

        Raises:
            NotLowered: it is missing, or is something else.
        """
        value = self.attributes.get(key)
        if not hasattr(value, "node"):
            raise self.unlowered(f"lacks its subgraph {key!r}")
        return value

    def misbuilt(self, error: Exception) -> NotLowered:
        """Return the error for arguments that coremltools' builder, or a lowering, stumbled over."""
        words = " ".join(str(error).split())[:240] or type(error).__name__
        words += " is missing or unknown" if isinstance(error, KeyError) else ""
        layer = f"The ONNX operator {self.operator} of layer {self.name!r}"
        return NotLowered(
            f"{layer} has arguments that Core ML does not take: {words}",
            hint="Replace that operator in the model; or palmtop lowers it wrongly: please report it, and "
            "leave out this target.",
        )

    def unlowered(self, what: str) -> NotLowered:
        """Return the error for a node that Core ML could express, had palmtop a lowering for it."""
        return NotLowered(
            f"The ONNX operator {self.operator} of layer {self.name!r} {what}.",
            hint="Replace that operator in the model, or leave out this target.",
        )

    def refusal(self, what: str) -> NotExpressible:
        """Return the error for a node that Core ML cannot express."""
        return NotExpressible(
            f"The ONNX operator {self.operator} of layer {self.name!r} {what}.",
            hint="Replace that operator in the model, or leave out this target.",
        )


Lowering = Callable[[Node], Any]
"""Emits what a node computes and returns its output, or the list of its outputs."""


def narrow(array: Known, node: Node | None = None) -> Known:
    """Return a constant in the width Core ML has: float32, int32 or bool.

    Raises:
        NotExpressible: a number is beyond 32 bits, or the elements are no numbers.
    """
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind in "iu":
        limits = np.iinfo(np.int32)
        if array.size and (int(array.min()) < limits.min or int(array.max()) > limits.max):
            raise _refused(node, "has an integer beyond 32 bits, the widest Core ML has")
        return array.astype(np.int32)
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        return array.astype(np.float32)
    raise _refused(node, f"has a constant of type {array.dtype}, which Core ML has not")


def _refused(node: Node | None, what: str) -> NotExpressible:
    if node is not None:
        return node.refusal(what)
    return NotExpressible(f"The model {what}.", hint="Replace it in the model, or leave out this target.")


def kind(value: Tensor) -> str:
    """Return ``f``, ``i`` or ``b``: what the elements of a value are."""
    if isinstance(value, np.ndarray | np.generic):
        return {"f": "f", "b": "b"}.get(value.dtype.kind, "i")
    from coremltools.converters.mil.mil import types

    if types.is_float(value.dtype):
        return "f"
    return "b" if types.is_bool(value.dtype) else "i"


def element_name(element: int) -> str:
    """Return the name of one of ONNX's element types, such as ``float8e4m3fn``."""
    from onnx import TensorProto

    names = dict(zip(TensorProto.DataType.values(), TensorProto.DataType.keys(), strict=True))
    return str(names.get(element, f"the unknown type {element}")).lower()


def scalar(number: float, like: Tensor) -> np.generic:
    """Return a number in the element type of a value."""
    made: np.generic = {"f": np.float32, "i": np.int32, "b": np.bool_}[kind(like)](number)
    return made


def shape_of(value: Tensor) -> tuple[int, ...]:
    """Return a value's fixed shape."""
    return tuple(int(size) for size in value.shape)


def count(shape: Sequence[int]) -> int:
    """Return the number of elements of a shape."""
    return math.prod(shape)

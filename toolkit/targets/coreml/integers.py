"""The integer weights of an ML Program: where they may lie, and how they are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core.linear import Grid, grid_of
from toolkit.core.ports import Array
from toolkit.targets.coreml.interpreter.program import LITERAL, Operation, Value

_PARTS = {
    "constexpr_affine_dequantize": ("quantized_data", "scale", "zero_point"),
    "constexpr_blockwise_shift_scale": ("data", "scale", "offset"),
}
"""The operators that make floats of integers, and what they call the integers, a step and the zero point."""
_LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "uint4": (0, 15)}


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Integers of a type of MIL: ``(integers - zero) * scale``, the latter two float64 and spread to their shape."""

    integers: Array
    kind: str
    scale: Array
    zero: Array

    @property
    def grid(self) -> Grid:
        """Where the weights may lie."""
        return grid_of(self.integers, self.scale, self.zero, _LIMITS[self.kind])

    def bytes_of(self, weights: Array) -> bytes:
        """Return weights on the grid as a file keeps them; of 4-bit integers the first is in the lower half."""
        steps = np.clip(np.rint(weights / self.grid.step) + self.zero, *_LIMITS[self.kind])
        if self.kind in ("int8", "uint8"):
            return steps.astype(self.kind).tobytes()
        nibbles = np.append(steps.astype(np.int8).reshape(-1), np.zeros(steps.size % 2, np.int8)).astype(np.uint8) & 15
        return np.asarray(nibbles[::2] | nibbles[1::2] << 4, np.uint8).tobytes()


def data_name(operator: str) -> str:
    """Return what an operator that makes floats of integers calls the integers."""
    return _PARTS[operator][0]


def stored_weights(operations: Iterable[Operation]) -> Mapping[str, Stored]:
    """Return the integers of a program by the tensor that is made of them, of those that one operation alone reads."""
    everything = tuple(operations)
    readers = Counter(value.name for value in _read(everything))
    found = (
        (item.outputs[0].name, _stored(item)) for item in everything if item.operator in _PARTS and _owns(item, readers)
    )
    return {name: stored for name, stored in found if stored is not None and readers[name] == 1}


def _owns(operation: Operation, readers: Mapping[str, int]) -> bool:
    """Whether no other operation makes floats of the same integers; an argument of its own has no name to share."""
    part = data_name(operation.operator)
    names = [value.name for value in operation.inputs.get(part, ())]
    own = f"{operation.operator}.{part}"
    return all(name == own or name.startswith(LITERAL) or readers[name] == 1 for name in names)


def _read(operations: Iterable[Operation]) -> Iterator[Value]:
    for item in operations:
        for values in item.inputs.values():
            yield from values
        yield from _read(item.inner)


def _stored(operation: Operation) -> Stored | None:
    data, scale, zero = (next(iter(operation.inputs.get(part, ())), None) for part in _PARTS[operation.operator])
    if data is None or scale is None or data.constant is None or scale.constant is None:
        return None
    if data.type.dtype not in _LIMITS or (zero is not None and zero.constant is None):
        return None
    axis = operation.inputs.get("axis")
    place = int(np.asarray(axis[0].constant).reshape(-1)[0]) if axis else 0
    shape = data.constant.shape
    steps = _spread(scale.constant, shape, place)
    zeros = np.zeros(1) if zero is None else _spread(zero.constant, shape, place)
    return Stored(data.constant, data.type.dtype, steps, np.broadcast_to(zeros, steps.shape))


def _spread(values: Any, shape: tuple[int, ...], axis: int) -> Array:
    """Spread one value for all, one an index of an axis, or one a block, to a shape; axes of one value stay short."""
    wide = np.asarray(values, np.float64)
    if wide.ndim != len(shape):
        wide = wide.reshape([-1 if index == axis % len(shape) else 1 for index in range(len(shape))])
    for index, size in enumerate(shape):
        if wide.shape[index] not in (1, size):
            wide = np.repeat(wide, size // wide.shape[index], index)
    return np.asarray(wide)

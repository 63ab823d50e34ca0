"""The learned weights of a float ML Program, layer by layer: what a layer is known by in other runtimes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from toolkit.core.ports import Array
from toolkit.targets.coreml.interpreter.program import Operation, Value, read_package

_PLACES = {"conv": ("weight", 0), "conv_transpose": ("weight", 1), "linear": ("weight", 0), "gather": ("x", -1)}
"""Operators with weights: the parameter that holds them, and the axis of output channels there."""


def learned_weights(model: Path) -> Iterator[tuple[str, Array, int]]:
    """Yield layer, float weights and the axis of their output channels; see :class:`toolkit.core.ports.Target`.

    Raises:
        ModelError: it is no ML Program, or is damaged.
    """
    _, program = read_package(model)
    for operation in program.operations:
        found = _product(operation) if operation.operator == "matmul" else _other(operation)
        if found is not None:
            value, axis = found
            values = np.asarray(value.constant)
            yield operation.name, values, axis % values.ndim


def _other(operation: Operation) -> tuple[Value, int] | None:
    key, axis = _PLACES.get(operation.operator, ("", 0))
    value = next(iter(operation.inputs.get(key, ())), None)
    return None if value is None or not _is_weight(value) else (value, axis)


def _product(operation: Operation) -> tuple[Value, int] | None:
    """Return the constant factor of a matrix product: columns are outputs on its right side, rows on its left."""
    for key, flag, axis in (("y", "transpose_y", -1), ("x", "transpose_x", -2)):
        value = next(iter(operation.inputs.get(key, ())), None)
        if value is not None and _is_weight(value):
            turned = next(iter(operation.inputs.get(flag, ())), None)
            return value, -3 - axis if turned is not None and bool(turned.constant) else axis
    return None


def _is_weight(value: Value) -> bool:
    return value.constant is not None and value.type.dtype in ("fp16", "fp32") and len(value.type.shape) > 1

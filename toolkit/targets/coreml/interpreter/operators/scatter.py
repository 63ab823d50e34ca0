"""Scatters: elements put at indices into a copy of a tensor. Negative indices count from the end."""

from __future__ import annotations

import numpy as np

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering, onnx_type
from toolkit.targets.coreml.interpreter.operators.slicing import bounds_of

_REDUCTIONS = {"add": "add", "div": "mul", "max": "max", "min": "min", "mul": "mul", "sub": "add", "update": "none"}


def scatter(layer: Layer) -> None:
    """``scatter``: slices along an axis, one index each."""
    axis = layer.integer("axis", 0) % len(layer.type("data").shape)
    shape = layer.type("updates").shape
    line = layer.ints([-1 if index == axis else 1 for index in range(len(shape))])
    indices = layer.step("Reshape", _indices(layer), line)
    _elements(layer, layer.step("Expand", indices, layer.ints(shape)), axis)


def scatter_along_axis(layer: Layer) -> None:
    """``scatter_along_axis``: one index an element."""
    _elements(layer, _indices(layer), layer.integer("axis", 0))


def scatter_nd(layer: Layer) -> None:
    """``scatter_nd``: index tuples along the last axis."""
    mode = _mode(layer)
    inputs = [layer.tensor("data"), _indices(layer), _updates(layer, mode)]
    layer.emit("ScatterND", *inputs, reduction=_REDUCTIONS[mode])


def slice_update(layer: Layer) -> None:
    """``slice_update``: a slice of fixed bounds replaced."""
    shape = layer.type("x").shape
    places = np.arange(int(np.prod(shape))).reshape(shape)[bounds_of(layer)].reshape(-1)
    flat = [layer.step("Reshape", layer.tensor(key), layer.ints([-1])) for key in ("x", "update")]
    made = layer.step("ScatterElements", flat[0], layer.ints(places), flat[1], axis=0)
    layer.emit("Reshape", made, layer.ints(shape))


def _elements(layer: Layer, indices: str, axis: int) -> None:
    mode = _mode(layer)
    inputs = [layer.tensor("data"), indices, _updates(layer, mode)]
    layer.emit("ScatterElements", *inputs, axis=axis, reduction=_REDUCTIONS[mode])


def _mode(layer: Layer) -> str:
    mode = layer.word("mode", "add").lower()
    if mode not in _REDUCTIONS or (mode == "div" and not layer.output.dtype.startswith("fp")):
        raise layer.refusal(f"has the mode {mode!r} on {layer.output.dtype}, which is not executed")
    return mode


def _updates(layer: Layer, mode: str) -> str:
    inverse = {"sub": "Neg", "div": "Reciprocal"}.get(mode)
    return layer.step(inverse, layer.tensor("updates")) if inverse else layer.tensor("updates")


def _indices(layer: Layer) -> str:
    return layer.step("Cast", layer.tensor("indices"), to=onnx_type("int64"))


LOWERINGS: dict[str, Lowering] = {
    "scatter": scatter,
    "scatter_along_axis": scatter_along_axis,
    "scatter_nd": scatter_nd,
    "slice_update": slice_update,
}

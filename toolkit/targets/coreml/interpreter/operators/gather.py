"""Gathers: elements picked by index. Negative indices count from the end."""

from __future__ import annotations

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering, onnx_type


def gather(layer: Layer) -> None:
    """``gather`` along an axis; with leading batch axes in common where ``axis`` is the first after them."""
    axis = layer.integer("axis", 0) % len(layer.type("x").shape)
    batch = layer.integer("batch_dims", 0) % max(len(layer.type("indices").shape), 1)
    if batch == 0:
        layer.emit("Gather", layer.tensor("x"), _indices(layer, "int32"), axis=axis)
        return
    if axis != batch:
        raise layer.refusal("gathers along another axis than the first after its batch axes")
    tuples = layer.step("Unsqueeze", _indices(layer, "int64"), layer.ints([-1]))
    layer.emit("GatherND", layer.tensor("x"), tuples, batch_dims=batch)


def gather_along_axis(layer: Layer) -> None:
    """``gather_along_axis``: one index per output element."""
    layer.emit("GatherElements", layer.tensor("x"), _indices(layer, "int32"), axis=layer.integer("axis", 0))


def gather_nd(layer: Layer) -> None:
    """``gather_nd``: index tuples along the last axis."""
    batch = layer.integer("batch_dims", 0)
    layer.emit("GatherND", layer.tensor("x"), _indices(layer, "int64"), batch_dims=batch)


def _indices(layer: Layer, dtype: str) -> str:
    return layer.step("Cast", layer.tensor("indices"), to=onnx_type(dtype))


LOWERINGS: dict[str, Lowering] = {
    "gather": gather,
    "gather_along_axis": gather_along_axis,
    "gather_nd": gather_nd,
}

"""Compressed weights. 8-bit affine weights stay 8-bit in the graph; other forms are expanded here, once.

ONNX Runtime expands the 8-bit ones when a session opens, as Core ML's CPU path does when a model loads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering
from toolkit.targets.coreml.interpreter.weights import unpack


def constexpr_affine_dequantize(layer: Layer) -> None:
    """``scale * (data - zero_point)``, per tensor or along an axis."""
    data, zero = layer.array("quantized_data"), layer.array("zero_point")
    scale = layer.array("scale").astype(np.float32)
    axis = layer.integer("axis")
    if zero.dtype != data.dtype or scale.ndim > 1:
        _settle(layer, _affine(data, scale, zero, axis))
        return
    _dequantize(layer, data, scale, np.broadcast_to(zero, scale.shape), axis)


def constexpr_blockwise_shift_scale(layer: Layer) -> None:
    """``scale * (data - offset)``, where scale and offset hold one value a block along every axis."""
    data, scale = layer.array("data"), layer.array("scale").astype(np.float32)
    offset = layer.array("offset") if layer.has("offset") else np.zeros(scale.shape, data.dtype)
    axes = [axis for axis, size in enumerate(scale.shape) if size > 1]
    whole = len(axes) <= 1 and all(scale.shape[axis] == data.shape[axis] for axis in axes)
    if whole and offset.dtype == data.dtype and layer.type("data").dtype in ("int8", "uint8"):
        axis = axes[0] if axes else 0
        flat = scale.reshape(-1) if axes else scale.reshape(())
        _dequantize(layer, data, flat, offset.reshape(flat.shape), axis)
        return
    spread = [_spread(part.astype(np.float32), data.shape) for part in (scale, offset)]
    _settle(layer, (data.astype(np.float32) - spread[1]) * spread[0])


def constexpr_lut_to_dense(layer: Layer) -> None:
    """Values looked up by index: packed indices and one table (iOS 16), or a table a block (iOS 18)."""
    table = layer.array("lut")
    if not layer.has("shape"):
        _settle(layer, _look_up(layer, layer.array("indices"), table).reshape(layer.output.shape))
        return
    count = int(np.prod(layer.output.shape, dtype=np.int64))
    bits = max(int(table.size - 1).bit_length(), 1)
    indices = unpack(layer.array("indices").reshape(-1).view(np.uint8), bits, count)
    _settle(layer, table.reshape(-1)[indices].reshape(layer.output.shape))


def constexpr_sparse_to_dense(layer: Layer) -> None:
    """Values where a mask has ones, zeros elsewhere: a packed mask (iOS 16), or one of the output's shape (iOS 18)."""
    values, mask = layer.array("nonzero_data"), layer.array("mask")
    if layer.has("shape"):
        count = int(np.prod(layer.output.shape, dtype=np.int64))
        mask = unpack(mask.reshape(-1).view(np.uint8), 1, count)
    _settle(layer, _dense(layer, values, mask))


def constexpr_lut_to_sparse(layer: Layer) -> None:
    """Nonzero values looked up by index; the mask goes with them, spread where entries are vectors."""
    table, mask = layer.array("lut"), layer.array("indices_mask")
    found = _look_up(layer, _dense(layer, layer.array("indices_nonzero_data"), mask), table)
    if table.shape[-1] > 1:
        mask = np.repeat(mask, table.shape[-1], layer.integer("vector_axis"))
    _settle_sparse(layer, mask, found.reshape(mask.shape))


def constexpr_sparse_blockwise_shift_scale(layer: Layer) -> None:
    """Nonzero values scaled and shifted by block; the mask goes with them."""
    mask = layer.array("data_mask")
    data = _dense(layer, layer.array("nonzero_data"), mask).astype(np.float32)
    scale = _spread(layer.array("scale").astype(np.float32), mask.shape)
    if layer.has("offset"):
        data = data - _spread(layer.array("offset").astype(np.float32), mask.shape)
    _settle_sparse(layer, mask, data * scale)


def constexpr_cast(layer: Layer) -> None:
    """Constants kept in half precision."""
    _settle(layer, layer.array("source_val").astype(np.float32))


def _look_up(layer: Layer, indices: NDArray[Any], tables: NDArray[Any]) -> NDArray[Any]:
    """Expand ``indices`` by ``tables`` [*blocks, entries, vector]; vectors are laid out along ``vector_axis``."""
    blocks = [np.arange(size) // (size // count) for size, count in zip(indices.shape, tables.shape[:-2], strict=True)]
    found = tables[(*np.ix_(*blocks), indices.astype(np.int64))]
    if tables.shape[-1] == 1:
        return np.asarray(found[..., 0])
    axis = layer.integer("vector_axis") % indices.ndim
    shape = [size * tables.shape[-1] if place == axis else size for place, size in enumerate(indices.shape)]
    return np.moveaxis(found, -1, axis + 1).reshape(shape)


def _dense(layer: Layer, values: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
    if int(np.count_nonzero(mask)) != values.size:
        raise layer.refusal(f"has {values.size} values for a mask of {int(np.count_nonzero(mask))} ones")
    made = np.zeros(mask.shape, values.dtype)
    made[mask != 0] = values.reshape(-1)
    return made


def _settle_sparse(layer: Layer, mask: NDArray[Any], values: NDArray[Any]) -> None:
    layer.settle(mask)
    layer.settle(values[mask != 0], 1)


def _dequantize(layer: Layer, data: NDArray[Any], scale: NDArray[np.float32], zero: NDArray[Any], axis: int) -> None:
    graph, name = layer.graph, layer.operation.outputs[0].name
    graph.expanded[name] = lambda: _affine(data, scale, zero, axis)
    parts = [graph.constant(part, graph.fresh(name)) for part in (data, scale, zero)]
    attributes = {"axis": axis % data.ndim} if scale.ndim else {}
    layer.emit("DequantizeLinear", *parts, **attributes)


def _affine(data: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any], axis: int) -> NDArray[np.float32]:
    return (data.astype(np.float32) - _along(zero, axis, data.ndim)) * _along(scale, axis, data.ndim)


def _settle(layer: Layer, array: NDArray[Any]) -> None:
    layer.settle(array.reshape(layer.output.shape))


def _along(values: NDArray[Any], axis: int, rank: int) -> NDArray[np.float32]:
    flat = values.astype(np.float32)
    return flat.reshape([-1 if index == axis % rank else 1 for index in range(rank)]) if flat.ndim else flat


def _spread(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    for axis, size in enumerate(shape):
        values = np.repeat(values, size // values.shape[axis], axis)
    return values


LOWERINGS: dict[str, Lowering] = {
    "constexpr_affine_dequantize": constexpr_affine_dequantize,
    "constexpr_blockwise_shift_scale": constexpr_blockwise_shift_scale,
    "constexpr_cast": constexpr_cast,
    "constexpr_lut_to_dense": constexpr_lut_to_dense,
    "constexpr_lut_to_sparse": constexpr_lut_to_sparse,
    "constexpr_sparse_blockwise_shift_scale": constexpr_sparse_blockwise_shift_scale,
    "constexpr_sparse_to_dense": constexpr_sparse_to_dense,
}

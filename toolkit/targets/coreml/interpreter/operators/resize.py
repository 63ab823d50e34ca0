"""Resizing of the last two axes.

Where samples are taken follows coremltools' documentation of ``resize_bilinear`` and ``upsample_bilinear``. It does not
say which neighbour is the nearest: the one at or before the point ``i * in / out`` is taken, as PyTorch's ``nearest``
does, from which coremltools converts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering

_MODES = {
    "STRICT_ALIGN_CORNERS": "align_corners",
    "ALIGN_CORNERS": "align_corners",
    "DEFAULT": "asymmetric",
    "UNALIGN_CORNERS": "half_pixel",
}


def upsample_nearest_neighbor(layer: Layer) -> None:
    """``upsample_nearest_neighbor`` by scale factors."""
    factors = [layer.number(f"scale_factor_{side}", 1) for side in ("height", "width")]
    _nearest(layer, factors)


def resize_nearest_neighbor(layer: Layer) -> None:
    """``resize_nearest_neighbor`` to a size."""
    pairs = zip(layer.output.shape[-2:], layer.type("x").shape[-2:], strict=True)
    _nearest(layer, [out / size for out, size in pairs])


def upsample_bilinear(layer: Layer) -> None:
    """``upsample_bilinear``: the scale follows from the sizes, rounded down."""
    align = layer.flag("align_corners", True)
    half_pixel = layer.flag("half_pixel_centers", not align)
    if align and half_pixel:
        raise layer.refusal("aligns corners and centres pixels at once, which is not defined")
    _bilinear(layer, "align_corners" if align else "half_pixel" if half_pixel else "asymmetric")


def resize_bilinear(layer: Layer) -> None:
    """``resize_bilinear`` to a size, in one of five ways to place the samples."""
    mode = layer.word("sampling_mode", "DEFAULT")
    single = 1 in layer.output.shape[-2:]
    if mode == "OFFSET_CORNERS" or (mode == "ALIGN_CORNERS" and single):
        _by_matrices(layer, mode)
    elif mode in _MODES:
        _bilinear(layer, _MODES[mode])
    else:
        raise layer.refusal(f"has the sampling mode {mode!r}, which is not known")


def resize(layer: Layer) -> None:
    """``resize`` of the last one or two axes, in one of five ways to place the samples, or to the nearest neighbour."""
    count, mode = layer.integer("resized_dims"), layer.word("sampling_mode", "DEFAULT")
    old, new = layer.type("x").shape, layer.output.shape
    if count not in (1, 2) or len(old) < 2:
        raise layer.refusal(f"resizes {count} axes of {len(old)}; the last one or two are executed")
    if layer.word("interpolation_mode", "LINEAR") == "NEAREST_NEIGHBOR":
        shift = {"DEFAULT": 0.0, "UNALIGN_CORNERS": 0.5}.get(mode)
        if shift is None:
            raise layer.refusal(f"takes the nearest neighbour in the sampling mode {mode!r}, which is not executed")
        _nearest(layer, [out / size for out, size in zip(new[-2:], old[-2:], strict=True)], shift)
    elif mode in _MODES or mode == "OFFSET_CORNERS":
        matrices = [
            np.eye(size) if axis < 2 - count else _interpolation(_points(size, out, mode), size)
            for axis, (size, out) in enumerate(zip(old[-2:], new[-2:], strict=True))
        ]
        tall = layer.step("MatMul", layer.floats(matrices[0]), layer.tensor("x"))
        layer.emit("MatMul", tall, layer.floats(matrices[1].T))
    else:
        raise layer.refusal(f"has the sampling mode {mode!r}, which is not known")


def _nearest(layer: Layer, factors: list[float], shift: float = 0.0) -> None:
    """Pick rows and columns by index: exact for every factor, where a float32 scale would round."""
    pairs = zip(layer.type("x").shape[-2:], layer.output.shape[-2:], factors, strict=True)
    rows, columns = (
        np.minimum(np.floor((np.arange(out) + shift) / factor + 1e-9), size - 1).astype(np.int64)
        for size, out, factor in pairs
    )
    rank = len(layer.output.shape)
    picked = layer.step("Gather", layer.tensor("x"), layer.ints(rows), axis=rank - 2)
    layer.emit("Gather", picked, layer.ints(columns), axis=rank - 1)


def _bilinear(layer: Layer, mode: str) -> None:
    sizes = layer.ints(layer.output.shape)
    layer.emit("Resize", layer.tensor("x"), "", "", sizes, mode="linear", coordinate_transformation_mode=mode)


def _by_matrices(layer: Layer, mode: str) -> None:
    """Interpolate by two matrix products, for sampling modes that ONNX does not have."""
    pairs = list(zip(layer.type("x").shape[-2:], layer.output.shape[-2:], strict=True))
    (height, high), (width, wide) = pairs
    rows = layer.floats(_interpolation(_points(height, high, mode), height))
    columns = layer.floats(_interpolation(_points(width, wide, mode), width).T)
    layer.emit("MatMul", layer.step("MatMul", rows, layer.tensor("x")), columns)


def _points(size: int, out: int, mode: str) -> NDArray[np.float64]:
    steps = np.arange(out, dtype=np.float64)
    if mode == "OFFSET_CORNERS":
        return (steps + 0.5) * (max(1, size - 1) / out)
    if mode == "DEFAULT":
        return steps * (size / out)
    if mode == "UNALIGN_CORNERS":
        return (steps + 0.5) * (size / out) - 0.5
    if out == 1:
        return np.array([0.0 if mode == "STRICT_ALIGN_CORNERS" else (size - 1) / 2])
    return steps * ((size - 1) / (out - 1))


def _interpolation(points: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the matrix [points, size] that samples a line of ``size`` values at the points, clamped to its ends."""
    inside = np.clip(points, 0, size - 1)
    low = np.floor(inside).astype(int)
    share = inside - low
    matrix = np.zeros((len(points), size))
    rows = np.arange(len(points))
    np.add.at(matrix, (rows, low), 1 - share)
    np.add.at(matrix, (rows, np.minimum(low + 1, size - 1)), share)
    return matrix


LOWERINGS: dict[str, Lowering] = {
    "resize": resize,
    "resize_bilinear": resize_bilinear,
    "resize_nearest_neighbor": resize_nearest_neighbor,
    "upsample_bilinear": upsample_bilinear,
    "upsample_nearest_neighbor": upsample_nearest_neighbor,
}

"""Resizing. Along each axis it is a choice of elements (nearest) or a matrix of weights (linear, cubic).

Formulas from the ONNX operator specification of Resize. Where Core ML's own operator computes the same it is used,
else the choice becomes a gather and the weights a matrix product, which hold in every mode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from toolkit.targets.coreml.lowering.node import Known, Lowering, Node, Tensor, shape_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """How one axis is resized: lengths, the scale between them, and the region of ``tf_crop_and_resize``."""

    axis: int
    before: int
    after: int
    scale: float
    start: float = 0.0
    end: float = 1.0

    @property
    def exact(self) -> bool:
        """Whether the scale is just the ratio of the lengths."""
        return math.isclose(self.scale * self.before, self.after, rel_tol=1e-6)


def _resize(node: Node) -> Tensor:
    x = node.tensor()
    axes = _axes(node, shape_of(x))
    mode = node.word("mode", "nearest")
    transform = node.word("coordinate_transformation_mode", "half_pixel" if node.opset > 10 else "asymmetric")
    changed = [axis for axis in axes if axis.before != axis.after or not axis.exact or transform.startswith("tf_")]
    if not changed:
        return node.mil.identity(x=x)
    if mode == "nearest":
        return _nearest(node, x, changed, transform)
    antialias = bool(node.integer("antialias", 0)) and any(axis.scale < 1 for axis in changed)
    if mode == "linear" and not antialias and not node.integer("exclude_outside", 0):
        made = _bilinear(node, x, changed, transform)
        if made is not None:
            return made
    for axis in changed:
        x = _weighted(node, x, axis, transform)
    return x


def _upsample(node: Node) -> Tensor:
    """Lower the resizing of opsets up to 9, whose coordinates are x / scale."""
    x = node.tensor()
    given = node.attributes["scales"] if "scales" in node.attributes else node.known(1)
    scales = [float(item) for item in given]
    axes = [
        _Axis(axis=at, before=size, after=math.floor(size * scale), scale=scale)
        for at, (size, scale) in enumerate(zip(shape_of(x), scales, strict=True))
        if scale != 1
    ]
    if node.word("mode", "nearest") == "nearest":
        return _nearest(node, x, axes, "asymmetric") if axes else node.mil.identity(x=x)
    made = _bilinear(node, x, axes, "asymmetric")
    if made is not None:
        return made
    for axis in axes:
        x = _weighted(node, x, axis, "asymmetric")
    return x


def _axes(node: Node, shape: tuple[int, ...]) -> list[_Axis]:
    scales_at = 1 if node.opset < 11 else 2
    chosen = [at % len(shape) for at in node.integers("axes") or range(len(shape))]
    scales: list[float] = []
    if node.has(scales_at) and node.known(scales_at).size:
        scales = [float(item) for item in node.known(scales_at)]
        sizes = [math.floor(shape[axis] * scale) for axis, scale in zip(chosen, scales, strict=True)]
    else:
        sizes, scales = _sizes(node, shape, chosen)
    region = (
        node.known(1) if node.opset >= 11 and node.has(1) and node.known(1).size else np.repeat([0.0, 1.0], len(chosen))
    )
    return [
        _Axis(
            axis=axis,
            before=shape[axis],
            after=size,
            scale=scale,
            start=float(region[at]),
            end=float(region[at + len(chosen)]),
        )
        for at, (axis, size, scale) in enumerate(zip(chosen, sizes, scales, strict=True))
    ]


def _sizes(node: Node, shape: tuple[int, ...], chosen: list[int]) -> tuple[list[int], list[float]]:
    sizes = [int(item) for item in node.known(3)]
    scales = [size / shape[axis] for axis, size in zip(chosen, sizes, strict=True)]
    policy = node.word("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        scale = min(scales) if policy == "not_larger" else max(scales)
        scales = [scale] * len(scales)
        sizes = [math.floor(shape[axis] * scale + 0.5) for axis in chosen]
    return sizes, scales


def _positions(axis: _Axis, transform: str) -> Known:
    """Return where in the input each output element lies, float64 [after]."""
    steps = np.arange(axis.after, dtype=np.float64)
    resized = axis.scale * axis.before
    if transform == "asymmetric":
        return steps / axis.scale
    if transform == "align_corners":
        return np.zeros(axis.after) if resized == 1 else steps * (axis.before - 1) / (resized - 1)
    if transform == "tf_crop_and_resize":
        if resized == 1:
            return np.full(axis.after, 0.5 * (axis.start + axis.end) * (axis.before - 1))
        span = (axis.end - axis.start) * (axis.before - 1) / (resized - 1)
        return axis.start * (axis.before - 1) + steps * span
    centred = np.asarray((steps + 0.5) / axis.scale - 0.5)
    if transform == "pytorch_half_pixel" and axis.after == 1:
        return np.zeros(1)
    if transform == "half_pixel_symmetric":
        return centred + axis.before / 2 * (1 - axis.after / resized)
    return centred


def _nearest(node: Node, x: Tensor, axes: list[_Axis], transform: str) -> Tensor:
    tables = [_choice(node, axis, transform) for axis in axes]
    plain = all(
        np.array_equal(table, np.arange(axis.after) * axis.before // axis.after)
        for axis, table in zip(axes, tables, strict=True)
    )
    if plain and len(x.shape) == 4 and all(axis.axis >= 2 for axis in axes):
        by_axis = {axis.axis: axis for axis in axes}
        factors = [by_axis[at].after / by_axis[at].before if at in by_axis else 1.0 for at in (2, 3)]
        if all(factor == round(factor) for factor in factors):
            height, width = map(int, factors)
            return node.mil.upsample_nearest_neighbor(x=x, scale_factor_height=height, scale_factor_width=width)
    for axis, table in zip(axes, tables, strict=True):
        inside = np.clip(table, 0, axis.before - 1).astype(np.int32)
        x = _outside(node, node.mil.gather(x=x, indices=inside, axis=axis.axis), axis, transform)
    return x


def _choice(node: Node, axis: _Axis, transform: str) -> Known:
    at = _positions(axis, transform)
    rounding = node.word("nearest_mode", "round_prefer_floor" if node.opset > 10 else "floor")
    if rounding == "floor":
        chosen = np.floor(at)
    elif rounding == "ceil":
        chosen = np.ceil(at)
    else:
        chosen = np.ceil(at - 0.5) if rounding == "round_prefer_floor" else np.floor(at + 0.5)
    return np.asarray(np.clip(chosen, 0, axis.before - 1))


def _bilinear(node: Node, x: Tensor, axes: list[_Axis], transform: str) -> Tensor | None:
    """Use Core ML's own bilinear resizing, or return None where it computes something else."""
    if len(x.shape) != 4 or any(axis.axis < 2 or not axis.exact or axis.after == 1 for axis in axes):
        return None
    sizes = {axis.axis: axis.after for axis in axes}
    height, width = (sizes.get(at, shape_of(x)[at]) for at in (2, 3))
    if transform in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"):
        mode = "UNALIGN_CORNERS"
    elif transform == "align_corners" and height > 1 and width > 1:
        mode = "STRICT_ALIGN_CORNERS"
    else:
        return None
    return node.mil.resize_bilinear(x=x, target_size_height=height, target_size_width=width, sampling_mode=mode)


def _weighted(node: Node, x: Tensor, axis: _Axis, transform: str) -> Tensor:
    weights = _weights(node, axis, transform).astype(np.float32)
    last = len(x.shape) - 1
    if axis.axis == last:
        made = node.mil.matmul(x=x, y=np.ascontiguousarray(weights.T)) if last else _vector(node, x, weights)
    else:
        perm = [at for at in range(last + 1) if at != axis.axis] + [axis.axis]
        product = node.mil.matmul(x=node.mil.transpose(x=x, perm=perm), y=np.ascontiguousarray(weights.T))
        made = node.mil.transpose(x=product, perm=[int(at) for at in np.argsort(perm)])
    return _outside(node, made, axis, transform)


def _vector(node: Node, x: Tensor, weights: Known) -> Tensor:
    row = node.mil.expand_dims(x=x, axes=[0])
    return node.mil.squeeze(x=node.mil.matmul(x=row, y=np.ascontiguousarray(weights.T)), axes=[0])


def _weights(node: Node, axis: _Axis, transform: str) -> Known:
    """Return the weight of every input element in every output element, float64 [after, before]."""
    positions = _positions(axis, transform)
    squeeze = min(axis.scale, 1.0) if node.integer("antialias", 0) else 1.0
    cubic = node.word("mode", "linear") == "cubic"
    support = math.ceil((2 if cubic else 1) / squeeze)
    base = np.floor(positions).astype(np.int64)
    neighbours = base[:, None] + np.arange(1 - support, support + 1)
    distance = (neighbours - positions[:, None]) * squeeze
    taps = _cubic(distance, node.number("cubic_coeff_a", -0.75)) if cubic else np.clip(1 - np.abs(distance), 0, None)
    if node.integer("exclude_outside", 0):
        taps = np.where((neighbours >= 0) & (neighbours < axis.before), taps, 0)
    taps = taps / taps.sum(axis=1, keepdims=True)
    weights = np.zeros((axis.after, axis.before))
    rows = np.broadcast_to(np.arange(axis.after)[:, None], neighbours.shape)
    np.add.at(weights, (rows, np.clip(neighbours, 0, axis.before - 1)), taps)
    return weights


def _cubic(distance: Known, a: float) -> Known:
    """Return Keys' cubic convolution kernel (1981), which the specification cites."""
    far = np.abs(distance)
    near = ((a + 2) * far - (a + 3)) * far**2 + 1
    outer = ((far - 5) * far + 8) * far * a - 4 * a
    return np.asarray(np.where(far <= 1, near, np.where(far < 2, outer, 0)))


def _outside(node: Node, x: Tensor, axis: _Axis, transform: str) -> Tensor:
    """Put the extrapolation value where a crop reaches beyond the input."""
    if transform != "tf_crop_and_resize":
        return x
    at = _positions(axis, transform)
    inside = (at >= 0) & (at <= axis.before - 1)
    if inside.all():
        return x
    mask = np.broadcast_to(
        inside.reshape([-1 if place == axis.axis else 1 for place in range(len(x.shape))]), shape_of(x)
    )
    return node.mil.select(cond=mask.copy(), a=x, b=np.float32(node.number("extrapolation_value", 0.0)))


LOWERINGS: dict[str, Lowering] = {"Resize": _resize, "Upsample": _upsample}

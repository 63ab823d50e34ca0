"""Images sampled at computed points, through MIL's ``resample``, at pixels counted from the centre of the first.

Formulas from the ONNX operator specification of GridSample, RoiAlign and DeformConv; the cubic weights are those of
R. Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981, with a = -0.75.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.targets.coreml.lowering.node import Lowering, Node, Tensor, count, shape_of
from toolkit.targets.coreml.lowering.operators.shape import broadcast

_CUBIC = -0.75
_MODES = {"bilinear": "linear", "linear": "linear", "nearest": "nearest", "bicubic": "cubic", "cubic": "cubic"}
_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def _grid_sample(node: Node) -> Tensor:
    x, grid = node.tensor(0), node.tensor(1)
    mode, padding = _MODES[node.word("mode", "linear")], node.word("padding_mode", "zeros")
    corners = bool(node.integer("align_corners", 0))
    size = shape_of(x)[2:]
    pixels = _pixels(node, grid, size[::-1], corners=corners)
    if len(size) == 3:
        return _volume(node, x, pixels, mode, padding)
    if len(size) != 2:
        raise node.unlowered(f"samples images of {len(size)} axes")
    outside = {"zeros": "constant", "border": "border"}.get(padding, "reflection" if corners else "symmetric")
    if mode == "cubic":
        return _bicubic(node, x, pixels, outside)
    return sampled(node, x, pixels, "bilinear" if mode == "linear" else "nearest", outside)


def sampled(node: Node, x: Tensor, pixels: Tensor, mode: str, outside: str) -> Tensor:
    """Sample images [N, C, H, W] at pixels (x, y) [N, h, w, 2]; ``outside`` is MIL's word for what lies beyond."""
    return node.mil.resample(
        x=x,
        coordinates=pixels,
        sampling_mode=mode,
        padding_mode=outside,
        padding_value=np.float32(0),
        coordinates_mode="unnormalized",
        align_corners=True,
    )


def _pixels(node: Node, grid: Tensor, size: tuple[int, ...], *, corners: bool) -> Tensor:
    """Turn coordinates from -1 to 1 into pixels; ``size`` is that of the image in the order of the coordinates."""
    length = np.asarray(size, np.float32)
    scale, shift = ((length - 1) / 2, (length - 1) / 2) if corners else (length / 2, (length - 1) / 2)
    return node.mil.add(x=node.mil.mul(x=grid, y=scale.astype(np.float32)), y=shift.astype(np.float32))


def _bicubic(node: Node, x: Tensor, pixels: Tensor, outside: str) -> Tensor:
    mil = node.mil
    first = mil.floor(x=pixels)
    weights = _cubic_weights(node, mil.sub(x=pixels, y=first))
    total: Tensor = None
    for down in range(4):
        for across in range(4):
            place = mil.add(x=first, y=np.asarray([across - 1, down - 1], np.float32))
            seen = sampled(node, x, place, "nearest", outside)
            weight = mil.mul(x=_part(node, weights[across], 0), y=_part(node, weights[down], 1))
            term = mil.mul(x=seen, y=mil.expand_dims(x=weight, axes=[1]))
            total = term if total is None else mil.add(x=total, y=term)
    return total


def _cubic_weights(node: Node, rest: Tensor) -> list[Tensor]:
    """Return the weights of the four pixels around a point that lies ``rest`` behind the second."""
    near = (_CUBIC + 2, -(_CUBIC + 3), 0.0, 1.0)
    far = (_CUBIC, -5 * _CUBIC, 8 * _CUBIC, -4 * _CUBIC)
    back = node.mil.sub(x=np.float32(1), y=rest)
    distances = [node.mil.add(x=rest, y=np.float32(1)), rest, back, node.mil.add(x=back, y=np.float32(1))]
    rows = zip(distances, (far, near, near, far), strict=True)
    return [_polynomial(node, distance, powers) for distance, powers in rows]


def _polynomial(node: Node, x: Tensor, powers: tuple[float, ...]) -> Tensor:
    """Evaluate a polynomial, highest power first."""
    mil = node.mil
    total = mil.add(x=mil.mul(x=x, y=np.float32(powers[0])), y=np.float32(powers[1]))
    for item in powers[2:]:
        total = mil.add(x=mil.mul(x=total, y=x), y=np.float32(item))
    return total


def _part(node: Node, points: Tensor, index: int) -> Tensor:
    return node.mil.gather(x=points, indices=np.int32(index), axis=len(shape_of(points)) - 1)


def _volume(node: Node, x: Tensor, pixels: Tensor, mode: str, padding: str) -> Tensor:
    """Sample volumes [N, C, D, H, W] at (x, y, z): depth and height become one axis, taps are put together here."""
    if mode == "cubic" or padding == "reflection":
        raise node.unlowered(f"samples volumes with {mode} and {padding}")
    mil, shape, out = node.mil, shape_of(x), shape_of(pixels)[1:4]
    size = np.asarray(shape[:1:-1], np.float32)
    flat = mil.reshape(x=x, shape=[*shape[:2], shape[2] * shape[3], shape[4]])
    pixels = mil.reshape(x=pixels, shape=[shape[0], count(out[:2]), out[2], 3])
    first = mil.round(x=pixels) if mode == "nearest" else mil.floor(x=pixels)
    rest = mil.sub(x=pixels, y=first)
    taps = [(0, 0, 0)] if mode == "nearest" else [(a, b, c) for a in (0, 1) for b, c in _CORNERS]
    total: Tensor = None
    for tap in taps:
        place = mil.add(x=first, y=np.asarray(tap, np.float32))
        inside = mil.clip(x=place, alpha=np.float32(0), beta=np.float32(1e9))
        inside = mil.minimum(x=inside, y=size - 1)
        across, down, deep = (_part(node, inside, index) for index in range(3))
        row = mil.add(x=mil.mul(x=deep, y=np.float32(shape[3])), y=down)
        seen = sampled(node, flat, mil.stack(values=[across, row], axis=3), "nearest", "border")
        weight = _tap_weight(node, rest, tap) if mode == "linear" else None
        if padding == "zeros":
            hits = mil.cast(x=mil.equal(x=inside, y=place), dtype="fp32")
            hit = mil.reduce_prod(x=hits, axes=[3], keep_dims=False)
            weight = hit if weight is None else mil.mul(x=weight, y=hit)
        term = seen if weight is None else mil.mul(x=seen, y=mil.expand_dims(x=weight, axes=[1]))
        total = term if total is None else mil.add(x=total, y=term)
    return mil.reshape(x=total, shape=[*shape[:2], *out])


def _tap_weight(node: Node, rest: Tensor, tap: tuple[int, ...]) -> Tensor:
    """Return the product over the axes of ``rest`` where the tap is the later one, else of 1 - ``rest``."""
    sign = np.asarray([1 if late else -1 for late in tap], np.float32)
    start = np.asarray([0 if late else 1 for late in tap], np.float32)
    shares = node.mil.add(x=node.mil.mul(x=rest, y=sign), y=start)
    return node.mil.reduce_prod(x=shares, axes=[3], keep_dims=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Boxes:
    """Where RoiAlign looks: image size, bins and samples a bin, height first."""

    size: tuple[int, int]
    bins: tuple[int, int]
    samples: tuple[int, int]


def _roi_align(node: Node) -> Tensor:
    mil, x, boxes = node.mil, node.tensor(0), node.tensor(1)
    half = node.word("coordinate_transformation_mode", "half_pixel" if node.opset >= 16 else "output_half_pixel")
    offset = np.float32(0.5 if half == "half_pixel" else 0)
    scaled = mil.sub(x=mil.mul(x=boxes, y=np.float32(node.number("spatial_scale", 1.0))), y=offset)
    starts = mil.slice_by_index(x=scaled, begin=[0, 0], end=[0, 2], end_mask=[True, False])
    ends = mil.slice_by_index(x=scaled, begin=[0, 2], end=[0, 4], end_mask=[True, False])
    sizes = mil.sub(x=ends, y=starts)
    if half != "half_pixel":
        sizes = mil.maximum(x=sizes, y=np.float32(1))
    bins = (node.integer("output_height", 1), node.integer("output_width", 1))
    given = node.integer("sampling_ratio", 0)
    height, width = shape_of(x)[2:]
    where = _Boxes(size=(height, width), bins=bins, samples=(given, given) if given else _samples(node, sizes, bins))
    lines = [_line(node, starts, sizes, axis, where) for axis in (0, 1)]
    points = _crossed(node, lines)
    images = mil.gather(x=x, indices=mil.cast(x=node.tensor(2), dtype="int32"), axis=0)
    inside = _within(node, points, where.size)
    if node.word("mode", "avg") == "max":
        seen = _largest_corner(node, images, points, where.size)
        operator, more = mil.max_pool, {}
    else:
        seen = sampled(node, images, points, "bilinear", "border")
        operator, more = mil.avg_pool, {"exclude_padding_from_average": False}
    seen = mil.mul(x=seen, y=mil.expand_dims(x=inside, axes=[1]))
    samples = list(where.samples)
    return operator(x=seen, kernel_sizes=samples, strides=samples, pad_type="valid", **more)


def _samples(node: Node, sizes: Tensor, bins: tuple[int, int]) -> tuple[int, int]:
    """Return how many samples a bin of known boxes of one size gets; others would need a program of their own."""
    known = sizes.val if not isinstance(sizes, np.ndarray) else sizes
    if known is None:
        node.known(1)
        raise node.refusal("takes as many samples as its boxes are large; give it a sampling_ratio")
    counts = {tuple(int(item) for item in np.ceil(row[::-1] / np.asarray(bins))) for row in known}
    if len(counts) != 1:
        raise node.unlowered("takes more samples of some boxes than of others; give it a sampling_ratio")
    down, across = counts.pop()
    return max(down, 1), max(across, 1)


def _line(node: Node, starts: Tensor, sizes: Tensor, axis: int, where: _Boxes) -> Tensor:
    """Return the samples [boxes, bins x samples] along height (0) or width (1)."""
    bins, samples = where.bins[axis], where.samples[axis]
    share = (np.arange(bins * samples, dtype=np.float64) + 0.5) / (bins * samples)
    column = 1 - axis
    begin = node.mil.slice_by_index(x=starts, begin=[0, column], end=[0, column + 1], end_mask=[True, False])
    length = node.mil.slice_by_index(x=sizes, begin=[0, column], end=[0, column + 1], end_mask=[True, False])
    return node.mil.add(x=node.mil.mul(x=length, y=share.astype(np.float32)[None]), y=begin)


def _crossed(node: Node, lines: list[Tensor]) -> Tensor:
    """Return the points (x, y) [boxes, h, w, 2] of lines along height and width."""
    mil = node.mil
    shape = (shape_of(lines[0])[0], shape_of(lines[0])[1], shape_of(lines[1])[1])
    down = broadcast(node, mil.expand_dims(x=lines[0], axes=[2]), shape)
    across = broadcast(node, mil.expand_dims(x=lines[1], axes=[1]), shape)
    return mil.stack(values=[across, down], axis=3)


def _within(node: Node, points: Tensor, size: tuple[int, int]) -> Tensor:
    """Return 1 for points at most a pixel outside of the image, else 0, [boxes, h, w]."""
    mil, limits = node.mil, np.asarray(size[::-1], np.float32)
    low = mil.greater_equal(x=points, y=np.float32(-1))
    both = mil.cast(x=mil.logical_and(x=low, y=mil.less_equal(x=points, y=limits)), dtype="fp32")
    return mil.reduce_min(x=both, axes=[3], keep_dims=False)


def _largest_corner(node: Node, images: Tensor, points: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the largest of the four weighted pixels around each point, which is what ONNX's ``max`` means."""
    mil, last = node.mil, np.asarray(size[::-1], np.float32) - 1
    points = mil.minimum(x=mil.maximum(x=points, y=np.float32(0)), y=last)
    first = mil.floor(x=points)
    rest = mil.sub(x=points, y=first)
    largest: Tensor = None
    for tap in _CORNERS:
        place = mil.add(x=first, y=np.asarray(tap, np.float32))
        seen = sampled(node, images, place, "nearest", "border")
        term = mil.mul(x=seen, y=mil.expand_dims(x=_tap_weight(node, rest, tap), axes=[1]))
        largest = term if largest is None else mil.maximum(x=largest, y=term)
    return largest


def _deform_conv(node: Node) -> Tensor:
    mil, x, weight = node.mil, node.tensor(0), node.tensor(1)
    shape, kernel, out = shape_of(x), shape_of(weight)[2:], shape_of(node.tensor(2))[2:]
    if len(kernel) != 2:
        raise node.unlowered("deforms something else than images")
    groups, taps = node.integer("offset_group", 1), count(kernel)
    offsets = mil.reshape(x=node.tensor(2), shape=[shape[0], groups * taps, 2, *out])
    offsets = mil.transpose(x=offsets, perm=[0, 1, 3, 4, 2])
    base = _tap_places(node, kernel, out)
    images = mil.split(x=x, num_splits=groups, axis=1) if groups > 1 else [x]
    columns = []
    for group, image in enumerate(images):
        seen = []
        for tap in range(taps):
            index = np.int32(group * taps + tap)
            place = mil.add(x=mil.gather(x=offsets, indices=index, axis=1), y=base[tap])
            points = mil.reverse(x=place, axes=[3])
            term = sampled(node, image, points, "bilinear", "constant")
            if node.has(4):
                mask = mil.gather(x=node.tensor(4), indices=np.asarray([index]), axis=1)
                term = mil.mul(x=term, y=mask)
            seen.append(term)
        columns.append(mil.stack(values=seen, axis=2))
    whole = mil.concat(values=columns, axis=1) if groups > 1 else columns[0]
    flat = mil.reshape(x=whole, shape=[shape[0], shape[1] * taps, *out])
    return _contracted(node, flat, weight)


def _tap_places(node: Node, kernel: tuple[int, ...], out: tuple[int, ...]) -> list[Any]:
    """Return where each tap looks without offsets, (y, x) [1, h, w, 2]."""
    strides, dilations = node.integers("strides") or [1, 1], node.integers("dilations") or [1, 1]
    pads = node.integers("pads") or [0] * 4
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in out), indexing="ij"), -1)
    begin = grid * np.asarray(strides) - np.asarray(pads[:2])
    taps = np.stack(np.meshgrid(*(np.arange(size) for size in kernel), indexing="ij"), -1).reshape(-1, 2)
    return [(begin + tap * np.asarray(dilations)).astype(np.float32)[None] for tap in taps]


def _contracted(node: Node, columns: Tensor, weight: Tensor) -> Tensor:
    mil, shape = node.mil, shape_of(weight)
    flat = [shape[0], shape[1] * count(shape[2:]), 1, 1]
    made = mil.conv(
        x=columns,
        weight=weight.reshape(flat) if isinstance(weight, np.ndarray) else mil.reshape(x=weight, shape=flat),
        groups=node.integer("group", 1),
        pad_type="valid",
    )
    if not node.has(3):
        return made
    bias, line = node.tensor(3), [1, -1, 1, 1]
    return mil.add(x=made, y=bias.reshape(line) if isinstance(bias, np.ndarray) else mil.reshape(x=bias, shape=line))


LOWERINGS: dict[str, Lowering] = {"DeformConv": _deform_conv, "GridSample": _grid_sample, "RoiAlign": _roi_align}

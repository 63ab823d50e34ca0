"""What the operators mean, in plain numpy and float64: slow, obvious, and independent of the lowering."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def same_padding(sizes: tuple[int, ...], kernel: Any, strides: Any, lower: bool) -> list[tuple[int, int]]:
    """TensorFlow's SAME: the output is size / stride rounded up, an odd total goes after (`lower`: before)."""
    pads = []
    for size, extent, stride in zip(sizes, kernel, strides, strict=True):
        out = -(-size // stride)
        total = max((out - 1) * stride + extent - size, 0)
        small, large = total // 2, total - total // 2
        pads.append((large, small) if lower else (small, large))
    return pads


def paddings(x: Array, kernel: Any, strides: Any, pad_type: str, pad: Any) -> list[tuple[int, int]]:
    if pad_type == "valid":
        return [(0, 0)] * (x.ndim - 2)
    if pad_type == "custom":
        return [(pad[2 * axis], pad[2 * axis + 1]) for axis in range(x.ndim - 2)]
    return same_padding(x.shape[2:], kernel, strides, pad_type == "same_lower")


def conv(x, weight, bias=None, strides=None, dilations=None, groups=1, pad_type="valid", pad=None) -> Array:
    axes = x.ndim - 2
    strides, dilations = strides or [1] * axes, dilations or [1] * axes
    extent = [(size - 1) * dilation + 1 for size, dilation in zip(weight.shape[2:], dilations, strict=True)]
    pads = paddings(x, extent, strides, pad_type, pad)
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *pads])
    out = [(padded.shape[2 + axis] - extent[axis]) // strides[axis] + 1 for axis in range(axes)]
    result = np.zeros((x.shape[0], weight.shape[0], *out))
    inner, per_group = weight.shape[1], weight.shape[0] // groups
    for place in itertools.product(*map(range, out)):
        window = tuple(
            slice(at * stride, at * stride + size, dilation)
            for at, stride, size, dilation in zip(place, strides, extent, dilations, strict=True)
        )
        patch = padded[(slice(None), slice(None), *window)]
        for channel in range(weight.shape[0]):
            group = channel // per_group
            part = patch[:, group * inner : (group + 1) * inner] * weight[channel]
            result[(slice(None), channel, *place)] = part.reshape(x.shape[0], -1).sum(axis=1)
    return result if bias is None else result + bias.reshape(-1, *[1] * axes)


def conv_transpose(x, weight, strides, pads, out, dilations=None, groups=1, bias=None) -> Array:
    """Scatter every input element through the kernel, then crop `pads` before and take `out` elements."""
    axes = x.ndim - 2
    dilations = dilations or [1] * axes
    extent = [(size - 1) * dilation + 1 for size, dilation in zip(weight.shape[2:], dilations, strict=True)]
    full = [max((x.shape[2 + a] - 1) * strides[a] + extent[a], pads[a] + out[a]) for a in range(axes)]
    outer, per_group = weight.shape[1], x.shape[1] // groups
    result = np.zeros((x.shape[0], outer * groups, *full))
    for place in itertools.product(*map(range, x.shape[2:])):
        window = tuple(
            slice(at * stride, at * stride + size, dilation)
            for at, stride, size, dilation in zip(place, strides, extent, dilations, strict=True)
        )
        for channel in range(x.shape[1]):
            group = channel // per_group
            value = x[(slice(None), channel, *place)].reshape(-1, *[1] * (axes + 1)).astype(np.float64)
            spot = (slice(None), slice(group * outer, (group + 1) * outer), *window)
            result[spot] += value * weight[channel][None]
    crop = tuple(slice(pads[a], pads[a] + out[a]) for a in range(axes))
    result = result[(slice(None), slice(None), *crop)]
    return result if bias is None else result + bias.reshape(-1, *[1] * axes)


def pool(x, kind, kernel, strides, pad_type="valid", pad=None, ceil_mode=False, exclude=False) -> Array:
    """Pooling window by window, in PyTorch's reading of ceil mode: the last window must start inside."""
    pads = paddings(x, kernel, strides, pad_type, pad)
    out = []
    for size, extent, stride, (before, after) in zip(x.shape[2:], kernel, strides, pads, strict=True):
        room = size + before + after - extent
        count = -(-room // stride) + 1 if ceil_mode else room // stride + 1
        if ceil_mode and (count - 1) * stride >= size + before and before + after > 0:
            count -= 1
        out.append(count)
    result = np.zeros((*x.shape[:2], *out))
    for place in itertools.product(*map(range, out)):
        real, declared = [], 1
        rows = zip(place, x.shape[2:], kernel, strides, pads, strict=True)
        for at, size, extent, stride, (before, after) in rows:
            start = at * stride - before
            end = min(start + extent, size + after)
            declared *= end - start
            real.append(slice(max(start, 0), min(end, size)))
        patch = x[(slice(None), slice(None), *real)].reshape(*x.shape[:2], -1).astype(np.float64)
        if kind == "max":
            value = patch.max(axis=-1)
        elif kind == "l2":
            value = np.sqrt((patch**2).sum(axis=-1))
        else:
            value = patch.sum(axis=-1) / (patch.shape[-1] if exclude else declared)
        result[(slice(None), slice(None), *place)] = value
    return result


def sample(x: Array, rows: Array, columns: Array) -> Array:
    """Bilinear samples of the last two axes at the given points, clamped to the edge."""
    return _along(_along(x.astype(np.float64), rows, -2), columns, -1)


def _along(x: Array, points: Array, axis: int) -> Array:
    points = np.clip(points, 0, x.shape[axis] - 1)
    low = np.floor(points).astype(int)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    share = (points - low).reshape([-1 if a == axis % x.ndim else 1 for a in range(x.ndim)])
    return np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share


def points(mode: str, size: int, out: int) -> Array:
    """The sampling grids that coremltools documents, written as it writes them."""
    i = np.arange(out)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if out == 1:
            return np.array([0.0 if mode == "STRICT_ALIGN_CORNERS" else (size - 1) / 2])
        return i * (size - 1) / (out - 1)
    if mode == "DEFAULT":
        return i * (size - size / out) / (out - 1) if out > 1 else np.zeros(1)
    if mode == "OFFSET_CORNERS":
        delta = max(1, size - 1) / out
        return 0.5 * delta + i * delta
    spacing = size / out
    return i * spacing + 0.5 * spacing - 0.5


def batch_norm(x, mean, variance, gamma, beta, epsilon) -> Array:
    fit = (-1, *[1] * (x.ndim - 2))
    scaled = (x - mean.reshape(fit)) / np.sqrt(variance.reshape(fit) + epsilon)
    return scaled * gamma.reshape(fit) + beta.reshape(fit)


def instance_norm(x, gamma, beta, epsilon) -> Array:
    axes = tuple(range(2, x.ndim))
    fit = (-1, *[1] * (x.ndim - 2))
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt(x.var(axes, keepdims=True) + epsilon) * gamma.reshape(fit) + beta.reshape(fit)


def local_response_norm(x, size, alpha, beta, k) -> Array:
    result = np.zeros(x.shape)
    for channel in range(x.shape[1]):
        near = x[:, max(0, channel - size // 2) : channel + (size - 1) // 2 + 1]
        result[:, channel] = x[:, channel] / (k + alpha / size * (near**2).sum(axis=1)) ** beta
    return result

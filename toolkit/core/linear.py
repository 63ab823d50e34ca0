"""Layers that are linear in their input, convolutions and products with constant weights, in terms that targets share.

A target shows its artefact's layers as :class:`LinearLayer`, float or dequantized, whatever its own layout is. What
follows from weights and mean inputs alone is computed here once for all targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.core.ports import Array

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """How a convolution's kernel moves: one number an axis of space; ``after`` pads the end of an axis."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Where the integer weights of a built layer may lie: at ``lowest`` to ``highest`` whole multiples of ``step``.

    Each is float64 and broadcasts to the weight [outputs, inputs of a group, *kernel]; a zero point is taken off.
    """

    step: Array
    lowest: Array
    highest: Array


def grid_of(integers: Array, scale: Array, zero: Array, limits: tuple[int, int]) -> Grid:
    """Return the grid of weights that a quantizer stored; no integer lies further out than those that it used itself.

    Args:
        integers: the stored weights.
        scale: what a step is, broadcasting to them; some quantizers give channels of zeros 0, and such a channel can
            hold nothing else.
        zero: which integer stands for zero, of the rank of the integers; where all are 0 the grid reaches equally far
            to both sides.
        limits: the least and the largest integer of the stored type.
    """
    wide = integers.astype(np.float64)
    low, high = wide.min(initial=0), wide.max(initial=0)
    if not np.any(zero):
        low, high = max(min(low, -high), limits[0]), min(max(high, -low), limits[1])
    steps = np.asarray(scale, np.float64)
    ends = (np.where(steps > 0, end - zero, 0.0) for end in (low, high))
    return Grid(np.where(steps > 0, steps, 1.0), *ends)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearLayer:
    """One convolution or product.

    ``weight`` is float32 [outputs, inputs of a group, *kernel], ``bias`` float32 [outputs] or None where the layer has
    none that could be changed. ``source`` names the tensor it reads, as :meth:`toolkit.core.ports.Target.tap` does; its
    channels are on ``channel_axis``. ``window`` is None for a product, which reads the last axis. ``grid`` is that of
    integer weights in a build which no other layer reads, as far as the target can write others in their place.
    """

    name: str
    source: str
    weight: Array
    bias: Array | None
    groups: int = 1
    window: Window | None = None
    channel_axis: int = 1
    grid: Grid | None = None


def mean_taps(layer: LinearLayer, values: Array) -> Floats:
    """Return what each weight of a layer is multiplied by on average over all places of the output.

    Padding counts as the zeros that it is, so ``weight . mean_taps`` is the exact mean of the layer's output.

    Args:
        layer: a convolution or product.
        values: its input, batch axis first: float32 [batch, ..., channels, ...].

    Returns:
        float64 [groups, inputs of a group * product of the kernel's sizes].
    """
    if layer.window is None:
        rows = np.asarray(values, np.float64).reshape(-1, layer.weight.shape[1])
        return np.asarray(rows.mean(axis=0)[None])
    kernel = layer.weight.shape[2:]
    found = np.moveaxis(np.asarray(values, np.float64), layer.channel_axis, 1).mean(axis=0)
    for axis, size in enumerate(kernel):
        share = _shares(found.shape[1 + axis], size, layer.window, axis)
        found = np.moveaxis(np.tensordot(found, share, axes=(1 + axis, 1)), -1, 1 + axis)
    return np.asarray(found.reshape(layer.groups, -1))


def _shares(length: int, kernel: int, window: Window, axis: int) -> Floats:
    """Return [kernel, length]: in which share of the outputs a place of the kernel lies on a place of the input."""
    step, spread, before = window.strides[axis], window.dilations[axis], window.before[axis]
    outputs = (length + before + window.after[axis] - spread * (kernel - 1) - 1) // step + 1
    shares = np.zeros((kernel, length))
    for tap in range(kernel):
        places = tap * spread - before + step * np.arange(outputs)
        places = places[(places >= 0) & (places < length)]
        shares[tap, places] = 1 / outputs
    return shares


def mean_shift(float_layer: LinearLayer, quantized: LinearLayer, taps: Floats) -> Floats:
    """Return by how much quantization moved each output of a layer on average, float minus quantized, on one input.

    For weights ``W`` and ``W'`` and biases ``b`` and ``b'`` it is ``(W - W') E[x] + b - b'`` (Nagel et al. 2019,
    "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2, with the input's mean taken
    from data): added to the bias it takes the shift out.

    Args:
        float_layer: the layer of the float artefact.
        quantized: the same layer of the build, dequantized, with a bias.
        taps: :func:`mean_taps` of the float layer's input.

    Returns:
        float64 [outputs].
    """
    assert quantized.bias is not None, "only layers with a bias are asked about"
    lost = np.asarray(float_layer.weight, np.float64) - quantized.weight
    by_group = lost.reshape(float_layer.groups, -1, taps.shape[1])
    moved = np.einsum("gok,gk->go", by_group, taps).reshape(-1)
    before = 0.0 if float_layer.bias is None else np.asarray(float_layer.bias, np.float64)
    return np.asarray(moved + before - quantized.bias)

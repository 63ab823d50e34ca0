"""Cross-layer equalisation: two layers in a row share the work so that one scale a tensor serves all channels of both.

Where an activation ``a`` lets a positive factor pass, ``a(f x) = f a(x)``, as a ReLU does, a layer's output channel may
be multiplied by any ``f > 0`` if the next layer's weights for it are divided by ``f``: the net computes the same. With
``f = sqrt(r2 / r1)`` the channel's largest weights in both layers become equal (Nagel et al. 2019, "Data-Free
Quantization Through Weight Equalization and Bias Correction", section 4.1).

A ReLU6 lets a factor pass only where it cuts nothing off. So a channel that was seen at its cap keeps its scale, and
the others grow at most until their largest value reaches it: on the data seen the net computes the same, where a ReLU
in place of the ReLU6, as in the paper, would change it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from toolkit.core.linear import LinearLayer
from toolkit.core.ports import Array

SWEEPS = 8
"""Passes over all links: layers in a chain settle against both neighbours."""
_LARGEST = 1024.0
_AT_CAP = 1 - 1e-4
_UNCHANGED = 1e-3
"""Where no factor differs from one by more, nothing is to be won."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Two layers, the second the only reader of the first, with nothing between them but what lets factors pass.

    ``tensor`` is what the activation makes, which ``cap`` bounds; infinite without a cap.
    """

    first: str
    second: str
    tensor: str
    cap: float = math.inf


def equalise(
    layers: Mapping[str, LinearLayer], links: Sequence[Link], largest: Mapping[str, Array]
) -> dict[str, LinearLayer]:
    """Return the layers that change, equalised: both of every link that moved, so that they belong together.

    Args:
        layers: by name, float.
        links: pairs among them.
        largest: the largest value of each channel, by tensor, for the links with a cap; one without is left out.
    """
    found = dict(layers)
    usable = [link for link in links if _fits(link, layers, largest)]
    done = [np.ones(len(layers[link.first].weight)) for link in usable]
    for _ in range(SWEEPS):
        for place, link in enumerate(usable):
            first, second = found[link.first], found[link.second]
            factor = _within(link, done[place] * _factors(first, second), largest) / done[place]
            done[place] = done[place] * factor
            found[link.first] = _scaled_outputs(first, factor)
            found[link.second] = _scaled_inputs(found[link.second], 1 / factor)
    moved = {
        name
        for link, total in zip(usable, done, strict=True)
        if np.abs(total - 1).max() > 0
        for name in (link.first, link.second)
    }
    worth = any(np.abs(total - 1).max() > _UNCHANGED for total in done)
    return {name: layer for name, layer in found.items() if name in moved} if worth else {}


def _fits(link: Link, layers: Mapping[str, LinearLayer], largest: Mapping[str, Array]) -> bool:
    if link.first not in layers or link.second not in layers or link.first == link.second:
        return False
    channels = len(layers[link.first].weight)
    second = layers[link.second]
    seen = math.isinf(link.cap) or (link.tensor in largest and len(largest[link.tensor]) == channels)
    return seen and second.groups * second.weight.shape[1] == channels


def _factors(first: LinearLayer, second: LinearLayer) -> Floats:
    out = np.abs(first.weight.astype(np.float64)).reshape(len(first.weight), -1).max(axis=1)
    into = np.abs(_by_input(second)).max(axis=(1, 3)).reshape(-1)
    alive = (out > 0) & (into > 0)
    return np.asarray(np.sqrt(np.where(alive, into, 1) / np.where(alive, out, 1)))


def _within(link: Link, factor: Floats, largest: Mapping[str, Array]) -> Floats:
    held = np.clip(factor, 1 / _LARGEST, _LARGEST)
    if math.isinf(link.cap):
        return held
    seen = np.asarray(largest[link.tensor], np.float64)
    most = link.cap * _AT_CAP / np.maximum(seen, link.cap / _LARGEST)
    return np.where(seen >= link.cap * _AT_CAP, 1.0, np.minimum(held, most))


def _by_input(layer: LinearLayer) -> Floats:
    """Return weights as [groups, outputs of a group, inputs of a group, places of the kernel]."""
    outputs, inputs = layer.weight.shape[:2]
    return layer.weight.astype(np.float64).reshape(layer.groups, outputs // layer.groups, inputs, -1)


def _scaled_outputs(layer: LinearLayer, factor: Floats) -> LinearLayer:
    spread = factor.reshape(-1, *[1] * (layer.weight.ndim - 1))
    bias = None if layer.bias is None else (layer.bias * factor).astype(np.float64)
    return replace(layer, weight=layer.weight * spread, bias=bias)


def _scaled_inputs(layer: LinearLayer, factor: Floats) -> LinearLayer:
    scaled = _by_input(layer) * factor.reshape(layer.groups, 1, -1, 1)
    return replace(layer, weight=scaled.reshape(layer.weight.shape))

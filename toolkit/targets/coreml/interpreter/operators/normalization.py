"""Normalizations, whose statistics are constants or taken over axes of the input."""

from __future__ import annotations

import numpy as np

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering


def batch_norm(layer: Layer) -> None:
    """``batch_norm``: per channel, axis 1, with given mean and variance."""
    layer.emit(
        "BatchNormalization",
        layer.tensor("x"),
        *_gain_and_shift(layer, (layer.type("x").shape[1],)),
        layer.tensor("mean"),
        layer.tensor("variance"),
        epsilon=layer.number("epsilon", 1e-5),
    )


def instance_norm(layer: Layer) -> None:
    """``instance_norm``: each channel of each sample over its spatial axes."""
    gain, shift = _gain_and_shift(layer, (layer.type("x").shape[1],))
    layer.emit("InstanceNormalization", layer.tensor("x"), gain, shift, epsilon=layer.number("epsilon", 1e-5))


def layer_norm(layer: Layer) -> None:
    """``layer_norm``: over any set of axes."""
    shape = layer.type("x").shape
    rank = len(shape)
    axes = sorted(axis % rank for axis in layer.integers("axes", range(rank)))
    epsilon = layer.number("epsilon", 1e-5)
    if axes == list(range(axes[0], rank)):
        gain, shift = _gain_and_shift(layer, shape[axes[0] :])
        layer.emit("LayerNormalization", layer.tensor("x"), gain, shift, axis=axes[0], epsilon=epsilon)
        return
    over = layer.ints(axes)
    centred = layer.step("Sub", layer.tensor("x"), layer.step("ReduceMean", layer.tensor("x"), over, keepdims=1))
    variance = layer.step("ReduceMean", layer.step("Mul", centred, centred), over, keepdims=1)
    deviation = layer.step("Sqrt", layer.step("Add", variance, layer.floats(epsilon)))
    fit = layer.ints([size if axis in axes else 1 for axis, size in enumerate(shape)])
    gain, shift = (layer.step("Reshape", part, fit) for part in _gain_and_shift(layer, tuple(shape[a] for a in axes)))
    layer.emit("Add", layer.step("Mul", layer.step("Div", centred, deviation), gain), shift)


def l2_norm(layer: Layer) -> None:
    """``l2_norm``: divided by the root of the sum of squares over the last three axes, plus epsilon."""
    x = layer.tensor("x")
    squares = layer.step("ReduceSumSquare", x, layer.ints([-3, -2, -1]), keepdims=1)
    layer.emit("Div", x, layer.step("Sqrt", layer.step("Add", squares, layer.floats(layer.number("epsilon", 1e-6)))))


def local_response_norm(layer: Layer) -> None:
    """``local_response_norm``: over neighbouring channels."""
    layer.emit(
        "LRN",
        layer.tensor("x"),
        size=layer.integer("size"),
        alpha=layer.number("alpha", 1e-4),
        beta=layer.number("beta", 0.75),
        bias=layer.number("k", 1.0),
    )


def _gain_and_shift(layer: Layer, shape: tuple[int, ...]) -> tuple[str, str]:
    gain = layer.tensor("gamma") if layer.has("gamma") else layer.floats(np.ones(shape))
    shift = layer.tensor("beta") if layer.has("beta") else layer.floats(np.zeros(shape))
    return gain, shift


LOWERINGS: dict[str, Lowering] = {
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    "layer_norm": layer_norm,
    "l2_norm": l2_norm,
    "local_response_norm": local_response_norm,
}

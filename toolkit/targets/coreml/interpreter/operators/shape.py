"""Operators that move elements without computing: shapes are fixed, so the output's type says where they go."""

from __future__ import annotations

import numpy as np

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering, computed_dtype


def to_output_shape(layer: Layer) -> None:
    """``reshape``, ``reshape_like``, ``expand_dims``, ``squeeze``, ``flatten2d``: the same elements in a new shape."""
    layer.emit("Reshape", layer.tensor("x"), layer.ints(layer.output.shape), allowzero=1)


def transpose(layer: Layer) -> None:
    """``transpose``."""
    rank = len(layer.type("x").shape)
    layer.emit("Transpose", layer.tensor("x"), perm=[axis % rank for axis in layer.integers("perm")])


def concat(layer: Layer) -> None:
    """``concat``; interleaved, the inputs' slices along the axis take turns."""
    names = [layer.graph.tensor(value) for value in layer.values("values")]
    shape = layer.values("values")[0].type.shape
    axis = layer.integer("axis") % max(len(shape), 1)
    if not layer.flag("interleave", False):
        layer.emit("Concat", *names, axis=axis)
        return
    turns = [layer.step("Unsqueeze", name, layer.ints([axis + 1])) for name in names]
    layer.emit("Reshape", layer.step("Concat", *turns, axis=axis + 1), layer.ints(layer.output.shape))


def stack(layer: Layer) -> None:
    """``stack`` along a new axis."""
    axis = layer.integer("axis") % len(layer.output.shape)
    names = [layer.graph.tensor(value) for value in layer.values("values")]
    layer.emit("Concat", *[layer.step("Unsqueeze", name, layer.ints([axis])) for name in names], axis=axis)


def split(layer: Layer) -> None:
    """``split`` along an axis, into the sizes of the outputs."""
    outputs = layer.operation.outputs
    axis = layer.integer("axis") % len(layer.type("x").shape)
    sizes = layer.ints([value.type.shape[axis] for value in outputs])
    names = [layer.graph.name_of(value) for value in outputs]
    layer.graph.add("Split", [layer.tensor("x"), sizes], names, axis=axis)


def tile(layer: Layer) -> None:
    """``tile``: each axis repeated."""
    layer.emit("Tile", layer.tensor("x"), layer.ints(layer.integers("reps")))


def pad(layer: Layer) -> None:
    """``pad``: before and after each of the last axes, by a constant, mirrored, or by the edge."""
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}
    mode = layer.word("mode", "constant").lower()
    if mode not in modes:
        raise layer.refusal(f"has the mode {mode!r}, which is not known")
    pads = layer.integers("pad")
    pads = [0] * (2 * len(layer.type("x").shape) - len(pads)) + pads
    inputs = [layer.tensor("x"), layer.ints([*pads[0::2], *pads[1::2]])]
    if mode == "constant":
        inputs.append(layer.of_type(layer.number("constant_val", 0.0), layer.type("x").dtype))
    layer.emit("Pad", *inputs, mode=modes[mode])


def depth_to_space(layer: Layer) -> None:
    """``depth_to_space``: blocks vary slowest in the channels, as in TensorFlow."""
    layer.emit("DepthToSpace", layer.tensor("x"), blocksize=layer.integer("block_size"), mode="DCR")


def space_to_depth(layer: Layer) -> None:
    """``space_to_depth``: the inverse of ``depth_to_space``."""
    layer.emit("SpaceToDepth", layer.tensor("x"), blocksize=layer.integer("block_size"))


def pixel_shuffle(layer: Layer) -> None:
    """``pixel_shuffle``: blocks vary fastest in the channels, as in PyTorch."""
    layer.emit("DepthToSpace", layer.tensor("x"), blocksize=layer.integer("upscale_factor"), mode="CRD")


def pixel_unshuffle(layer: Layer) -> None:
    """``pixel_unshuffle``: the inverse of ``pixel_shuffle``."""
    batch, channels, height, width = layer.type("x").shape
    factor = layer.integer("downscale_factor")
    blocks = layer.ints([batch, channels, height // factor, factor, width // factor, factor])
    moved = layer.step("Transpose", layer.step("Reshape", layer.tensor("x"), blocks), perm=[0, 1, 3, 5, 2, 4])
    layer.emit("Reshape", moved, layer.ints(layer.output.shape))


def shape(layer: Layer) -> None:
    """``shape``: known beforehand."""
    layer.settle(np.array(layer.type("x").shape, np.int32))


def fill(layer: Layer) -> None:
    """``fill``: one value everywhere."""
    dtype = computed_dtype(layer.output.dtype)
    value = layer.array("value").reshape(-1)[0] if layer.has("value") else 0
    layer.settle(np.full(layer.output.shape, value, dtype))


LOWERINGS: dict[str, Lowering] = {
    "concat": concat,
    "depth_to_space": depth_to_space,
    "expand_dims": to_output_shape,
    "fill": fill,
    "flatten2d": to_output_shape,
    "pad": pad,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "reshape": to_output_shape,
    "reshape_like": to_output_shape,
    "shape": shape,
    "space_to_depth": space_to_depth,
    "split": split,
    "squeeze": to_output_shape,
    "stack": stack,
    "tile": tile,
    "transpose": transpose,
}

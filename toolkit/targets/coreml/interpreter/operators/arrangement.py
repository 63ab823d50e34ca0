"""Operators that rearrange, mask or make elements by rules of their own."""

from __future__ import annotations

import numpy as np

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering, computed_dtype, onnx_type


def band_part(layer: Layer) -> None:
    """``band_part``: zero outside a band around the diagonal of the last two axes; a negative width keeps all."""
    rows, columns = layer.type("x").shape[-2:]
    below, above = layer.integer("lower", -1), layer.integer("upper", -1)
    away = np.arange(rows)[:, None] - np.arange(columns)[None, :]
    inside = ((below < 0) | (away <= below)) & ((above < 0) | (-away <= above))
    mask = layer.graph.constant(inside, layer.graph.fresh(layer.operation.name))
    layer.emit("Where", mask, layer.tensor("x"), layer.of_type(0, layer.type("x").dtype))


def one_hot(layer: Layer) -> None:
    """``one_hot``: ``on_value`` where the new axis counts to the index, else ``off_value``."""
    rank = len(layer.output.shape)
    axis = layer.integer("axis", -1) % rank
    count = np.arange(layer.output.shape[axis]).reshape([-1 if index == axis else 1 for index in range(rank)])
    indices = layer.step("Cast", layer.tensor("indices"), to=onnx_type("int64"))
    here = layer.step("Equal", layer.step("Unsqueeze", indices, layer.ints([axis])), layer.ints(count))
    values = [
        layer.of_type(layer.number(key, value), layer.output.dtype)
        for key, value in (("on_value", 1), ("off_value", 0))
    ]
    layer.emit("Where", here, *values)


def range_1d(layer: Layer) -> None:
    """``range_1d``: from ``start`` by ``step`` up to ``end``, which is left out; known beforehand."""
    start, end, step = (layer.array(key).reshape(-1)[0] for key in ("start", "end", "step"))
    layer.settle(np.arange(start, end, step).astype(computed_dtype(layer.output.dtype)))


def fill_like(layer: Layer) -> None:
    """``fill_like``: one value, in the shape of another tensor."""
    value = layer.array("value").reshape(-1)[0] if layer.has("value") else 0
    layer.settle(np.full(layer.output.shape, value, computed_dtype(layer.output.dtype)))


def reverse_sequence(layer: Layer) -> None:
    """``reverse_sequence``: the first ``lengths[i]`` elements along an axis, turned round for each batch item."""
    rank = len(layer.type("x").shape)
    batch, sequence = (layer.integer(key, 0) % rank for key in ("batch_axis", "seq_axis"))
    if batch == sequence:
        raise layer.refusal("has one axis for batch and sequence")
    perm = [batch, sequence, *[axis for axis in range(rank) if axis not in (batch, sequence)]]
    lengths = layer.step("Cast", layer.tensor("lengths"), to=onnx_type("int64"))
    turned = layer.step("Transpose", layer.tensor("x"), perm=perm)
    made = layer.step("ReverseSequence", turned, lengths, batch_axis=0, time_axis=1)
    layer.emit("Transpose", made, perm=[perm.index(axis) for axis in range(rank)])


def sliding_windows(layer: Layer) -> None:
    """``sliding_windows``: windows along an axis, their elements on a new axis behind it."""
    shape = layer.type("x").shape
    axis, size = layer.integer("axis") % len(shape), layer.integer("size")
    starts = np.arange(layer.output.shape[axis]) * layer.integer("stride", 1)
    layer.emit("Gather", layer.tensor("x"), layer.ints(starts[:, None] + np.arange(size)), axis=axis)


def space_to_batch(layer: Layer) -> None:
    """``space_to_batch``: padded, then each block's elements spread over the batch; they vary slowest there."""
    batch, channels, height, width = layer.type("x").shape
    (tall, wide), pads = layer.integers("block_shape"), layer.integers("paddings")
    ends = [0, 0, pads[0], pads[2], 0, 0, pads[1], pads[3]]
    padded = layer.step("Pad", layer.tensor("x"), layer.ints(ends))
    high, long = (height + pads[0] + pads[1]) // tall, (width + pads[2] + pads[3]) // wide
    blocks = layer.step("Reshape", padded, layer.ints([batch, channels, high, tall, long, wide]))
    layer.emit("Reshape", layer.step("Transpose", blocks, perm=[3, 5, 0, 1, 2, 4]), layer.ints(layer.output.shape))


def batch_to_space(layer: Layer) -> None:
    """``batch_to_space``: the inverse of ``space_to_batch``, then cropped."""
    batch, channels, height, width = layer.type("x").shape
    (tall, wide), crops = layer.integers("block_shape"), layer.integers("crops")
    rest = batch // (tall * wide)
    blocks = layer.step("Reshape", layer.tensor("x"), layer.ints([tall, wide, rest, channels, height, width]))
    moved = layer.step("Transpose", blocks, perm=[2, 3, 4, 0, 5, 1])
    whole = layer.step("Reshape", moved, layer.ints([rest, channels, height * tall, width * wide]))
    _crop(layer, whole, (crops[0], crops[2]))


def crop(layer: Layer) -> None:
    """``crop``: elements cut off both ends of the last two axes."""
    _crop(layer, layer.tensor("x"), (layer.integers("crop_height")[0], layer.integers("crop_width")[0]))


def _crop(layer: Layer, tensor: str, starts: tuple[int, int]) -> None:
    ends = [start + size for start, size in zip(starts, layer.output.shape[-2:], strict=True)]
    layer.emit("Slice", tensor, layer.ints(starts), layer.ints(ends), layer.ints([-2, -1]))


LOWERINGS: dict[str, Lowering] = {
    "band_part": band_part,
    "batch_to_space": batch_to_space,
    "crop": crop,
    "fill_like": fill_like,
    "one_hot": one_hot,
    "range_1d": range_1d,
    "reverse_sequence": reverse_sequence,
    "sliding_windows": sliding_windows,
    "space_to_batch": space_to_batch,
}

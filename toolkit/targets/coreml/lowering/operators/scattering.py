"""Operators that put elements at computed places. Formulas from the ONNX operator specification."""

from __future__ import annotations

import math

import numpy as np

from toolkit.targets.coreml.lowering.node import Known, Lowering, Node, Tensor, count, kind, scalar, shape_of


def _col2im(node: Node) -> Tensor:
    """Sum sliding blocks back into an image: every block element has a fixed place in it."""
    mil, x = node.mil, node.tensor(0)
    size, block = _listed(node, 1), _listed(node, 2)
    places = _block_places(node, size, block)
    batch, columns, blocks = shape_of(x)
    channels, total = columns // math.prod(block), math.prod(size)
    flat = mil.reshape(x=x, shape=[batch, channels, math.prod(block) * blocks])
    # one more element at the end takes what lies in the padding
    empty = np.zeros((batch, channels, total + 1), np.float32)
    indices = np.broadcast_to(places.reshape(-1), shape_of(flat)).astype(np.int32)
    made = mil.scatter_along_axis(data=empty, indices=indices, updates=flat, axis=2, mode="add")
    made = mil.slice_by_index(x=made, begin=[0, 0, 0], end=[batch, channels, total])
    return mil.reshape(x=made, shape=[batch, channels, *size])


def _listed(node: Node, index: int) -> list[int]:
    return [int(item) for item in node.known(index).reshape(-1)]


def _block_places(node: Node, size: list[int], block: list[int]) -> Known:
    """Return where in the flattened image block elements lie, [block elements, blocks]; beyond its end if outside."""
    axes = len(size)
    strides, dilations = node.integers("strides") or [1] * axes, node.integers("dilations") or [1] * axes
    pads = node.integers("pads") or [0] * 2 * axes
    flat, outside = np.zeros([1] * 2 * axes, np.int64), np.zeros([1] * 2 * axes, np.bool_)
    for at in range(axes):
        reach = (block[at] - 1) * dilations[at] + 1
        visits = (size[at] + pads[at] + pads[at + axes] - reach) // strides[at] + 1
        along = np.arange(block[at])[:, None] * dilations[at] + np.arange(visits) * strides[at] - pads[at]
        line = [1] * 2 * axes
        line[at], line[at + axes] = along.shape
        along = along.reshape(line)
        flat = flat * size[at] + along
        outside = outside | (along < 0) | (along >= size[at])
    total = math.prod(size)
    return np.where(outside, total, flat).reshape(math.prod(block), -1)


def _max_unpool(node: Node) -> Tensor:
    mil, x = node.mil, node.tensor(0)
    shape, axes = shape_of(x), len(shape_of(x)) - 2
    kernel = node.integers("kernel_shape") or [1] * axes
    strides, pads = node.integers("strides") or [1] * axes, node.integers("pads") or [0] * 2 * axes
    size = [(shape[at + 2] - 1) * strides[at] - pads[at] - pads[at + axes] + kernel[at] for at in range(axes)]
    whole = [*shape[:2], *size]
    flat = mil.reshape(x=x, shape=[count(shape)])
    places = mil.reshape(x=node.tensor(1), shape=[count(shape)])
    empty = np.zeros(math.prod(whole), np.float32)
    made = mil.scatter_along_axis(data=empty, indices=places, updates=flat, axis=0, mode="update")
    made = mil.reshape(x=made, shape=whole)
    wanted = _listed(node, 2) if node.has(2) else whole
    pairs = [item for have, want in zip(whole, wanted, strict=True) for item in (0, want - have)]
    if not any(pairs):
        return made
    return mil.pad(x=made, pad=pairs, mode="constant", constant_val=np.float32(0))


def _tensor_scatter(node: Node) -> Tensor:
    """Write a piece into a cache, in each batch where its index says."""
    mil, cache, piece = node.mil, node.tensor(0), node.tensor(1)
    shape, axis = shape_of(piece), node.axis(-2, len(shape_of(cache)))
    steps = np.arange(shape[axis], dtype=np.int32).reshape([-1 if at == axis else 1 for at in range(len(shape))])
    places: Tensor = steps
    if node.has(2):
        first = node.tensor(2)
        line = [shape[0]] + [1] * (len(shape) - 1)
        first = first.reshape(line) if isinstance(first, np.ndarray) else mil.reshape(x=first, shape=line)
        places = mil.add(x=first, y=steps)
    if node.word("mode", "linear") == "circular":
        places = mil.mod(x=places, y=np.int32(shape_of(cache)[axis]))
    whole = mil.add(x=places, y=np.zeros(shape, np.int32))
    return mil.scatter_along_axis(data=cache, indices=whole, updates=piece, axis=axis, mode="update")


def _compress(node: Node) -> Tensor:
    mil, x = node.mil, node.tensor(0)
    places = np.flatnonzero(node.known(1)).astype(np.int32)
    if "axis" in node.attributes:
        axis = node.axis(0, len(shape_of(x)))
    else:
        axis, x = 0, mil.reshape(x=x, shape=[count(shape_of(x))])
    if not len(places):
        shape = [0 if at == axis else size for at, size in enumerate(shape_of(x))]
        return np.zeros(shape, type(scalar(0, x)))
    if kind(x) == "b":
        return mil.not_equal(x=mil.gather(x=mil.cast(x=x, dtype="int32"), indices=places, axis=axis), y=np.int32(0))
    return mil.gather(x=x, indices=places, axis=axis)


LOWERINGS: dict[str, Lowering] = {
    "Col2Im": _col2im,
    "Compress": _compress,
    "MaxUnpool": _max_unpool,
    "TensorScatter": _tensor_scatter,
}

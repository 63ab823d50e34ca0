"""Operators that move elements but do not compute on them."""

from __future__ import annotations

import numpy as np

from toolkit.targets.coreml.lowering.node import Lowering, Node, Tensor, count, kind, scalar, shape_of


def _reshape(node: Node) -> Tensor:
    x = node.tensor()
    shape, wanted = shape_of(x), node.integers("shape", 1) or []
    if not node.integer("allowzero", 0):
        wanted = [shape[at] if size == 0 else size for at, size in enumerate(wanted)]
    return shaped(node, x, wanted)


def shaped(node: Node, x: Tensor, shape: list[int]) -> Tensor:
    """Reshape, to a scalar too, which MIL reaches by squeezing only."""
    if not shape:
        return node.mil.squeeze(x=node.mil.reshape(x=x, shape=[1])) if len(x.shape) else x
    return node.mil.reshape(x=x, shape=shape)


def _flatten(node: Node) -> Tensor:
    x = node.tensor()
    axis = node.integer("axis", 1)
    axis = axis + len(x.shape) if axis < 0 else axis
    return node.mil.reshape(x=x, shape=[count(shape_of(x)[:axis]), count(shape_of(x)[axis:])])


def _transpose(node: Node) -> Tensor:
    x = node.tensor()
    return node.mil.transpose(x=x, perm=node.integers("perm") or list(range(x.rank))[::-1])


def _squeeze(node: Node) -> Tensor:
    x = node.tensor()
    shape, axes = shape_of(x), node.integers("axes", 1)
    given = [at for at, size in enumerate(shape) if size == 1] if axes is None else [at % len(shape) for at in axes]
    return node.mil.squeeze(x=x, axes=given) if given else node.mil.identity(x=x)


def _unsqueeze(node: Node) -> Tensor:
    x, axes = node.tensor(), node.integers("axes", 1) or []
    rank = len(x.shape) + len(axes)
    return node.mil.expand_dims(x=x, axes=sorted(at % rank for at in axes)) if axes else node.mil.identity(x=x)


def _concat(node: Node) -> Tensor:
    values = [item for item in node.tensors() if count(shape_of(item))] or node.tensors()[:1]
    if len(values) == 1:
        return node.mil.identity(x=values[0])
    if kind(values[0]) == "b":
        made = node.mil.concat(values=[node.mil.cast(x=item, dtype="int32") for item in values], axis=_axis(node))
        return node.mil.not_equal(x=made, y=np.int32(0))
    return node.mil.concat(values=values, axis=_axis(node))


def _axis(node: Node) -> int:
    return node.axis(1, len(node.tensor(0).shape))


def _split(node: Node) -> list[Tensor]:
    x = node.tensor()
    axis, number = node.axis(0, x.rank), len(node.output_names)
    size = shape_of(x)[axis]
    sizes = node.integers("split", 1)
    if sizes is None:
        each = -(-size // number)
        sizes = [max(min(each, size - each * at), 0) for at in range(number)]
    kept = [item for item in sizes if item]
    parts = list(node.mil.split(x=x, split_sizes=kept, axis=axis)) if len(kept) > 1 else [node.mil.identity(x=x)]
    empty = np.zeros([0 if at == axis else item for at, item in enumerate(shape_of(x))], type(scalar(0, x)))
    return [parts.pop(0) if item else empty for item in sizes]


def _expand(node: Node) -> Tensor:
    x = node.tensor()
    wanted = np.broadcast_shapes(shape_of(x), tuple(int(size) for size in node.known(1).reshape(-1)))
    return broadcast(node, x, wanted)


def broadcast(node: Node, x: Tensor, wanted: tuple[int, ...]) -> Tensor:
    """Repeat a value's elements along the axes where it has one only."""
    shape = shape_of(x)
    aligned = (1,) * (len(wanted) - len(shape)) + shape
    if aligned != shape:
        x = node.mil.reshape(x=x, shape=aligned)
    repeats = [want // have for want, have in zip(wanted, aligned, strict=True)]
    return _tiled(node, x, repeats)


def chosen(node: Node, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Take ``a`` where the condition holds, else ``b``.

    coremltools derives the shape of ``select`` from the two values alone, so one of them gets the shape of all three.
    """
    shapes = [shape_of(item) for item in (condition, a, b)]
    wanted = np.broadcast_shapes(*shapes)
    if wanted != np.broadcast_shapes(*shapes[1:]):
        a = np.broadcast_to(a, wanted).copy() if isinstance(a, np.ndarray | np.generic) else broadcast(node, a, wanted)
    return node.mil.select(cond=condition, a=a, b=b)


def _tile(node: Node) -> Tensor:
    return _tiled(node, node.tensor(), node.integers("repeats", 1) or [])


def _tiled(node: Node, x: Tensor, repeats: list[int]) -> Tensor:
    if all(item == 1 for item in repeats):
        return node.mil.identity(x=x)
    if kind(x) == "b":
        whole = node.mil.tile(x=node.mil.cast(x=x, dtype="int32"), reps=repeats)
        return node.mil.not_equal(x=whole, y=np.int32(0))
    return node.mil.tile(x=x, reps=repeats)


def _depth_to_space(node: Node) -> Tensor:
    x, block = node.tensor(), node.integer("blocksize", 1)
    if node.word("mode", "DCR") == "DCR":
        return node.mil.depth_to_space(x=x, block_size=block)
    return node.mil.pixel_shuffle(x=x, upscale_factor=block)


def _space_to_depth(node: Node) -> Tensor:
    x, block = node.tensor(), node.integer("blocksize", 1)
    if node.word("mode", "DCR") == "CRD":
        return node.mil.pixel_unshuffle(x=x, downscale_factor=np.uint32(block))
    return node.mil.space_to_depth(x=x, block_size=block)


def _trilu(node: Node) -> Tensor:
    x = node.tensor()
    rows, columns = shape_of(x)[-2:]
    offset = int(node.known(1).reshape(-1)[0]) if node.has(1) else 0
    ones = np.ones((rows, columns), np.bool_)
    mask = np.triu(ones, offset) if node.integer("upper", 1) else np.tril(ones, offset)
    if kind(x) == "b":
        return node.mil.logical_and(x=x, y=mask)
    full = np.broadcast_to(mask, shape_of(x)).copy()
    return node.mil.select(cond=full, a=x, b=scalar(0, x))


def _one_hot(node: Node) -> Tensor:
    mil, indices, values = node.mil, node.tensor(0), node.known(2)
    depth = int(node.known(1).reshape(-1)[0])
    rank = len(indices.shape)
    axis = node.integer("axis", -1)
    axis = axis + rank + 1 if axis < 0 else axis
    whole = mil.cast(x=indices, dtype="int32")
    whole = mil.select(cond=mil.less(x=whole, y=np.int32(0)), a=mil.add(x=whole, y=np.int32(depth)), b=whole)
    steps = np.arange(depth, dtype=np.int32).reshape([-1 if at == axis else 1 for at in range(rank + 1)])
    hit = mil.equal(x=mil.expand_dims(x=whole, axes=[axis]), y=steps)
    off, on = (np.asarray(item).astype(np.float32 if values.dtype.kind == "f" else np.int32) for item in values)
    return chosen(node, hit, on[()], off[()])


def _eye_like(node: Node) -> Tensor:
    like = node.tensor()
    rows, columns = shape_of(like)
    made = np.eye(rows, columns, k=node.integer("k", 0))
    if "dtype" in node.attributes:
        from onnx import helper

        return made.astype(helper.tensor_dtype_to_np_dtype(node.integer("dtype", 1)))
    return made.astype(type(scalar(0, like)))


def _made_of(*arguments: int) -> Lowering:
    """Refuse what makes a tensor of a size that depends on the inputs; of known arguments it never gets here."""

    def lower(node: Node) -> Tensor:
        for index in arguments:
            node.known(index)
        raise node.refusal("makes a tensor of unknown size")

    return lower


LOWERINGS: dict[str, Lowering] = {
    "Concat": _concat,
    "ConstantOfShape": _made_of(0),
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "EyeLike": _eye_like,
    "Flatten": _flatten,
    "OneHot": _one_hot,
    "Range": _made_of(0, 1, 2),
    "Reshape": _reshape,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}

"""Slices, gathers and scatters."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.targets.coreml.lowering.node import Known, Lowering, Node, Tensor, kind, scalar, shape_of


def _slice(node: Node) -> Tensor:
    x = node.tensor()
    shape = shape_of(x)
    starts, ends = node.integers("starts", 1) or [], node.integers("ends", 2) or []
    axes = node.integers("axes", 3) or list(range(len(starts)))
    steps = (node.integers("steps", 4) if node.has(4) else None) or [1] * len(starts)
    cuts = [range(size) for size in shape]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cuts[axis % len(shape)] = range(*slice(start, end, step).indices(shape[axis % len(shape)]))
    if any(len(cut) == 0 for cut in cuts):
        return np.zeros([len(cut) for cut in cuts], type(scalar(0, x)))
    return _cut(node, x, cuts)


def _cut(node: Node, x: Tensor, cuts: list[range]) -> Tensor:
    """Take the elements of a range along every axis; ranges that run backwards are mirrored afterwards."""
    mirrored = [axis for axis, cut in enumerate(cuts) if cut.step < 0 and len(cut) > 1]
    forward = [cut[::-1] if cut.step < 0 else cut for cut in cuts]
    if any(len(cut) != size for cut, size in zip(forward, shape_of(x), strict=True)):
        truth = kind(x) == "b"
        source = node.mil.cast(x=x, dtype="int32") if truth else x
        source = node.mil.slice_by_index(
            x=source,
            begin=[cut[0] for cut in forward],
            end=[cut[-1] + 1 for cut in forward],
            stride=[max(cut.step, 1) for cut in forward],
        )
        x = node.mil.not_equal(x=source, y=np.int32(0)) if truth else source
    elif not mirrored:
        return node.mil.identity(x=x)
    return node.mil.reverse(x=x, axes=mirrored) if mirrored else x


def _gather(node: Node) -> Tensor:
    x, indices = node.tensor(0), node.tensor(1)
    axis = node.axis(0, len(x.shape))
    if isinstance(indices, np.ndarray):
        indices = np.where(indices < 0, indices + x.shape[axis], indices).astype(np.int32)
        indices = indices if indices.ndim else np.int32(indices)
    if kind(x) == "b":
        made = node.mil.gather(x=node.mil.cast(x=x, dtype="int32"), indices=indices, axis=axis)
        return node.mil.not_equal(x=made, y=np.int32(0))
    return node.mil.gather(x=x, indices=indices, axis=axis)


def _gather_elements(node: Node) -> Tensor:
    x, axis = node.tensor(0), node.axis(0, len(node.tensor(0).shape))
    indices = _from_the_front(node, node.tensor(1), x.shape[axis])
    wanted = shape_of(indices)
    # MIL wants all other axes as long as the indices'
    cuts = [range(size if at == axis else wanted[at]) for at, size in enumerate(shape_of(x))]
    return node.mil.gather_along_axis(x=_cut(node, x, cuts), indices=indices, axis=axis)


def _gather_nd(node: Node) -> Tensor:
    return node.mil.gather_nd(x=node.tensor(0), indices=node.tensor(1), batch_dims=node.integer("batch_dims", 0))


_MODES = {"none": "update", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def _scatter_elements(node: Node) -> Tensor:
    data, updates = node.tensor(0), node.tensor(2)
    axis = node.axis(0, len(data.shape))
    indices = _from_the_front(node, node.tensor(1), data.shape[axis])
    mode = _MODES[node.word("reduction", "none")]
    others = [at for at in range(len(data.shape)) if at != axis and indices.shape[at] != data.shape[at]]
    if not others:
        return node.mil.scatter_along_axis(data=data, indices=indices, updates=updates, axis=axis, mode=mode)
    # MIL scatters whole axes only: spell every position out
    grids = np.indices(shape_of(indices)).astype(np.int32)
    places = [indices if at == axis else grid for at, grid in enumerate(grids)]
    stacked = node.mil.stack(values=places, axis=len(data.shape))
    return node.mil.scatter_nd(data=data, indices=stacked, updates=updates, mode=mode)


def _scatter_nd(node: Node) -> Tensor:
    data, indices, updates = node.tensors()
    last = shape_of(indices)[-1]
    limits = np.asarray(shape_of(data)[:last], np.int32)
    indices = _from_the_front(node, indices, limits)
    return node.mil.scatter_nd(data=data, indices=indices, updates=updates, mode=_MODES[node.word("reduction", "none")])


def _from_the_front(node: Node, indices: Tensor, size: Any) -> Tensor:
    """Count negative indices from the front."""
    if isinstance(indices, np.ndarray):
        return np.where(indices < 0, indices + size, indices).astype(np.int32)
    mil = node.mil
    return mil.select(
        cond=mil.less(x=indices, y=np.int32(0)), a=mil.add(x=indices, y=np.asarray(size, np.int32)), b=indices
    )


def _reverse_sequence(node: Node) -> Tensor:
    x, lengths = node.tensor(0), node.known(1)
    batch, time = node.integer("batch_axis", 1), node.integer("time_axis", 0)
    shape = shape_of(x)
    table = np.tile(np.arange(shape[time]), (shape[batch], 1))
    for row, length in enumerate(lengths):
        table[row, : int(length)] = table[row, : int(length)][::-1]
    return along_axis(node, x, table if batch < time else table.T, time)


def along_axis(node: Node, x: Tensor, table: Known, axis: int) -> Tensor:
    """Gather by a table over the first two axes, which every later axis shares."""
    shape = shape_of(x)
    whole = np.broadcast_to(table.reshape(table.shape + (1,) * (len(shape) - 2)), shape)
    return node.mil.gather_along_axis(x=x, indices=whole.astype(np.int32), axis=axis)


LOWERINGS: dict[str, Lowering] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ReverseSequence": _reverse_sequence,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Slice": _slice,
}

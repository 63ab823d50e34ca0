"""Reductions, rankings and running sums."""

from __future__ import annotations

import numpy as np

from toolkit.targets.coreml.lowering.node import Lowering, Node, Tensor, kind, scalar, shape_of


def _axes(node: Node, rank: int) -> list[int] | None:
    """Return the axes to reduce, None where the node asks for no reduction."""
    given = node.integers("axes", 1)
    if given:
        return sorted(axis % rank for axis in given)
    return None if node.integer("noop_with_empty_axes", 0) else list(range(rank))


def _reduction(operator: str) -> Lowering:
    def lower(node: Node) -> Tensor:
        x = node.tensor()
        axes, keep = _axes(node, x.rank), bool(node.integer("keepdims", 1))
        if not axes:
            return _of_each(node, operator, x)
        if kind(x) == "b":
            whole = node.mil.cast(x=x, dtype="int32")
            reduced = getattr(node.mil, operator)(x=whole, axes=axes, keep_dims=keep)
            return node.mil.not_equal(x=reduced, y=np.int32(0))
        return _reduced(node, operator, x, axes, keep)

    return lower


def _reduced(node: Node, operator: str, x: Tensor, axes: list[int], keep: bool) -> Tensor:
    mil = node.mil
    if operator == "reduce_log_sum":
        total = mil.reduce_sum(x=x, axes=axes, keep_dims=keep)
        return mil.log(x=total, epsilon=np.float32(0))
    return getattr(mil, operator)(x=x, axes=axes, keep_dims=keep)


def _of_each(node: Node, operator: str, x: Tensor) -> Tensor:
    """Reduce every element by itself."""
    mil = node.mil
    if operator == "reduce_sum_square":
        return mil.square(x=x)
    if operator in ("reduce_l1_norm", "reduce_l2_norm"):
        return mil.abs(x=x)
    return mil.log(x=x, epsilon=np.float32(0)) if operator == "reduce_log_sum" else mil.identity(x=x)


def _position(operator: str) -> Lowering:
    def lower(node: Node) -> Tensor:
        mil, x = node.mil, node.tensor()
        axis, keep = node.axis(0, x.rank), bool(node.integer("keepdims", 1))
        if not node.integer("select_last_index", 0):
            return getattr(mil, operator)(x=x, axis=axis, keep_dims=keep)
        mirrored = getattr(mil, operator)(x=mil.reverse(x=x, axes=[axis]), axis=axis, keep_dims=keep)
        return mil.sub(x=np.int32(x.shape[axis] - 1), y=mirrored)

    return lower


def _cumsum(node: Node) -> Tensor:
    x = node.tensor()
    axis = int(node.known(1).reshape(-1)[0]) % x.rank
    made = node.mil.cumsum(
        x=x,
        axis=axis,
        exclusive=bool(node.integer("exclusive", 0)),
        reverse=bool(node.integer("reverse", 0)),
    )
    return made if kind(x) == "f" or kind(made) == "i" else node.mil.cast(x=made, dtype="int32")


def _cumprod(node: Node) -> Tensor:
    """Multiply each element by the product so far of one, two, four… elements before it."""
    mil, x = node.mil, node.tensor(0)
    axis = int(node.known(1).reshape(-1)[0]) % x.rank
    backward = bool(node.integer("reverse", 0))
    x = mil.reverse(x=x, axes=[axis]) if backward else x
    x = _shifted(node, x, axis, 1) if node.integer("exclusive", 0) else x
    reach = 1
    while reach < shape_of(x)[axis]:
        x = mil.mul(x=x, y=_shifted(node, x, axis, reach))
        reach *= 2
    return mil.reverse(x=x, axes=[axis]) if backward else mil.identity(x=x)


def _shifted(node: Node, x: Tensor, axis: int, by: int) -> Tensor:
    """Move elements on along an axis; ones come after them."""
    shape = shape_of(x)
    ones = np.full([min(by, size) if at == axis else size for at, size in enumerate(shape)], scalar(1, x))
    if by >= shape[axis]:
        return ones
    end = [size - by if at == axis else size for at, size in enumerate(shape)]
    return node.mil.concat(values=[ones, node.mil.slice_by_index(x=x, begin=[0] * x.rank, end=end)], axis=axis)


def _top_k(node: Node) -> list[Tensor]:
    mil, x = node.mil, node.tensor()
    axis = node.axis(-1, x.rank)
    k = node.integer("k", 0) if "k" in node.attributes else int(node.known(1).reshape(-1)[0])
    if k > shape_of(x)[axis]:
        raise node.refusal(f"wants the first {k} of {shape_of(x)[axis]}")
    return list(mil.topk(x=x, k=k, axis=axis, ascending=not node.integer("largest", 1)))


LOWERINGS: dict[str, Lowering] = {
    "ArgMax": _position("reduce_argmax"),
    "ArgMin": _position("reduce_argmin"),
    "CumProd": _cumprod,
    "CumSum": _cumsum,
    "ReduceL1": _reduction("reduce_l1_norm"),
    "ReduceL2": _reduction("reduce_l2_norm"),
    "ReduceLogSum": _reduction("reduce_log_sum"),
    "ReduceLogSumExp": _reduction("reduce_log_sum_exp"),
    "ReduceMax": _reduction("reduce_max"),
    "ReduceMean": _reduction("reduce_mean"),
    "ReduceMin": _reduction("reduce_min"),
    "ReduceProd": _reduction("reduce_prod"),
    "ReduceSum": _reduction("reduce_sum"),
    "ReduceSumSquare": _reduction("reduce_sum_square"),
    "TopK": _top_k,
}

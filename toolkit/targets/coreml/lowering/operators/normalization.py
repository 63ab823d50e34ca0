"""Normalizations."""

from __future__ import annotations

import numpy as np

from toolkit.targets.coreml.lowering.node import Lowering, Node, Tensor, shape_of


def _batch_normalization(node: Node) -> Tensor | list[Tensor]:
    if node.integer("training_mode", 0):
        return _of_this_batch(node)
    if sum(map(node.wants, range(5))) > 1:
        raise node.unlowered("is of an old opset and in training mode")
    mil, x, epsilon = node.mil, node.tensor(0), np.float32(node.number("epsilon", 1e-5))
    parameters = dict(zip(("gamma", "beta", "mean", "variance"), node.tensors()[1:], strict=True))
    if all(map(node.is_known, range(1, 5))) and 3 <= x.rank <= 5:
        return mil.batch_norm(x=x, epsilon=epsilon, **parameters)
    scale, offset, mean, variance = (_per_channel(node, index, x.rank) for index in range(1, 5))
    step = mil.real_div(x=mil.sub(x=x, y=mean), y=mil.sqrt(x=mil.add(x=variance, y=epsilon)))
    return mil.add(x=mil.mul(x=step, y=scale), y=offset)


def _of_this_batch(node: Node) -> list[Tensor]:
    """Normalize by the statistics of the input itself and let those of training follow them."""
    mil, x, momentum = node.mil, node.tensor(0), np.float32(node.number("momentum", 0.9))
    axes = [at for at in range(x.rank) if at != 1]
    normal, mean, inverse = _standardized(node, x, axes, node.number("epsilon", 1e-5))
    made = mil.add(x=mil.mul(x=normal, y=_per_channel(node, 1, x.rank)), y=_per_channel(node, 2, x.rank))
    # from the inverse of the root back to the variance
    spread = mil.real_div(x=np.float32(1), y=mil.square(x=inverse))
    variance = mil.sub(x=spread, y=np.float32(node.number("epsilon", 1e-5)))
    outputs = [made]
    for index, value in ((3, mean), (4, variance)):
        flat = mil.reshape(x=value, shape=[shape_of(x)[1]])
        before = mil.mul(x=node.tensor(index), y=momentum)
        outputs.append(mil.add(x=before, y=mil.mul(x=flat, y=np.float32(1) - momentum)))
    return outputs


def _per_channel(node: Node, index: int, rank: int) -> Tensor:
    value, shape = node.tensor(index), [1, -1] + [1] * (rank - 2)
    if rank == 1:
        return value
    return value.reshape(shape) if isinstance(value, np.ndarray) else node.mil.reshape(x=value, shape=shape)


def _instance_normalization(node: Node) -> Tensor:
    x = node.tensor(0)
    axes, epsilon = list(range(2, x.rank)), node.number("epsilon", 1e-5)
    if node.is_known(1) and node.is_known(2) and x.rank in (3, 4):
        return node.mil.instance_norm(x=x, gamma=node.tensor(1), beta=node.tensor(2), epsilon=np.float32(epsilon))
    normal, _, _ = _standardized(node, x, axes, epsilon)
    scaled = node.mil.mul(x=normal, y=_per_channel(node, 1, x.rank))
    return node.mil.add(x=scaled, y=_per_channel(node, 2, x.rank))


def _layer_normalization(node: Node) -> Tensor | list[Tensor]:
    mil, x = node.mil, node.tensor(0)
    axes, epsilon = list(range(node.axis(-1, x.rank), x.rank)), node.number("epsilon", 1e-5)
    plain = not node.wants(1) and not node.wants(2)
    shape = shape_of(x)[axes[0] :]
    known = [node.tensor(index) for index in (1, 2) if node.is_known(index)]
    if plain and len(known) == node.has(1) + node.has(2) and all(item.shape == shape for item in known):
        given = {"beta": known[1]} if len(known) > 1 else {}
        return mil.layer_norm(x=x, axes=axes, gamma=known[0], epsilon=np.float32(epsilon), **given)
    made, mean, inverse = _standardized(node, x, axes, epsilon)
    made = mil.mul(x=made, y=node.tensor(1))
    made = mil.add(x=made, y=node.tensor(2)) if node.has(2) else made
    return made if plain else [made, mean, inverse]


def _standardized(node: Node, x: Tensor, axes: list[int], epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return (x - mean) / sqrt(variance + epsilon), the mean, and the inverse of that root."""
    mil = node.mil
    mean = mil.reduce_mean(x=x, axes=axes, keep_dims=True)
    centred = mil.sub(x=x, y=mean)
    variance = mil.reduce_mean(x=mil.square(x=centred), axes=axes, keep_dims=True)
    inverse = mil.real_div(x=np.float32(1), y=mil.sqrt(x=mil.add(x=variance, y=np.float32(epsilon))))
    return mil.mul(x=centred, y=inverse), mean, inverse


def _group_normalization(node: Node) -> Tensor:
    x = node.tensor(0)
    shape, groups = shape_of(x), node.integer("num_groups", 1)
    flat = node.mil.reshape(x=x, shape=[shape[0], groups, -1])
    normal, _, _ = _standardized(node, flat, [2], node.number("epsilon", 1e-5))
    if node.opset < 21:  # one scale and one offset a group, then
        shaped = node.mil.mul(x=normal, y=_per_channel(node, 1, 3))
        return node.mil.reshape(x=node.mil.add(x=shaped, y=_per_channel(node, 2, 3)), shape=shape)
    back = node.mil.mul(x=node.mil.reshape(x=normal, shape=shape), y=_per_channel(node, 1, x.rank))
    return node.mil.add(x=back, y=_per_channel(node, 2, x.rank))


def _rms_normalization(node: Node) -> Tensor:
    mil, x = node.mil, node.tensor(0)
    axes = list(range(node.axis(-1, x.rank), x.rank))
    square = mil.reduce_mean(x=mil.square(x=x), axes=axes, keep_dims=True)
    root = mil.sqrt(x=mil.add(x=square, y=np.float32(node.number("epsilon", 1e-5))))
    return mil.mul(x=mil.real_div(x=x, y=root), y=node.tensor(1))


def _lrn(node: Node) -> Tensor:
    x, size = node.tensor(0), node.integer("size", 1)
    given = {
        "alpha": np.float32(node.number("alpha", 1e-4)),
        "beta": np.float32(node.number("beta", 0.75)),
        "k": np.float32(node.number("bias", 1.0)),
    }
    return node.mil.local_response_norm(x=x, size=size, **given)


def _lp_normalization(node: Node) -> Tensor:
    mil, x = node.mil, node.tensor(0)
    norm = mil.reduce_l1_norm if node.integer("p", 2) == 1 else mil.reduce_l2_norm
    size = norm(x=x, axes=[node.axis(-1, x.rank)], keep_dims=True)
    # a vector of zeros stays one
    safe = mil.select(cond=mil.equal(x=size, y=np.float32(0)), a=np.float32(1), b=size)
    return mil.real_div(x=x, y=safe)


LOWERINGS: dict[str, Lowering] = {
    "BatchNormalization": _batch_normalization,
    "GroupNormalization": _group_normalization,
    "InstanceNormalization": _instance_normalization,
    "LRN": _lrn,
    "LayerNormalization": _layer_normalization,
    "LpNormalization": _lp_normalization,
    "RMSNormalization": _rms_normalization,
}

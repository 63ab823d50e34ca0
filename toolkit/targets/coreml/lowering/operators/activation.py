"""Activation functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from toolkit.targets.coreml.lowering.node import Lowering, Node, Tensor, count, kind, scalar, shape_of


def _relu(node: Node) -> Tensor:
    x = node.tensor()
    return node.mil.relu(x=x) if kind(x) == "f" else node.mil.maximum(x=x, y=scalar(0, x))


def _leaky_relu(node: Node) -> Tensor:
    return node.mil.leaky_relu(x=node.tensor(), alpha=np.float32(node.number("alpha", 0.01)))


def _elu(node: Node) -> Tensor:
    return node.mil.elu(x=node.tensor(), alpha=np.float32(node.number("alpha", 1.0)))


def _selu(node: Node) -> Tensor:
    alpha, gamma = node.number("alpha", 1.67326319217681884765625), node.number("gamma", 1.05070102214813232421875)
    return node.mil.mul(x=node.mil.elu(x=node.tensor(), alpha=np.float32(alpha)), y=np.float32(gamma))


def _celu(node: Node) -> Tensor:
    mil, x, alpha = node.mil, node.tensor(), node.number("alpha", 1.0)
    # max(0, x) + min(0, alpha * (exp(x / alpha) - 1)), which is alpha times an ELU of x / alpha
    return mil.mul(x=mil.elu(x=mil.mul(x=x, y=np.float32(1 / alpha)), alpha=np.float32(1)), y=np.float32(alpha))


def _thresholded_relu(node: Node) -> Tensor:
    # Core ML keeps x where x >= alpha, ONNX where x > alpha: they differ at alpha itself
    mil, x = node.mil, node.tensor()
    return mil.select(cond=mil.greater(x=x, y=np.float32(node.number("alpha", 1.0))), a=x, b=np.float32(0))


def _hard_sigmoid(node: Node) -> Tensor:
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    return node.mil.sigmoid_hard(x=node.tensor(), alpha=np.float32(alpha), beta=np.float32(beta))


def _hard_swish(node: Node) -> Tensor:
    x = node.tensor()
    return node.mil.mul(x=x, y=node.mil.sigmoid_hard(x=x, alpha=np.float32(1 / 6), beta=np.float32(0.5)))


def _sigmoid(node: Node) -> Tensor:
    return node.mil.sigmoid(x=node.tensor())


def _softplus(node: Node) -> Tensor:
    return node.mil.softplus(x=node.tensor())


def _softsign(node: Node) -> Tensor:
    return node.mil.softsign(x=node.tensor())


def _prelu(node: Node) -> Tensor:
    mil, x, slope = node.mil, node.tensor(0), node.tensor(1)
    if isinstance(slope, np.ndarray) and x.rank >= 3 and _per_channel(slope.shape, shape_of(x)):
        return mil.prelu(x=x, alpha=np.broadcast_to(slope.reshape(-1), (x.shape[1],)).copy())
    # MIL's own wants a channel axis and axes after it
    below = mil.mul(x=mil.minimum(x=x, y=scalar(0, x)), y=slope)
    return mil.add(x=mil.maximum(x=x, y=scalar(0, x)), y=below)


def _per_channel(slope: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    padded = (1,) * (len(shape) - len(slope)) + slope
    return padded[1] in (1, shape[1]) and count(padded) == padded[1]


def _gelu(node: Node) -> Tensor:
    mode = "TANH_APPROXIMATION" if node.word("approximate", "none") == "tanh" else "EXACT"
    return node.mil.gelu(x=node.tensor(), mode=mode)


def _mish(node: Node) -> Tensor:
    x = node.tensor()
    return node.mil.mul(x=x, y=node.mil.tanh(x=node.mil.softplus(x=x)))


def _swish(node: Node) -> Tensor:
    mil, x, alpha = node.mil, node.tensor(), node.number("alpha", 1.0)
    if alpha == 1:
        return mil.silu(x=x)
    return mil.mul(x=x, y=mil.sigmoid(x=mil.mul(x=x, y=np.float32(alpha))))


def _shrink(node: Node) -> Tensor:
    mil, x = node.mil, node.tensor()
    edge, bias = node.number("lambd", 0.5), scalar(node.number("bias", 0.0), x)
    high = mil.select(cond=mil.greater(x=x, y=scalar(edge, x)), a=mil.sub(x=x, y=bias), b=scalar(0, x))
    return mil.select(cond=mil.less(x=x, y=scalar(-edge, x)), a=mil.add(x=x, y=bias), b=high)


def _softmax(node: Node) -> Tensor:
    return _over_axis(node, lambda x, axis: node.mil.softmax(x=x, axis=axis))


def _log_softmax(node: Node) -> Tensor:
    def lower(x: Tensor, axis: int) -> Tensor:
        mil = node.mil
        centred = mil.sub(x=x, y=mil.reduce_max(x=x, axes=[axis], keep_dims=True))
        total = mil.reduce_sum(x=mil.exp(x=centred), axes=[axis], keep_dims=True)
        return mil.sub(x=centred, y=mil.log(x=total, epsilon=np.float32(0)))

    return _over_axis(node, lower)


def _hardmax(node: Node) -> Tensor:
    def lower(x: Tensor, axis: int) -> Tensor:
        mil = node.mil
        first = mil.reduce_argmax(x=x, axis=axis, keep_dims=True)
        steps = np.arange(x.shape[axis], dtype=np.int32).reshape([-1 if at == axis else 1 for at in range(x.rank)])
        return mil.cast(x=mil.equal(x=first, y=steps), dtype="fp32")

    return _over_axis(node, lower)


def _over_axis(node: Node, lower: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Apply a function along ``axis``; before opset 13 along all axes from there on, as one."""
    x = node.tensor()
    if node.opset >= 13:
        return lower(x, node.axis(-1, x.rank))
    shape, axis = shape_of(x), node.axis(1, x.rank)
    if axis == x.rank - 1:
        return lower(x, axis)
    flat = node.mil.reshape(x=x, shape=[count(shape[:axis]), count(shape[axis:])])
    return node.mil.reshape(x=lower(flat, 1), shape=shape)


LOWERINGS: dict[str, Lowering] = {
    "Celu": _celu,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Hardmax": _hardmax,
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _log_softmax,
    "Mish": _mish,
    "PRelu": _prelu,
    "Relu": _relu,
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": _sigmoid,
    "Softmax": _softmax,
    "Softplus": _softplus,
    "Softsign": _softsign,
    "Swish": _swish,
    "ThresholdedRelu": _thresholded_relu,
}

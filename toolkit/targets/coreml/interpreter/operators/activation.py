"""Activation functions; formulas as in coremltools' documentation of each operator."""

from __future__ import annotations

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering


def clip(layer: Layer) -> None:
    """``clip``: min(max(x, alpha), beta)."""
    dtype = layer.type("x").dtype
    low, high = (layer.of_type(layer.number(key), dtype) for key in ("alpha", "beta"))
    layer.emit("Clip", layer.tensor("x"), low, high)


def relu6(layer: Layer) -> None:
    """``relu6``: min(max(x, 0), 6)."""
    layer.emit("Clip", layer.tensor("x"), layer.floats(0), layer.floats(6))


def leaky_relu(layer: Layer) -> None:
    """``leaky_relu``: alpha x below zero."""
    layer.emit("LeakyRelu", layer.tensor("x"), alpha=layer.number("alpha"))


def prelu(layer: Layer) -> None:
    """``prelu``: alpha [channels], channels on axis 1."""
    slope = layer.array("alpha").reshape(-1, *[1] * (len(layer.type("x").shape) - 2))
    layer.emit("PRelu", layer.tensor("x"), layer.floats(slope))


def elu(layer: Layer) -> None:
    """``elu``: alpha (e^x - 1) below zero."""
    layer.emit("Elu", layer.tensor("x"), alpha=layer.number("alpha"))


def sigmoid_hard(layer: Layer) -> None:
    """``sigmoid_hard``: min(max(alpha x + beta, 0), 1)."""
    layer.emit("HardSigmoid", layer.tensor("x"), alpha=layer.number("alpha"), beta=layer.number("beta"))


def silu(layer: Layer) -> None:
    """``silu``: x sigmoid(x)."""
    layer.emit("Mul", layer.tensor("x"), layer.step("Sigmoid", layer.tensor("x")))


def gelu(layer: Layer) -> None:
    """``gelu``: exact, or approximated by tanh or sigmoid."""
    mode = layer.word("mode", "EXACT")
    if mode == "SIGMOID_APPROXIMATION":
        inner = layer.step("Mul", layer.tensor("x"), layer.floats(1.702))
        layer.emit("Mul", layer.tensor("x"), layer.step("Sigmoid", inner))
        return
    if mode not in ("EXACT", "TANH_APPROXIMATION"):
        raise layer.refusal(f"has the mode {mode!r}, which is not known")
    layer.emit("Gelu", layer.tensor("x"), approximate="none" if mode == "EXACT" else "tanh")


def softmax(layer: Layer) -> None:
    """``softmax`` along one axis."""
    layer.emit("Softmax", layer.tensor("x"), axis=layer.integer("axis", -1))


def scaled_tanh(layer: Layer) -> None:
    """``scaled_tanh``: alpha tanh(beta x)."""
    inner = layer.step("Mul", layer.tensor("x"), layer.floats(layer.number("beta")))
    layer.emit("Mul", layer.step("Tanh", inner), layer.floats(layer.number("alpha")))


def linear_activation(layer: Layer) -> None:
    """``linear_activation``: alpha x + beta."""
    scaled = layer.step("Mul", layer.tensor("x"), layer.floats(layer.number("alpha")))
    layer.emit("Add", scaled, layer.floats(layer.number("beta")))


def softplus_parametric(layer: Layer) -> None:
    """``softplus_parametric``: alpha log(1 + e^(beta x)), alpha and beta [channels] on axis 1."""
    fit = (-1, *[1] * (len(layer.type("x").shape) - 2))
    inner = layer.step("Mul", layer.tensor("x"), layer.floats(layer.array("beta").reshape(fit)))
    layer.emit("Mul", layer.step("Softplus", inner), layer.floats(layer.array("alpha").reshape(fit)))


def clamped_relu(layer: Layer) -> None:
    """``clamped_relu``: min(beta, leaky_relu(x, alpha))."""
    leaky = layer.step("LeakyRelu", layer.tensor("x"), alpha=layer.number("alpha"))
    layer.emit("Min", leaky, layer.floats(layer.number("beta")))


def threshold(layer: Layer) -> None:
    """``threshold``: max(x, alpha)."""
    layer.emit("Max", layer.tensor("x"), layer.of_type(layer.number("alpha"), layer.type("x").dtype))


def thresholded_relu(layer: Layer) -> None:
    """``thresholded_relu``: x from alpha on, zero below."""
    keep = layer.step("GreaterOrEqual", layer.tensor("x"), layer.floats(layer.number("alpha")))
    layer.emit("Where", keep, layer.tensor("x"), layer.floats(0))


def _plain(operator: str) -> Lowering:
    def lowering(layer: Layer) -> None:
        layer.emit(operator, layer.tensor("x"))

    return lowering


LOWERINGS: dict[str, Lowering] = {
    "clamped_relu": clamped_relu,
    "clip": clip,
    "elu": elu,
    "gelu": gelu,
    "leaky_relu": leaky_relu,
    "linear_activation": linear_activation,
    "prelu": prelu,
    "relu": _plain("Relu"),
    "relu6": relu6,
    "scaled_tanh": scaled_tanh,
    "sigmoid": _plain("Sigmoid"),
    "sigmoid_hard": sigmoid_hard,
    "silu": silu,
    "softmax": softmax,
    "softplus": _plain("Softplus"),
    "softplus_parametric": softplus_parametric,
    "softsign": _plain("Softsign"),
    "tanh": _plain("Tanh"),
    "threshold": threshold,
    "thresholded_relu": thresholded_relu,
}

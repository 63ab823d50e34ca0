"""Element by element: arithmetic, comparison, logic, casts."""

from __future__ import annotations

import numpy as np

from toolkit.targets.coreml.lowering.node import Lowering, Node, Tensor, element_name, kind, scalar
from toolkit.targets.coreml.lowering.operators.shape import chosen

_CASTS = {1: "fp32", 10: "fp32", 11: "fp32", 16: "fp32", 6: "int32", 7: "int32", 12: "int32", 13: "int32", 9: "bool"}
_WRAPPED = {2: (8, False), 3: (8, True), 4: (16, False), 5: (16, True)}
"""ONNX's numbers of the integers narrower than 32 bits: how many bits, and whether they have a sign."""
_SIGNED = (3, 5, 6, 7)
"""ONNX's numbers of int8, int16, int32 and int64."""


def _unary(operator: str) -> Lowering:
    def lower(node: Node) -> Tensor:
        return getattr(node.mil, operator)(x=node.tensor())

    return lower


def _rounded(operator: str) -> Lowering:
    def lower(node: Node) -> Tensor:
        x = node.tensor()
        return node.mil.identity(x=x) if kind(x) == "i" else getattr(node.mil, operator)(x=x)

    return lower


def _folded(operator: str) -> Lowering:
    """Lower an operator of any number of arguments to a chain of a binary one."""

    def lower(node: Node) -> Tensor:
        total, *rest = node.tensors()
        for other in rest:
            total = getattr(node.mil, operator)(x=total, y=other)
        return total if rest else node.mil.identity(x=total)

    return lower


def _neg(node: Node) -> Tensor:
    x = node.tensor()
    return node.mil.mul(x=x, y=scalar(-1, x))


def _reciprocal(node: Node) -> Tensor:
    # MIL's own inverse adds an epsilon to its argument
    return node.mil.real_div(x=np.float32(1), y=node.tensor())


def _log(node: Node) -> Tensor:
    return node.mil.log(x=node.tensor(), epsilon=np.float32(0))


def _asinh(node: Node) -> Tensor:
    mil, x = node.mil, node.tensor()
    # by the magnitude, since x + sqrt(x² + 1) cancels where x is negative
    size = mil.abs(x=x)
    root = mil.sqrt(x=mil.add(x=mil.square(x=x), y=np.float32(1)))
    return mil.mul(x=mil.sign(x=x), y=mil.log(x=mil.add(x=size, y=root), epsilon=np.float32(0)))


def _acosh(node: Node) -> Tensor:
    mil, x = node.mil, node.tensor()
    root = mil.sqrt(x=mil.sub(x=mil.square(x=x), y=np.float32(1)))
    return mil.log(x=mil.add(x=x, y=root), epsilon=np.float32(0))


def _div(node: Node) -> Tensor:
    mil, x, y = node.mil, node.tensor(0), node.tensor(1)
    if kind(x) == "f":
        return mil.real_div(x=x, y=y)
    # ONNX divides integers toward zero, MIL toward minus infinity
    size = mil.floor_div(x=mil.abs(x=x), y=mil.abs(x=y))
    return mil.mul(x=mil.mul(x=mil.sign(x=x), y=mil.sign(x=y)), y=size)


def _mod(node: Node) -> Tensor:
    mil, x, y = node.mil, node.tensor(0), node.tensor(1)
    if not node.integer("fmod", 0):
        return mil.mod(x=x, y=y)
    rest = mil.mod(x=mil.abs(x=x), y=mil.abs(x=y))  # the sign is the dividend's, as in C
    return mil.mul(x=mil.sign(x=x), y=rest)


def _power(node: Node) -> Tensor:
    mil, x, y = node.mil, node.tensor(0), node.tensor(1)
    if kind(x) == kind(y):
        return mil.pow(x=x, y=y)
    if kind(x) == "f":
        return mil.pow(x=x, y=_floats(node, y))
    return mil.cast(x=mil.pow(x=_floats(node, x), y=y), dtype="int32")


def _mean(node: Node) -> Tensor:
    total = _folded("add")(node)
    return node.mil.real_div(x=total, y=np.float32(len(node.arguments)))


def _clip(node: Node) -> Tensor:
    mil, x = node.mil, node.tensor()
    bounds = {"maximum": _bound(node, "min", 1), "minimum": _bound(node, "max", 2)}
    low, high = (None if bound is None else _number(bound) for bound in bounds.values())
    if kind(x) == "f" and low is not None and high is not None and low <= high:
        if (low, high) == (0.0, 6.0):
            return mil.relu6(x=x)
        return mil.clip(x=x, alpha=np.float32(low), beta=np.float32(high))
    for operator, bound in bounds.items():
        if bound is not None:
            x = getattr(mil, operator)(x=x, y=bound)
    return x


def _bound(node: Node, key: str, index: int) -> Tensor | None:
    if key in node.attributes:
        return np.asarray(node.attributes[key], np.float32)
    return node.tensor(index) if node.has(index) else None


def _number(bound: Tensor) -> float | None:
    return float(bound.reshape(-1)[0]) if isinstance(bound, np.ndarray) else None


def _bitwise_not(node: Node) -> Tensor:
    # in two's complement ~x is -1 - x; without a sign it counts down from the type's largest number
    x, element = node.tensor(), node.element(0)
    if element in _SIGNED:
        return node.mil.sub(x=np.int32(-1), y=x)
    if element not in _WRAPPED:
        raise node.unlowered(f"inverts the bits of {element_name(element)}, which palmtop does not lower")
    return node.mil.sub(x=np.int32((1 << _WRAPPED[element][0]) - 1), y=x)


def _identity(node: Node) -> Tensor:
    return node.mil.identity(x=node.tensor())


def _dropout(node: Node) -> list[Tensor]:
    if node.has(2) and bool(node.known(2)):
        raise node.refusal("is in training mode, which draws random numbers")
    x = node.tensor()
    outputs = [node.mil.identity(x=x)]
    if node.wants(1):
        outputs.append(np.ones(x.shape, np.bool_))
    return outputs


def _cast_node(node: Node) -> Tensor:
    return _cast(node, node.tensor(), node.integer("to", 1))


def _cast_like(node: Node) -> Tensor:
    target = {"f": 1, "i": 6, "b": 9}[kind(node.tensor(1))]
    if node.is_known(0):
        return node.known(0).astype({1: np.float32, 6: np.int64, 9: np.bool_}[target])
    return _cast(node, node.tensor(), target)


def _cast(node: Node, x: Tensor, target: int) -> Tensor:
    if target in _CASTS:
        if _CASTS[target] == "bool" and kind(x) != "b":
            return node.mil.not_equal(x=x, y=scalar(0, x))
        return node.mil.cast(x=x, dtype=_CASTS[target])
    if target not in _WRAPPED:
        raise node.refusal(f"casts to {element_name(target)}, which Core ML has not")
    bits, signed = _WRAPPED[target]
    shift = np.int32((1 << (bits - 1)) if signed else 0)
    whole = node.mil.add(x=node.mil.cast(x=x, dtype="int32"), y=shift)
    return node.mil.sub(x=node.mil.mod(x=whole, y=np.int32(1 << bits)), y=shift)


def _is_nan(node: Node) -> Tensor:
    return node.mil.not_equal(x=node.tensor(), y=node.tensor())


def _is_inf(node: Node) -> Tensor:
    mil, x = node.mil, node.tensor()
    above = mil.greater(x=x, y=np.float32(np.finfo(np.float32).max))
    below = mil.less(x=x, y=np.float32(np.finfo(np.float32).min))
    wanted = (node.integer("detect_positive", 1), node.integer("detect_negative", 1))
    if not any(wanted):
        return mil.logical_and(x=above, y=below)
    return above if wanted == (1, 0) else below if wanted == (0, 1) else mil.logical_or(x=above, y=below)


def _where(node: Node) -> Tensor:
    condition, a, b = node.tensors()
    if kind(a) == "b":
        mil = node.mil
        whole = chosen(node, condition, _integers(node, a), _integers(node, b))
        return mil.not_equal(x=whole, y=np.int32(0))
    return chosen(node, condition, a, b)


def _comparison(operator: str) -> Lowering:
    def lower(node: Node) -> Tensor:
        x, y = node.tensor(0), node.tensor(1)
        if kind(x) == "b":
            x, y = _integers(node, x), _integers(node, y)
        return getattr(node.mil, operator)(x=x, y=y)

    return lower


def _logic(operator: str) -> Lowering:
    def lower(node: Node) -> Tensor:
        return getattr(node.mil, operator)(x=node.tensor(0), y=node.tensor(1))

    return lower


def _integers(node: Node, x: Tensor) -> Tensor:
    return x.astype(np.int32) if isinstance(x, np.ndarray) else node.mil.cast(x=x, dtype="int32")


def _floats(node: Node, x: Tensor) -> Tensor:
    return x.astype(np.float32) if isinstance(x, np.ndarray) else node.mil.cast(x=x, dtype="fp32")


LOWERINGS: dict[str, Lowering] = {
    "Abs": _unary("abs"),
    "Acos": _unary("acos"),
    "Acosh": _acosh,
    "Add": _folded("add"),
    "And": _logic("logical_and"),
    "Asin": _unary("asin"),
    "Asinh": _asinh,
    "Atan": _unary("atan"),
    "Atanh": _unary("atanh"),
    "BitwiseNot": _bitwise_not,
    "Cast": _cast_node,
    "CastLike": _cast_like,
    "Ceil": _rounded("ceil"),
    "Clip": _clip,
    "Cos": _unary("cos"),
    "Cosh": _unary("cosh"),
    "Div": _div,
    "Dropout": _dropout,
    "Equal": _comparison("equal"),
    "Erf": _unary("erf"),
    "Exp": _unary("exp"),
    "Floor": _rounded("floor"),
    "Greater": _comparison("greater"),
    "GreaterOrEqual": _comparison("greater_equal"),
    "Identity": _identity,
    "IsInf": _is_inf,
    "IsNaN": _is_nan,
    "Less": _comparison("less"),
    "LessOrEqual": _comparison("less_equal"),
    "Log": _log,
    "Max": _folded("maximum"),
    "Mean": _mean,
    "Min": _folded("minimum"),
    "Mod": _mod,
    "Mul": _folded("mul"),
    "Neg": _neg,
    "Not": _unary("logical_not"),
    "Or": _logic("logical_or"),
    "Pow": _power,
    "Reciprocal": _reciprocal,
    "Round": _rounded("round"),
    "Sign": _unary("sign"),
    "Sin": _unary("sin"),
    "Sinh": _unary("sinh"),
    "Sqrt": _unary("sqrt"),
    "Sub": _folded("sub"),
    "Sum": _folded("add"),
    "Tan": _unary("tan"),
    "Tanh": _unary("tanh"),
    "Where": _where,
    "Xor": _logic("logical_xor"),
}

"""Families that compute values: activations, arithmetic, reductions, products, normalization, quantization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import coreml_references as ref
import numpy as np
from coreml_cases import Case
from coreml_drawn import (
    Draw,
    Drawn,
    axes_of,
    axis_of,
    broadcast,
    eighths,
    flag,
    floats,
    generator,
    integers,
    one_of,
    shape,
    size,
)
from hypothesis import assume
from hypothesis import strategies as st

WITH_NUMBERS: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "clamped_relu": (("alpha", "beta"), lambda x, a, b: np.minimum(b, np.where(x >= 0, x, a * x))),
    "clip": (("alpha", "beta"), lambda x, a, b: np.minimum(np.maximum(x, a), b)),
    "elu": (("alpha",), lambda x, a: np.where(x >= 0, x, a * np.expm1(x))),
    "leaky_relu": (("alpha",), lambda x, a: np.where(x >= 0, x, a * x)),
    "linear_activation": (("alpha", "beta"), lambda x, a, b: a * x + b),
    "scaled_tanh": (("alpha", "beta"), lambda x, a, b: a * np.tanh(b * x)),
    "sigmoid_hard": (("alpha", "beta"), lambda x, a, b: np.clip(a * x + b, 0, 1)),
    "threshold": (("alpha",), np.maximum),
    "thresholded_relu": (("alpha",), lambda x, a: np.where(x >= a, x, 0)),
}
PLAIN_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
}


@st.composite
def activation(draw: Draw) -> Drawn:
    name = one_of(draw, *WITH_NUMBERS, *PLAIN_ACTIVATIONS, "gelu", "prelu", "softmax", "softplus_parametric")
    rng = generator(draw)
    if name in ("prelu", "softplus_parametric"):
        return _by_channel(draw, name, rng)
    x = eighths(rng, shape(draw), 64)
    if name == "softmax":
        axis = axis_of(draw, x.ndim)
        return Drawn(f"softmax {x.shape} {axis}", Case((x,), lambda mb, x: mb.softmax(x=x, axis=axis), _softmax(axis)))
    if name == "gelu":
        mode = one_of(draw, "EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION")
        return Drawn(f"gelu {x.shape} {mode}", Case((x,), lambda mb, x: mb.gelu(x=x, mode=mode)))
    keys, reference = WITH_NUMBERS.get(name, ((), PLAIN_ACTIVATIONS.get(name)))
    numbers = {key: np.float32(draw(st.integers(1, 16)) / 8) for key in keys}
    if name == "clip":
        numbers["alpha"] -= np.float32(3)
    half = flag(draw)

    def build(mb: Any, x: Any) -> Any:
        if not half:
            return getattr(mb, name)(x=x, **numbers)
        halves = {key: value.astype(np.float16) for key, value in numbers.items()}
        return mb.cast(x=getattr(mb, name)(x=mb.cast(x=x, dtype="fp16"), **halves), dtype="fp32")

    words = f"{name} {x.shape} {numbers}{' half' if half else ''}"
    return Drawn(words, Case((x,), build, lambda x: reference(x.astype(np.float64), *numbers.values())))


def _softmax(axis: int) -> Callable[[Any], Any]:
    def reference(x: np.ndarray) -> np.ndarray:
        powers = np.exp(x.astype(np.float64) - x.max(axis, keepdims=True))
        return powers / powers.sum(axis, keepdims=True)

    return reference


def _by_channel(draw: Draw, name: str, rng: np.random.Generator) -> Drawn:
    x = floats(rng, (size(draw), size(draw), *shape(draw, 1, 3)))
    alpha, beta = (floats(rng, x.shape[1:2], 0.2, 2) for _ in range(2))
    if x.ndim != 4:
        alpha, beta = (np.repeat(part[:1], x.shape[1]) for part in (alpha, beta))  # else coremltools refuses
    fit = (-1, *[1] * (x.ndim - 2))
    if name == "prelu":
        case = Case(
            (x,), lambda mb, x: mb.prelu(x=x, alpha=alpha), lambda x: np.where(x >= 0, x, alpha.reshape(fit) * x)
        )
    else:
        case = Case(
            (x,),
            lambda mb, x: mb.softplus_parametric(x=x, alpha=alpha, beta=beta),
            lambda x: alpha.reshape(fit) * np.log1p(np.exp(beta.reshape(fit).astype(np.float64) * x)),
        )
    return Drawn(f"{name} {x.shape}", case)


UNARY: dict[str, Callable[[Any], Any]] = {
    name: getattr(np, name) for name in ("abs", "ceil", "cos", "cosh", "exp", "exp2", "floor", "sign", "sin", "sinh")
}
UNARY |= {"atan": np.arctan, "identity": lambda x: x, "round": np.round, "square": np.square}
WITHIN_ONE = {"acos": np.arccos, "asin": np.arcsin, "atanh": np.arctanh, "tan": np.tan}
POSITIVE = {"inverse": lambda x: 1 / x, "log": np.log, "rsqrt": lambda x: 1 / np.sqrt(x), "sqrt": np.sqrt}
ARITHMETIC = {
    "add": np.add,
    "floor_div": np.floor_divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mod": np.mod,
    "mul": np.multiply,
    "pow": np.power,
    "real_div": np.divide,
    "sub": np.subtract,
}
COMPARISON = {
    "equal": np.equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "not_equal": np.not_equal,
}
LOGIC = {"logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor}


@st.composite
def elementwise(draw: Draw) -> Drawn:
    kind = one_of(draw, "unary", "binary", "binary", "binary", "logic", "select", "cast")
    return {"unary": _unary, "binary": _binary, "logic": _logic, "select": _select, "cast": _cast}[kind](draw)


def _unary(draw: Draw) -> Drawn:
    name = one_of(draw, *UNARY, *WITHIN_ONE, *POSITIVE, "erf")
    rng, wanted = generator(draw), shape(draw)
    if name == "erf":
        return Drawn(f"erf {wanted}", Case((floats(rng, wanted),), lambda mb, x: mb.erf(x=x)))
    if name in POSITIVE:
        x, epsilon = floats(rng, wanted, 0.05, 4), draw(st.integers(0, 8)) / 8
        more = {} if name == "sqrt" else {"epsilon": np.float32(epsilon)}
        shift = 0 if name == "sqrt" else epsilon
        reference = POSITIVE[name]
        return Drawn(
            f"{name} {wanted} {more}",
            Case((x,), lambda mb, x: getattr(mb, name)(x=x, **more), lambda x: reference(x.astype(np.float64) + shift)),
        )
    function = {**UNARY, **WITHIN_ONE}[name]
    x = floats(rng, wanted, -0.95, 0.95) if name in WITHIN_ONE else eighths(rng, wanted)
    whole = name in ("abs", "sign", "square") and flag(draw)
    x = integers(rng, wanted) if whole else x
    return Drawn(
        f"{name} {x.dtype} {wanted}",
        Case((x,), lambda mb, x: getattr(mb, name)(x=x), lambda x: function(x if whole else x.astype(np.float64))),
    )


def _binary(draw: Draw) -> Drawn:
    name = one_of(draw, *ARITHMETIC, *COMPARISON)
    rng, whole = generator(draw), shape(draw)
    sides = [whole, broadcast(draw, whole)]
    if flag(draw):
        sides.reverse()
    dtype = one_of(draw, "float", "half", "integer")
    if dtype == "integer" and name in ("pow", "real_div"):
        dtype = "float"
    most = 2**31 - 1 if name in ("floor_div", "mod") and flag(draw) else 9
    make = (lambda s: integers(rng, s, -most, most)) if dtype == "integer" else (lambda s: eighths(rng, s))
    x, y = (make(side) for side in sides)
    if name in ("floor_div", "mod", "real_div"):
        y = np.where(y == 0, np.ones_like(y), y)
    if name == "pow":
        x = np.abs(x) + np.float32(0.25)
    constant = flag(draw)
    function = {**ARITHMETIC, **COMPARISON}[name]

    def build(mb: Any, x: Any, other: Any = y) -> Any:
        if dtype != "half":
            return getattr(mb, name)(x=x, y=other)
        second = y.astype(np.float16) if constant else mb.cast(x=other, dtype="fp16")
        made = getattr(mb, name)(x=mb.cast(x=x, dtype="fp16"), y=second)
        return made if name in COMPARISON else mb.cast(x=made, dtype="fp32")

    def reference(x: np.ndarray, other: np.ndarray = y) -> Any:
        return function(x, other) if dtype == "integer" else function(x.astype(np.float64), other)

    words = f"{name} {dtype} {x.shape} {y.shape}{' constant' if constant else ''}"
    return Drawn(words, Case((x,) if constant else (x, y), build, reference))


def _logic(draw: Draw) -> Drawn:
    name, rng, whole = one_of(draw, *LOGIC, "logical_not"), generator(draw), shape(draw)
    x, y = integers(rng, whole, 0, 2), integers(rng, broadcast(draw, whole), 0, 2)
    if name == "logical_not":
        return Drawn(
            f"{name} {whole}",
            Case((x,), lambda mb, x: mb.logical_not(x=mb.cast(x=x, dtype="bool")), lambda x: x == 0),
        )
    return Drawn(
        f"{name} {x.shape} {y.shape}",
        Case(
            (x, y),
            lambda mb, x, y: getattr(mb, name)(x=mb.cast(x=x, dtype="bool"), y=mb.cast(x=y, dtype="bool")),
            lambda x, y: LOGIC[name](x, y),
        ),
    )


def _select(draw: Draw) -> Drawn:
    rng, whole = generator(draw), shape(draw)
    make = integers if flag(draw) else floats
    a, b, c = make(rng, whole), make(rng, whole), integers(rng, whole, 0, 2)
    return Drawn(
        f"select {a.dtype} {whole}",
        Case(
            (a, b, c),
            lambda mb, a, b, c: mb.select(cond=mb.cast(x=c, dtype="bool"), a=a, b=b),
            lambda a, b, c: np.where(c != 0, a, b),
        ),
    )


def _cast(draw: Draw) -> Drawn:
    rng, wanted = generator(draw), shape(draw)
    x = integers(rng, wanted, 0, 120) if flag(draw) else np.abs(eighths(rng, wanted, 800))
    word = one_of(draw, "int8", "uint8", "int16", "uint16", "int32", "fp16", "fp32", "bool")
    last = "int32" if "int" in word or word == "bool" else "fp32"
    dtype = {"fp16": "float32", "fp32": "float32"}.get(word, word)
    return Drawn(
        f"cast {x.dtype} {wanted} {word}",
        Case((x,), lambda mb, x: mb.cast(x=mb.cast(x=x, dtype=word), dtype=last), lambda x: x.astype(dtype)),
    )


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "l1_norm": lambda x, **how: np.abs(x).sum(**how),
    "l2_norm": lambda x, **how: np.sqrt((x**2).sum(**how)),
    "log_sum": lambda x, **how: np.log(x.sum(**how)),
    "log_sum_exp": lambda x, **how: np.log(np.exp(x).sum(**how)),
    "max": np.max,
    "mean": np.mean,
    "min": np.min,
    "prod": np.prod,
    "sum": np.sum,
    "sum_square": lambda x, **how: (x**2).sum(**how),
}


@st.composite
def reduction(draw: Draw) -> Drawn:
    name = one_of(draw, *REDUCTIONS, "argmax", "argmin", "argsort", "topk", "cumsum")
    if name not in REDUCTIONS:
        return _along_one_axis(draw, name)
    rng, wanted, keep = generator(draw), shape(draw), flag(draw)
    whole = name in ("max", "min", "sum", "prod", "sum_square") and flag(draw)
    x = integers(rng, wanted, -4, 5) if whole else eighths(rng, wanted)
    if name == "log_sum":
        x = np.abs(x) + np.float32(0.5)
    axes = axes_of(draw, x.ndim) if flag(draw) else None
    more = {} if axes is None else {"axes": axes}
    function = REDUCTIONS[name]

    def reference(x: np.ndarray) -> Any:
        made = function(x.astype(np.float64), axis=None if axes is None else tuple(axes), keepdims=keep)
        return made if np.ndim(made) else np.reshape(made, ())

    return Drawn(
        f"reduce_{name} {x.dtype} {wanted} {axes} {keep}",
        Case((x,), lambda mb, x: getattr(mb, f"reduce_{name}")(x=x, keep_dims=keep, **more), reference),
    )


def _along_one_axis(draw: Draw, name: str) -> Drawn:
    rng, wanted = generator(draw), shape(draw, 1, 4, 1, 6)
    axis = axis_of(draw, len(wanted))
    up, keep = flag(draw), flag(draw)
    different = (rng.permutation(int(np.prod(wanted))).reshape(wanted) - 7).astype(np.float32)
    if name in ("argmax", "argmin"):
        x = integers(rng, wanted, 0, 4).astype(np.float32)  # ties, of which the first counts
        return Drawn(
            f"reduce_{name} {wanted} {axis} {keep}",
            Case(
                (x,),
                lambda mb, x: getattr(mb, f"reduce_{name}")(x=x, axis=axis, keep_dims=keep),
                lambda x: getattr(np, name)(x, axis, keepdims=keep),
            ),
        )
    if name == "cumsum":
        first, axis = flag(draw), max(axis, -1)
        x = integers(rng, wanted) if flag(draw) else eighths(rng, wanted)
        return Drawn(
            f"cumsum {x.dtype} {wanted} {axis} {up} {first}",
            Case(
                (x,),
                lambda mb, x: mb.cumsum(x=x, axis=axis, reverse=up, exclusive=first),
                lambda x: _running_sum(x, axis, up, first),
            ),
        )
    order = lambda x: np.argsort(x if up else -x, axis)  # noqa: E731
    if name == "argsort":
        return Drawn(
            f"argsort {wanted} {axis} {up}",
            Case((different,), lambda mb, x: mb.argsort(x=x, axis=axis, ascending=up), order),
        )
    most = draw(st.integers(1, wanted[axis]))

    def best(x: np.ndarray) -> list[np.ndarray]:
        places = np.take(order(x), np.arange(most), axis)
        return [np.take_along_axis(x, places, axis), places]

    return Drawn(
        f"topk {wanted} {axis} {up} {most}",
        Case((different,), lambda mb, x: list(mb.topk(x=x, k=most, axis=axis, ascending=up)), best),
    )


def _running_sum(x: np.ndarray, axis: int, backwards: bool, exclusive: bool) -> np.ndarray:
    read = np.flip(x, axis) if backwards else x
    made = read.cumsum(axis) - (read if exclusive else 0)
    return np.flip(made, axis) if backwards else made


EQUATIONS = {
    "nchw,nwhu->nchu": lambda n, c, h, w, u: ((n, c, h, w), (n, w, h, u)),
    "abcd,adce->abce": lambda n, c, h, w, u: ((n, c, h, w), (n, w, h, u)),
    "chw,whu->chu": lambda n, c, h, w, u: ((c, h, w), (w, h, u)),
    "abc,cbd->abd": lambda n, c, h, w, u: ((c, h, w), (w, h, u)),
}
"""Core ML has these two forms, in any letters."""


@st.composite
def linear(draw: Draw) -> Drawn:
    name, rng = one_of(draw, "linear", "matmul", "einsum"), generator(draw)
    if name == "einsum":
        equation = one_of(draw, *EQUATIONS)
        x, y = (floats(rng, part) for part in EQUATIONS[equation](*[size(draw) for _ in range(5)]))
        return Drawn(
            f"einsum {equation} {x.shape} {y.shape}",
            Case(
                (x, y),
                lambda mb, x, y: mb.einsum(values=(x, y), equation=equation),
                lambda x, y: np.einsum(equation, x.astype(np.float64), y),
            ),
        )
    if name == "linear":
        x = floats(rng, (*shape(draw, 1, 3), size(draw)))
        weight, bias = floats(rng, (size(draw), x.shape[-1])), None
        more = {}
        if flag(draw):
            bias = floats(rng, weight.shape[:1])
            more = {"bias": bias}
        return Drawn(
            f"linear {x.shape} {weight.shape} {bias is not None}",
            Case(
                (x,),
                lambda mb, x: mb.linear(x=x, weight=weight, **more),
                lambda x: x.astype(np.float64) @ weight.T + (0 if bias is None else bias),
            ),
        )
    return _matmul(draw, rng)


def _matmul(draw: Draw, rng: np.random.Generator) -> Drawn:
    batch = shape(draw, 0, 2)
    rows, inner, columns = (size(draw) for _ in range(3))
    turned = [flag(draw), flag(draw)]
    other = broadcast(draw, batch) if batch else ()
    x = floats(rng, (*batch, *((inner, rows) if turned[0] else (rows, inner))))
    y = floats(rng, (*other, *((columns, inner) if turned[1] else (inner, columns))))
    constant = flag(draw)

    def reference(x: np.ndarray, y: np.ndarray = y) -> np.ndarray:
        sides = [part.swapaxes(-1, -2) if turn else part for part, turn in zip((x, y), turned, strict=True)]
        return sides[0].astype(np.float64) @ sides[1]

    def build(mb: Any, x: Any, y: Any = y) -> Any:
        return mb.matmul(x=x, y=y, transpose_x=turned[0], transpose_y=turned[1])

    return Drawn(
        f"matmul {x.shape} {y.shape} {turned} {constant}", Case((x,) if constant else (x, y), build, reference)
    )


@st.composite
def normalization(draw: Draw) -> Drawn:
    name = one_of(draw, "batch_norm", "instance_norm", "layer_norm", "layer_norm", "l2_norm", "local_response_norm")
    rng, epsilon = generator(draw), np.float32(10.0 ** -draw(st.integers(1, 5)))
    if name == "layer_norm":
        return _layer_norm(draw, rng, epsilon)
    if name == "l2_norm":
        x = floats(rng, shape(draw, 3, 5))
        total = lambda x: np.sqrt((x.astype(np.float64) ** 2).sum((-3, -2, -1), keepdims=True) + epsilon)  # noqa: E731
        return Drawn(
            f"l2_norm {x.shape}", Case((x,), lambda mb, x: mb.l2_norm(x=x, epsilon=epsilon), lambda x: x / total(x))
        )
    if name == "local_response_norm":
        x, extent = floats(rng, (size(draw), size(draw, 1, 9), size(draw), size(draw))), one_of(draw, 1, 3, 5)
        settings = {"alpha": 0.5, "beta": 0.6, "k": 1.5}
        return Drawn(
            f"local_response_norm {x.shape} {extent}",
            Case(
                (x,),
                lambda mb, x: mb.local_response_norm(x=x, size=extent, **settings),
                lambda x: ref.local_response_norm(x, extent, *settings.values()),
            ),
        )
    channels, rank = size(draw), draw(st.integers(1, 3 if name == "batch_norm" else 2))
    x = floats(rng, (size(draw), channels, *shape(draw, rank, rank, 2)))
    gamma, beta, mean = (floats(rng, (channels,)) for _ in range(3))
    variance = floats(rng, (channels,), 0.2, 2)
    if name == "batch_norm":
        case = Case(
            (x,),
            lambda mb, x: mb.batch_norm(x=x, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=epsilon),
            lambda x: ref.batch_norm(x, mean, variance, gamma, beta, epsilon),
        )
    else:
        case = Case(
            (x,),
            lambda mb, x: mb.instance_norm(x=x, gamma=gamma, beta=beta, epsilon=epsilon),
            lambda x: ref.instance_norm(x, gamma, beta, epsilon),
        )
    return Drawn(f"{name} {x.shape} {epsilon}", case)


def _layer_norm(draw: Draw, rng: np.random.Generator, epsilon: np.float32) -> Drawn:
    x = floats(rng, shape(draw, 2, 4, 2))
    axes = sorted(axes_of(draw, x.ndim), key=lambda axis: axis % x.ndim)
    inner = tuple(x.shape[axis] for axis in axes)
    given = flag(draw)
    gamma, beta = floats(rng, inner), floats(rng, inner)
    more = {"gamma": gamma, "beta": beta} if given else {}
    over = tuple(axis % x.ndim for axis in axes)
    fit = [extent if axis in over else 1 for axis, extent in enumerate(x.shape)]

    def reference(x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64)
        spread = np.sqrt(wide.var(over, keepdims=True) + epsilon)
        made = (wide - wide.mean(over, keepdims=True)) / spread
        return made * gamma.reshape(fit) + beta.reshape(fit) if given else made

    return Drawn(
        f"layer_norm {x.shape} {axes} {given} {epsilon}",
        Case((x,), lambda mb, x: mb.layer_norm(x=x, axes=axes, epsilon=epsilon, **more), reference),
    )


@st.composite
def quantization(draw: Draw) -> Drawn:
    rng, wanted, dtype = generator(draw), shape(draw), one_of(draw, "int8", "uint8")
    axis = axis_of(draw, len(wanted)) if flag(draw) else None
    assume(axis is None or wanted[axis] > 0)
    inner = () if axis is None else (wanted[axis],)
    scale = (2.0 ** -rng.integers(2, 6, inner)).astype(np.float32)
    limits = np.iinfo(dtype)
    zero = rng.integers(limits.min, limits.max + 1, inner).astype(dtype) if flag(draw) else None
    fit = [] if axis is None else [-1 if place == axis % len(wanted) else 1 for place in range(len(wanted))]
    step, middle = (
        scale.reshape(fit),
        np.zeros(inner, int).reshape(fit) if zero is None else zero.astype(int).reshape(fit),
    )
    x = eighths(rng, wanted, 40)
    more: dict[str, Any] = {"scale": scale if inner else np.float32(scale)}
    if zero is not None:
        more["zero_point"] = zero if inner else zero[()]
    if axis is not None:
        more["axis"] = axis

    def build(mb: Any, x: Any) -> Any:
        return mb.dequantize(input=mb.quantize(input=x, output_dtype=dtype, **more), **more)

    def reference(x: np.ndarray) -> np.ndarray:
        return (np.clip(np.round(x / step) + middle, limits.min, limits.max) - middle) * step

    return Drawn(f"quantize {wanted} {dtype} {more}", Case((x,), build, reference))

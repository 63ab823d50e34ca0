"""Arithmetic, comparison and logic, element by element with numpy's broadcasting."""

from __future__ import annotations

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering, computed_dtype, onnx_type

_CAST_WORDS = {"fp16", "fp32", "int8", "uint8", "int16", "uint16", "int32", "bool"}


def real_div(layer: Layer) -> None:
    """``real_div``: the true quotient, cut to whole numbers only where the output is of an integer type."""
    if _is_float(layer, "x") or not _is_float_out(layer):
        layer.emit("Div", layer.tensor("x"), layer.tensor("y"))
        return
    x, y = (layer.step("Cast", layer.tensor(key), to=onnx_type("float32")) for key in ("x", "y"))
    layer.emit("Div", x, y)


def floor_div(layer: Layer) -> None:
    """``floor_div``: the quotient rounded down; integers by way of float64, which holds every int32 exactly."""
    if _is_float(layer, "x"):
        layer.emit("Floor", layer.step("Div", layer.tensor("x"), layer.tensor("y")))
        return
    x, y = (layer.step("Cast", layer.tensor(key), to=onnx_type("float64")) for key in ("x", "y"))
    layer.emit("Cast", layer.step("Floor", layer.step("Div", x, y)), to=onnx_type(computed_dtype(layer.output.dtype)))


def mod(layer: Layer) -> None:
    """``mod``: the remainder with the divisor's sign."""
    x, y = layer.tensor("x"), layer.tensor("y")
    if not _is_float(layer, "x"):
        layer.emit("Mod", x, y, fmod=0)
        return
    whole = layer.step("Mul", layer.step("Floor", layer.step("Div", x, y)), y)
    layer.emit("Sub", x, whole)


def not_equal(layer: Layer) -> None:
    """``not_equal``."""
    layer.emit("Not", layer.step("Equal", layer.tensor("x"), layer.tensor("y")))


def select(layer: Layer) -> None:
    """``select``: a where cond holds, else b."""
    condition = layer.tensor("cond")
    if layer.type("cond").dtype != "bool":
        condition = layer.step("Cast", condition, to=onnx_type("bool"))
    layer.emit("Where", condition, layer.tensor("a"), layer.tensor("b"))


def square(layer: Layer) -> None:
    """``square``."""
    layer.emit("Mul", layer.tensor("x"), layer.tensor("x"))


def log(layer: Layer) -> None:
    """``log``: the natural logarithm of x + epsilon."""
    layer.emit("Log", _shifted(layer, 1e-45))


def rsqrt(layer: Layer) -> None:
    """``rsqrt``: 1 / sqrt(x + epsilon)."""
    layer.emit("Reciprocal", layer.step("Sqrt", _shifted(layer, 1e-12)))


def inverse(layer: Layer) -> None:
    """``inverse``: 1 / (x + epsilon)."""
    layer.emit("Reciprocal", _shifted(layer, 1e-4))


def exp2(layer: Layer) -> None:
    """``exp2``: two to the power of x."""
    layer.emit("Pow", layer.of_type(2, layer.type("x").dtype), layer.tensor("x"))


def cast(layer: Layer) -> None:
    """``cast``: float16 stays float32, 16-bit integers become int32."""
    word = layer.word("dtype")
    if word not in _CAST_WORDS:
        raise layer.refusal(f"casts to {word!r}, which is not known")
    layer.emit("Cast", layer.tensor("x"), to=onnx_type(computed_dtype(word)))


def _shifted(layer: Layer, default: float) -> str:
    epsilon = layer.number("epsilon", default)
    return layer.step("Add", layer.tensor("x"), layer.floats(epsilon)) if epsilon else layer.tensor("x")


def _is_float(layer: Layer, key: str) -> bool:
    return layer.type(key).dtype.startswith("fp")


def _is_float_out(layer: Layer) -> bool:
    return layer.output.dtype.startswith("fp")


def _unary(operator: str) -> Lowering:
    def lowering(layer: Layer) -> None:
        layer.emit(operator, layer.tensor("x"))

    return lowering


def _binary(operator: str) -> Lowering:
    def lowering(layer: Layer) -> None:
        layer.emit(operator, layer.tensor("x"), layer.tensor("y"))

    return lowering


LOWERINGS: dict[str, Lowering] = {
    "abs": _unary("Abs"),
    "acos": _unary("Acos"),
    "add": _binary("Add"),
    "asin": _unary("Asin"),
    "atan": _unary("Atan"),
    "atanh": _unary("Atanh"),
    "cast": cast,
    "ceil": _unary("Ceil"),
    "cos": _unary("Cos"),
    "cosh": _unary("Cosh"),
    "equal": _binary("Equal"),
    "erf": _unary("Erf"),
    "exp": _unary("Exp"),
    "exp2": exp2,
    "floor": _unary("Floor"),
    "floor_div": floor_div,
    "greater": _binary("Greater"),
    "greater_equal": _binary("GreaterOrEqual"),
    "identity": _unary("Identity"),
    "inverse": inverse,
    "less": _binary("Less"),
    "less_equal": _binary("LessOrEqual"),
    "log": log,
    "logical_and": _binary("And"),
    "logical_not": _unary("Not"),
    "logical_or": _binary("Or"),
    "logical_xor": _binary("Xor"),
    "maximum": _binary("Max"),
    "minimum": _binary("Min"),
    "mod": mod,
    "mul": _binary("Mul"),
    "not_equal": not_equal,
    "pow": _binary("Pow"),
    "real_div": real_div,
    "round": _unary("Round"),
    "rsqrt": rsqrt,
    "select": select,
    "sign": _unary("Sign"),
    "sin": _unary("Sin"),
    "sinh": _unary("Sinh"),
    "sqrt": _unary("Sqrt"),
    "square": square,
    "sub": _binary("Sub"),
    "tan": _unary("Tan"),
}

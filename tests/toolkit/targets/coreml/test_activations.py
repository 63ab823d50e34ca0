"""Which ranges the insertion of 8-bit activations gets."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.core.artifacts import Range
from toolkit.core.errors import ModelError
from toolkit.targets.coreml.activations import concat_groups, plan
from toolkit.targets.coreml.interpreter.program import Operation, Program, TensorType, Value


def value(name: str, dtype: str = "fp16", constant: bool = False) -> Value:
    array = np.ones((1, 4), np.float16) if constant else None
    return Value(name=name, type=TensorType(dtype=dtype, shape=(1, 4)), constant=array)


def operation(operator: str, output: str, dtype: str = "fp16", **inputs: Value | tuple[Value, ...]) -> Operation:
    given = {key: item if isinstance(item, tuple) else (item,) for key, item in inputs.items()}
    return Operation(operator=operator, name=output, inputs=given, outputs=(value(output, dtype),))


def program(*operations: Operation) -> Program:
    last = operations[-1].outputs[0]
    return Program(inputs=(value("x", "fp32"),), outputs=(last,), operations=tuple(operations), specification_version=8)


START = operation("cast", "x_half", x=value("x", "fp32"))


def ranges(**seen: tuple[float, float]) -> dict[str, Range]:
    return {name: Range(low=low, high=high) for name, (low, high) in seen.items()}


def test_ranges_cross_casts_in_both_directions() -> None:
    made = program(
        START,
        operation("conv", "inner", x=value("x_half")),
        operation("cast", "y", "fp32", x=value("inner")),
    )
    chosen = plan(made, ranges(x=(-1, 2), y=(0, 5)), {})
    assert chosen.statistics["x_half"] == {"rmin": -1, "rmax": 2}
    assert chosen.statistics["inner"] == {"rmin": 0, "rmax": 5}
    assert chosen.excluded == {}


def test_concats_that_share_a_tensor_are_one_group() -> None:
    made = program(
        operation("concat", "d", values=(value("a"), value("b"))),
        operation("concat", "f", values=(value("e"), value("g"))),
        operation("concat", "h", values=(value("b"), value("e"))),
    )
    assert concat_groups(made) == [{"a", "b", "d", "e", "f", "g", "h"}]
    made = program(
        operation("conv", "a", x=value("x")),
        operation("conv", "b", x=value("x")),
        operation("concat", "d", values=(value("a"), value("b"))),
    )
    chosen = plan(made, ranges(x=(0, 1), a=(-1, 1), b=(0, 7), d=(-1, 7)), {})
    assert chosen.statistics["a"] == chosen.statistics["b"] == {"rmin": -1, "rmax": 7}


@pytest.mark.parametrize(
    ("seen", "given"),
    [
        ((0, 6), (0, 6)),
        ((-0.375, 6), (-0.375, 6)),
        ((-5, 6), (-128 / 127 * 6, 6)),
        ((-6, 5.5), (-128 / 127 * 6, 6)),
        ((2, 3), (2, 3)),
        ((0, 0.01), (0, 255 * 2.0**-14)),
        ((-0.01, 0), (-0.01, 255 * 2.0**-14 - 0.01)),
    ],
)
def test_ranges_about_even_are_made_so_and_narrow_ones_widened(
    seen: tuple[float, float], given: tuple[float, float]
) -> None:
    made = plan(program(operation("conv", "y", x=value("a"))), ranges(y=seen), {}).statistics["y"]
    assert (made["rmin"], made["rmax"]) == pytest.approx(given)


def test_a_tensor_that_is_always_zero_gets_a_scale_that_divides() -> None:
    chosen = plan(program(operation("conv", "y", x=value("a"))), ranges(y=(0, 0)), {})
    assert chosen.statistics["y"] == {"rmin": -1, "rmax": 1}


@pytest.mark.parametrize(
    ("layer", "seen", "reason"),
    [
        (operation("add", "y", x=value("a"), y=value("b", constant=True)), {"a": (0, 1), "y": (0, 1)}, "constant"),
        (operation("conv", "y", x=value("a")), {"y": (0, 1)}, "never saw its tensor 'a'"),
        (operation("conv", "y", x=value("a")), {"a": (0, 1e-6), "y": (0, 1)}, "too little"),
        (operation("conv", "y", x=value("a", "fp32")), {"a": (0, 1), "y": (0, 1)}, "not float16"),
    ],
)
def test_a_layer_that_cannot_be_quantized_is_left_out_with_the_reason(
    layer: Operation, seen: dict[str, tuple[float, float]], reason: str
) -> None:
    made = program(operation("sin", "a", x=value("x")), layer)
    assert reason in plan(made, ranges(**seen), {}).excluded["y"]


def test_the_activation_after_a_layer_needs_a_range_too() -> None:
    made = program(
        operation("sin", "a", x=value("x")),
        operation("conv", "y", x=value("a")),
        operation("relu", "z", x=value("y")),
    )
    assert "'z'" in plan(made, ranges(a=(0, 1), y=(0, 1)), {}).excluded["y"]
    assert plan(made, ranges(a=(0, 1), y=(0, 1), z=(0, 1)), {}).excluded == {}


def test_layers_kept_float_stay_out() -> None:
    made = program(operation("sin", "a", x=value("x")), operation("conv", "y", x=value("a")))
    assert plan(made, ranges(a=(0, 1), y=(0, 1)), {"y": "asked for"}).excluded == {"y": "asked for"}


def test_values_beyond_float16_are_refused() -> None:
    made = program(operation("sin", "a", x=value("x")), operation("conv", "y", x=value("a")))
    with pytest.raises(ModelError, match=r"'a' takes values up to 7e\+04"):
        plan(made, ranges(a=(-7e4, 1)), {})

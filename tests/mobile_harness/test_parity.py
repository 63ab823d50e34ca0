from __future__ import annotations

import math

import numpy as np
import pytest

from mobile_harness import parity
from mobile_harness.parity import Expected, Reading


def one(dtype: str = "float32", scale: float = 1.0) -> tuple[Expected, ...]:
    return (Expected(output="y", dtype=dtype, scale=scale, samples=4),)


def reading(max_abs: float, cosine: float = 1.0, samples: int = 4, output: str = "y") -> Reading:
    return Reading(output=output, max_abs=max_abs, cosine=cosine, samples=samples)


@pytest.mark.parametrize(
    ("dtype", "scale", "passes", "fails"),
    [
        ("float32", 1.0, 0.0078, 0.0079),
        ("float32", 200.0, 1.5, 1.6),
        ("float16", 1.0, 0.0078, 0.0079),
        ("float32", 0.0, 0.0, 1e-6),
        ("int8", 127.0, 2, 3),
        ("uint8", 255.0, 2, 3),
        ("int16", 32767.0, 512, 513),
        ("int32", 9.0, 0, 1),
        ("int64", 9.0, 0, 1),
        ("bool", 1.0, 0, 1),
    ],
)
def test_each_dtype_has_its_tolerance(dtype: str, scale: float, passes: float, fails: float) -> None:
    assert parity.judge(one(dtype, scale), [reading(passes)]).parity.ok
    judged = parity.judge(one(dtype, scale), [reading(fails)])
    assert not judged.parity.ok
    assert "off by up to" in judged.reason


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_never_passes(bad: float) -> None:
    judged = parity.judge(one(), [reading(bad)])
    assert (judged.parity.ok, math.isfinite(judged.parity.max_abs)) == (False, False)
    assert not parity.judge(one(), [reading(0.0, cosine=math.nan)]).parity.ok


def test_small_values_that_are_noise_fail_by_their_cosine() -> None:
    judged = parity.judge(one(), [reading(0.001, cosine=0.9)])
    assert not judged.parity.ok
    assert "cosine 0.9000" in judged.reason
    assert parity.judge(one(scale=0.0), [reading(0.0, cosine=0.0)]).parity.ok


def test_the_worst_output_is_the_one_recorded() -> None:
    expected = (*one(scale=100.0), Expected(output="z", dtype="float32", scale=1.0, samples=4))
    judged = parity.judge(expected, [reading(0.5, 0.9999), reading(0.007, 1.0, output="z")])
    assert judged.parity.ok
    assert (judged.parity.max_abs, judged.parity.tolerance, judged.parity.cosine) == (0.007, 1 / 128, 0.9999)


def test_fewer_samples_or_outputs_than_given_is_a_failure() -> None:
    assert "only 3 of 4" in parity.judge(one(), [reading(0.0, samples=3)]).reason
    assert "did not check the output 'y'" in parity.judge(one(), []).reason


def test_without_golden_samples_nothing_is_claimed() -> None:
    judged = parity.judge((), [reading(0.0)])
    assert (judged.reason, judged.parity.ok, judged.parity.samples) == ("", False, 0)
    assert math.isnan(judged.parity.max_abs)


def test_expectations_come_from_the_golden_arrays() -> None:
    found = parity.expect({"a": np.array([[-128], [3]], np.int8), "b": np.zeros((2, 0), np.float32)})
    assert found[0] == Expected(output="a", dtype="int8", scale=128.0, samples=2)
    assert found[1].scale == 0.0

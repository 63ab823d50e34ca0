"""Between source and artefact: names and axes go there and back without loss, and what does not fit is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import DataError
from toolkit.core.signature import bind, check_feeds, unbind


def model(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = ()) -> Signature:
    return Signature(inputs=inputs, outputs=outputs)


@st.composite
def permuted(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, ...]]:
    array = draw(
        hnp.arrays(
            np.float32, hnp.array_shapes(min_dims=1, max_dims=5, max_side=4), elements=st.floats(-9, 9, width=32)
        )
    )
    return array, tuple(draw(st.permutations(range(array.ndim))))


@given(permuted())
def test_what_is_bound_and_unbound_is_what_it_was(given_array: tuple[np.ndarray, tuple[int, ...]]) -> None:
    array, perm = given_array
    shape = tuple(array.shape[axis] for axis in perm)
    spec = TensorSpec(name="artefact", dtype="float32", shape=shape, source_name="source", perm=perm)
    signature = model(spec, outputs=(spec,))
    bound = bind({"source": array}, signature)
    assert bound["artefact"].shape == shape
    assert bound["artefact"].flags.c_contiguous
    check_feeds(bound, signature)
    np.testing.assert_array_equal(unbind(bound, signature)["source"], array)


def test_nchw_becomes_nhwc() -> None:
    spec = TensorSpec(name="x_nhwc", dtype="float32", shape=(1, 2, 4, 3), source_name="x", perm=(0, 2, 3, 1))
    array = np.arange(24, dtype=np.float32).reshape(1, 3, 2, 4)
    assert bind({"x": array}, model(spec))["x_nhwc"][0, 1, 3, 2] == array[0, 2, 1, 3]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64"])
def test_whole_numbers_fit_or_are_refused(dtype: str) -> None:
    spec = TensorSpec(name="ids", dtype=dtype, shape=(3,))
    limits = np.iinfo(dtype)
    fits = np.array([0, limits.max, max(limits.min, -(2**62))], dtype=np.int64)
    assert bind({"ids": fits}, model(spec))["ids"].dtype == np.dtype(dtype)
    if dtype != "int64":
        with pytest.raises(DataError, match=f"values beyond {dtype}"):
            bind({"ids": np.array([limits.max + 1], dtype=np.int64)}, model(spec))
    assert bind({"ids": np.zeros(0, np.int64)}, model(spec))["ids"].size == 0


def test_large_unsigned_numbers_do_not_wrap_around() -> None:
    spec = TensorSpec(name="ids", dtype="int64", shape=(1,))
    with pytest.raises(DataError, match="beyond int64"):
        bind({"ids": np.array([2**63], dtype=np.uint64)}, model(spec))


def test_floats_never_become_whole_numbers_in_silence() -> None:
    spec = TensorSpec(name="ids", dtype="int32", shape=(1,))
    with pytest.raises(DataError, match="wants int32, not float32"):
        bind({"ids": np.array([1.0], np.float32)}, model(spec))
    with pytest.raises(DataError, match="wants float32, not complex64"):
        bind({"ids": np.array([1j], np.complex64)}, model(TensorSpec(name="ids", dtype="float32", shape=(1,))))


def test_a_missing_input_is_named_with_what_there_is() -> None:
    with pytest.raises(DataError, match="'x' has no array") as caught:
        bind({"image": np.zeros(1)}, model(TensorSpec(name="x", dtype="float32", shape=(1,))))
    assert "image" in caught.value.hint


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ({}, "'x' has no array"),
        ({"x": np.zeros((1, 2), np.float32), "y": np.zeros(1)}, "no input 'y'"),
        ({"x": np.zeros((1, 3), np.float32)}, r"wants float32 \[-1, 2\], not float32 \[1, 3\]"),
        ({"x": np.zeros((2,), np.float32)}, r"not float32 \[2\]"),
        ({"x": np.zeros((1, 2), np.float64)}, "not float64"),
    ],
)
def test_feeds_that_do_not_fit_are_named_with_both_shapes(feeds: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(DataError, match=said):
        check_feeds(feeds, model(TensorSpec(name="x", dtype="float32", shape=(-1, 2))))


def test_an_unknown_axis_takes_any_length() -> None:
    signature = model(TensorSpec(name="x", dtype="float32", shape=(-1, 2)))
    for length in (0, 1, 7):
        check_feeds({"x": np.zeros((length, 2), np.float32)}, signature)

"""True min-max: the same as numpy's over everything at once, however the samples are cut and ordered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from toolkit.core.artifacts import Range
from toolkit.core.errors import DataError
from toolkit.core.ports import Observer
from toolkit.ranges.minmax import MinMax

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
CHUNKS = st.lists(arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=3, max_side=4), elements=FINITE))


@given(chunks=CHUNKS, seed=st.randoms(use_true_random=False))
def test_equals_numpy_over_the_concatenation_in_any_chunks_and_order(chunks, seed) -> None:
    whole = np.concatenate([chunk.ravel() for chunk in chunks]) if chunks else np.empty(0, np.float32)
    seed.shuffle(chunks)
    observer: Observer = MinMax()
    for chunk in chunks:
        observer.see("t", chunk)
    wanted = {"t": Range(low=float(whole.min()), high=float(whole.max()))} if whole.size else {}
    assert observer.ranges() == wanted


@given(values=arrays.arrays(np.float32, st.integers(1, 30), elements=FINITE), cut=st.integers(0, 30))
def test_cutting_one_sample_in_two_changes_nothing(values, cut: int) -> None:
    whole, cut_up = MinMax(), MinMax()
    whole.see("t", values)
    cut_up.see("t", values[:cut])
    cut_up.see("t", values[cut:])
    assert whole.ranges() == cut_up.ranges()


def test_tensors_do_not_touch_each_other_and_keep_their_order() -> None:
    observer = MinMax()
    observer.see("b", np.array([1.0], np.float32))
    observer.see("a", np.array([-3.0, 2.0], np.float32))
    observer.see("b", np.array([5.0], np.float32))
    assert list(observer.ranges().items()) == [("b", Range(low=1.0, high=5.0)), ("a", Range(low=-3.0, high=2.0))]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_by_the_tensor_s_name(bad: float) -> None:
    observer = MinMax()
    observer.see("conv/out", np.array([0.0, 1.0], np.float32))
    with pytest.raises(DataError, match="'conv/out'"):
        observer.see("conv/out", np.array([[0.5, bad]], np.float32))
    assert observer.ranges() == {"conv/out": Range(low=0.0, high=1.0)}


def test_empty_arrays_tell_nothing() -> None:
    observer = MinMax()
    observer.see("t", np.empty((0, 3), np.float32))
    assert observer.ranges() == {}

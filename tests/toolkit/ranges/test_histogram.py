"""A histogram that grows is the histogram of everything at once, in whatever pieces and order the values came."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from toolkit.ranges._histogram import BINS, Histogram, exponent_for

ANY = st.floats(width=32, allow_nan=False, allow_infinity=False)
CHUNKS = st.lists(
    arrays.arrays(np.float32, st.integers(1, 40), elements=st.one_of(ANY, st.floats(-4, 4, width=32))),
    min_size=1,
    max_size=6,
)


def filled(chunks) -> Histogram:
    histogram = Histogram()
    for chunk in chunks:
        histogram.add(chunk, float(chunk.min()), float(chunk.max()))
    return histogram


def expected(values, exponent: int):
    """The same counts in exact integer arithmetic, a value at a time."""
    places = [math.floor(math.ldexp(float(value), -exponent)) for value in values]
    counts = np.zeros(max(places) - min(places) + 1, np.int64)
    np.add.at(counts, np.array(places) - min(places), 1)
    return min(places), counts


@given(chunks=CHUNKS, seed=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_it_is_that_of_the_whole_data_in_any_pieces_and_order(chunks, seed) -> None:
    whole = np.concatenate(chunks)
    seed.shuffle(chunks)
    histogram = filled(chunks)
    first, counts = histogram.tight()
    assert histogram.exponent == exponent_for(float(whole.min()), float(whole.max()))
    wanted_first, wanted = expected(whole, histogram.exponent)
    assert first == wanted_first
    np.testing.assert_array_equal(counts, wanted)


@given(low=ANY, high=ANY)
def test_bins_are_as_narrow_as_they_can_be(low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    exponent = exponent_for(low, high)
    extent = math.floor(math.ldexp(high, -exponent)) - math.floor(math.ldexp(low, -exponent)) + 1
    assert extent <= BINS
    finer = exponent - 1
    too_many = math.floor(math.ldexp(high, -finer)) - math.floor(math.ldexp(low, -finer)) >= BINS
    too_fine = finer < -126 or not (low or high) or math.ldexp(max(abs(low), abs(high)), -finer) >= 2**24
    assert too_many or too_fine


def test_a_range_that_doubles_again_and_again_loses_no_value() -> None:
    histogram = Histogram()
    for power in range(-60, 60):
        values = np.array([2.0**power, -(2.0**power)], np.float32)
        histogram.add(values, float(values.min()), float(values.max()))
    first, counts = histogram.tight()
    assert counts.sum() == 240 / 2 * 2
    assert math.ldexp(first, histogram.exponent) == -(2.0**59)


@pytest.mark.parametrize("value", [0.0, 1.0, -7.25, 3.4e38, -1e-45, 1e-45])
def test_one_value_alone_lies_in_one_bin(value: float) -> None:
    values = np.full(10, value, np.float32)
    assert filled([values]).tight()[1].tolist() == [10]


def test_what_lies_just_below_a_bin_edge_stays_below_it() -> None:
    below = np.nextafter(np.float32(0), np.float32(-1)) * np.float32(1e20)
    values = np.array([-3.0, below, 3.0], np.float32)
    histogram = filled([values])
    first, counts = histogram.tight()
    assert counts[-first - 1] == 1, "the bin that ends at zero"
    assert counts[-first] == 0


def test_more_values_than_fit_into_one_piece_are_all_counted() -> None:
    values = np.random.default_rng(3).normal(0, 1, 300_001).astype(np.float32)
    histogram = filled([values])
    first, counts = histogram.tight()
    edges = (first + np.arange(len(counts) + 1)) * 2.0**histogram.exponent
    np.testing.assert_array_equal(counts, np.histogram(values.astype(np.float64), edges)[0])

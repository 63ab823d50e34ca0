"""Each range method against the same done on all the data at once, by the plainest means there are."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from toolkit.core import discovery
from toolkit.ranges import entropy, minmax, moving_average, mse, percentile
from toolkit.ranges._survey import SMOOTHING, Survey
from toolkit.ranges.base import Grid, Seen

METHODS = tuple(discovery.load("toolkit.ranges", name) for name in discovery.names("toolkit.ranges"))
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
WIDE = arrays.arrays(np.float32, st.integers(1, 200), elements=st.one_of(FINITE, st.floats(-2, 2, width=32)))


def seen_of(*samples) -> Seen:
    survey = Survey()
    for sample in samples:
        survey.see("t", np.asarray(sample, np.float32))
    (seen,) = survey.seen()
    return seen


def draws(kind: str, count: int = 20_000):
    rng = np.random.default_rng(5)
    made = {
        "normal": rng.normal(0.3, 1, count),
        "relu": np.maximum(rng.normal(-0.5, 1, count), 0),
        "relu6": np.clip(rng.normal(3, 3, count), 0, 6),
        "heavy": rng.standard_t(2.5, count),
        "uniform": rng.uniform(-1, 3, count),
        "negative": -rng.gamma(2, 1, count),
        "outlier": np.append(rng.normal(0, 1, count - 1), 60.0),
    }
    return made[kind].astype(np.float32)


KINDS = ("normal", "relu", "relu6", "heavy", "uniform", "negative", "outlier")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__.rpartition(".")[2])
@given(samples=st.lists(WIDE, min_size=1, max_size=4), bits=st.sampled_from([8, 16]), symmetric=st.booleans())
@settings(max_examples=25, deadline=None)
def test_every_range_is_finite_and_within_what_was_seen(method, samples, bits: int, symmetric: bool) -> None:
    seen = seen_of(*samples)
    held = method.range_of(seen, Grid(bits=bits, symmetric=symmetric))
    assert seen.low <= held.low <= held.high <= seen.high
    assert 0 <= seen.clipped_share(held) <= 1


@given(samples=st.lists(WIDE, min_size=1, max_size=5))
def test_min_max_is_exact(samples) -> None:
    whole = np.concatenate(samples)
    held = minmax.range_of(seen_of(*samples), Grid())
    assert (held.low, held.high) == (whole.min(), whole.max())


@given(samples=st.lists(WIDE, min_size=1, max_size=8))
def test_the_moving_average_is_that_of_each_sample_s_extremes(samples) -> None:
    low, high = float(samples[0].min()), float(samples[0].max())
    for sample in samples[1:]:
        low = (1 - SMOOTHING) * low + SMOOTHING * float(sample.min())
        high = (1 - SMOOTHING) * high + SMOOTHING * float(sample.max())
    held = moving_average.range_of(seen_of(*samples), Grid())
    assert math.isclose(held.low, low, rel_tol=1e-9, abs_tol=1e-9 * max(1.0, abs(high)))
    assert math.isclose(held.high, high, rel_tol=1e-9, abs_tol=1e-9 * max(1.0, abs(low)))


@given(values=WIDE, share=st.floats(0.001, 0.999))
def test_a_quantile_lies_within_one_bin_of_the_data_s_own(values, share: float) -> None:
    seen = seen_of(values)
    inverse = np.quantile(values.astype(np.float64), share, method="inverted_cdf")
    upper = np.quantile(values.astype(np.float64), share, method="higher")
    found = percentile.quantile(seen, share)
    assert min(inverse, upper) - seen.width <= found <= max(inverse, upper) + seen.width


@pytest.mark.parametrize("kind", KINDS)
def test_the_percentile_range_is_numpy_s_within_one_bin(kind: str) -> None:
    values = np.concatenate([draws(kind, 300_000)])
    seen = seen_of(*np.array_split(values, 7))
    held = percentile.range_of(seen, Grid())
    ends = [1 - percentile.SHARE, percentile.SHARE]
    low, high = np.quantile(values.astype(np.float64), ends, method="inverted_cdf")
    assert abs(held.low - low) <= seen.width
    assert abs(held.high - high) <= seen.width


def squared_error(values, low: float, high: float, grid: Grid) -> float:
    """Round all the data to the grid, as a runtime does, and measure."""
    if grid.symmetric:
        step = max(-low, high) / (grid.steps / 2)
        codes = np.clip(np.round(values / step), -grid.steps / 2, grid.steps / 2)
        return float(np.mean((codes * step - values) ** 2))
    step = (high - low) / grid.steps
    zero = np.round(-low / step)
    codes = np.clip(np.round(values / step) + zero, 0, grid.steps)
    return float(np.mean(((codes - zero) * step - values) ** 2))


@pytest.mark.parametrize("grid", [Grid(bits=8), Grid(bits=8, symmetric=True)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_mse_range_loses_hardly_more_than_the_best_of_all_ranges(kind: str, grid: Grid) -> None:
    values = draws(kind).astype(np.float64)
    low, high = min(0.0, values.min()), max(0.0, values.max())
    fractions = np.concatenate([np.geomspace(0.02, 0.3, 12), np.linspace(0.35, 1, 20)])
    if grid.symmetric:
        bound = max(-low, high)
        best = min(squared_error(values, -bound * part, bound * part, grid) for part in fractions)
    else:
        pairs = itertools.product(low * fractions if low else [0.0], high * fractions if high else [0.0])
        best = min(squared_error(values, *pair, grid) for pair in pairs)
    held = mse.range_of(seen_of(*np.array_split(values, 5)), grid)
    error = squared_error(values, min(0.0, held.low), max(0.0, held.high), grid)
    assert error <= 1.03 * best
    assert error <= 1.001 * squared_error(values, low, high, grid)


def divergence(counts, first: int, bins: int, groups: int) -> float:
    """KL(P || Q) by the book, bin by bin."""
    begin, end = max(-bins, first) - first, min(bins, first + len(counts)) - first
    p = [float(count) for count in counts[begin:end]]
    p[0] += float(sum(counts[:begin]))
    p[-1] += float(sum(counts[end:]))
    size = end - begin
    q = [float(count) for count in counts[begin:end]]
    inner, between = size - 2, groups - 2
    for group in range(between if size > groups else 0):
        members = range(1 + group * inner // between, 1 + (group + 1) * inner // between)
        live = [place for place in members if counts[begin + place] > 0]
        for place in live:
            q[place] = float(sum(counts[begin + member] for member in members)) / len(live)
    if sum(q) <= 0:
        return math.inf
    total = 0.0
    for wanted, rounded in zip(p, q, strict=True):
        if wanted > 0:
            total += wanted / sum(p) * math.log(wanted / sum(p) / max(rounded / sum(q), 1e-7))
    return total


@pytest.mark.parametrize("kind", ["relu", "normal", "heavy"])
def test_a_divergence_is_the_one_by_the_book(kind: str) -> None:
    seen = seen_of(draws(kind))
    counts = seen.counts.copy()
    counts[-seen.first] -= seen.zeros
    divergences = entropy.Divergences(seen, Grid())
    for bins in np.linspace(divergences.least, divergences.most, 7).astype(int).tolist():
        assert math.isclose(
            divergences.at(bins), divergence(counts, seen.first, bins, 256), rel_tol=1e-6, abs_tol=1e-9
        ), bins


@pytest.mark.parametrize("kind", KINDS)
def test_the_entropy_range_diverges_hardly_more_than_the_best_of_all_thresholds(kind: str) -> None:
    seen = seen_of(*np.array_split(draws(kind), 5))
    divergences = entropy.Divergences(seen, Grid())
    held = entropy.range_of(seen, Grid())
    whole = held == minmax.range_of(seen, Grid())
    bins = divergences.most if whole else round(max(-held.low, held.high) / seen.width)
    every = [divergences.at(number) for number in range(divergences.least, divergences.most + 1, 3)]
    assert divergences.at(bins) <= min(every) * 1.1 + 1e-3, "a thousandth of a nat is nothing"


def test_entropy_tries_thresholds_and_cuts_an_outlier_off() -> None:
    values = draws("outlier", 50_000)
    held = entropy.range_of(seen_of(values), Grid())
    assert 3 < held.high < 30
    assert -5 < held.low < -3


def test_zeros_of_a_relu_do_not_narrow_the_range() -> None:
    """They lie on every grid: the same values with many more zeros deserve the same range."""
    values = np.abs(np.random.default_rng(1).normal(0, 1, 20_000))
    for method in (mse, entropy):
        few, many = (
            method.range_of(seen_of(np.append(values, np.zeros(count))), Grid()).high for count in (10, 500_000)
        )
        assert math.isclose(few, many, rel_tol=0.02), method.__name__


def test_more_bits_reach_further() -> None:
    seen = seen_of(draws("heavy"))
    four, eight, sixteen = (mse.range_of(seen, Grid(bits=bits)) for bits in (4, 8, 16))
    assert four.high < eight.high <= sixteen.high
    assert entropy.range_of(seen, Grid(bits=16)) == minmax.range_of(seen, Grid(bits=16))


def test_entropy_never_cuts_off_more_than_a_hundredth() -> None:
    """A few values that come again and again, as constant borders make them, would mislead the divergence alone."""
    rng = np.random.default_rng(2)
    spikes = rng.choice(rng.uniform(0, 6, 12), 50_000)
    seen = seen_of(np.append(spikes, rng.uniform(0, 6, 5_000)))
    for grid in (Grid(), Grid(symmetric=True)):
        assert seen.clipped_share(entropy.range_of(seen, grid)) <= entropy.MOST_CUT + 1e-3


def test_mse_leaves_a_relu6_whole() -> None:
    """Values at the end of a range that is not cut lose nothing: shaving it off would lose all of them a little."""
    values = np.clip(np.random.default_rng(0).normal(3, 3, 100_000), 0, 6)
    assert mse.range_of(seen_of(values), Grid()).high == 6.0

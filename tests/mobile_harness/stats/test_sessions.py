from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobile_harness import stats

LATENCIES = st.lists(st.integers(1, 10**9), min_size=1, max_size=300)


@given(LATENCIES, st.floats(0.01, 1.0))
@settings(deadline=None)
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values: list[int], share: float) -> None:
    found = stats.percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    below = [value for value in values if value < found]
    assert len(below) < share * len(values)


@given(LATENCIES)
@settings(deadline=None)
def test_percentiles_grow_with_their_share_and_end_at_the_maximum(values: list[int]) -> None:
    found = [stats.percentile(values, share) for share in (0.1, 0.5, 0.9, 0.99, 1.0)]
    assert found == sorted(found)
    assert found[-1] == max(values)


def test_percentiles_agree_with_numpy_without_interpolation() -> None:
    values = np.random.default_rng(1).integers(1, 10**6, 1000).tolist()
    for share in (0.5, 0.9, 0.95, 0.99):
        assert stats.percentile(values, share) == np.percentile(values, 100 * share, method="inverted_cdf")


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1], 0.0), ([1], 1.1)])
def test_a_percentile_of_nothing_is_an_error(values: list[int], share: float) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        stats.percentile(values, share)


@pytest.mark.parametrize(("share", "least"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368)])
def test_a_percentile_is_published_only_from_its_least_number_of_runs(share: float, least: int) -> None:
    assert stats.needed(share) == least
    assert share**least <= 0.025 < share ** (least - 1)
    assert stats.published(range(1, least), share) is None
    assert stats.published(range(1, least + 1), share) is not None


def test_the_interval_is_students_on_logarithms() -> None:
    found = stats.interval([1.0, 2.0, 4.0])
    assert found is not None
    reach = 4.302652729911275 * statistics.stdev([0.0, math.log(2), math.log(4)]) / math.sqrt(3)
    assert found.low == pytest.approx(2 * math.exp(-reach))
    assert found.high == pytest.approx(2 * math.exp(reach))
    assert stats.interval([5.0]) is None


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(2000):
        found = stats.interval(np.exp(rng.normal(0, 0.02, 5)).tolist())
        assert found is not None
        hits += found.low <= 1.0 <= found.high
    assert 0.935 <= hits / 2000 <= 0.965


@given(st.lists(st.floats(1, 1e9), min_size=2, max_size=10), st.floats(0.01, 100))
@settings(deadline=None)
def test_intervals_and_means_scale_with_their_values(values: list[float], factor: float) -> None:
    scaled = [value * factor for value in values]
    assert stats.geometric_mean(scaled) == pytest.approx(factor * stats.geometric_mean(values))
    mine, theirs = stats.interval(values), stats.interval(scaled)
    assert mine is not None
    assert theirs is not None
    assert theirs.low == pytest.approx(factor * mine.low, rel=1e-6)
    assert mine.low <= stats.geometric_mean(values) * (1 + 1e-9)
    assert mine.high >= stats.geometric_mean(values) * (1 - 1e-9)


def test_a_summary_takes_the_session_as_its_unit() -> None:
    fast, slow = [100] * 1000, [400] * 40
    found = stats.summarise([fast, slow])
    assert found.median_ns == pytest.approx(200)
    assert found.p90_ns == pytest.approx(200)
    assert found.p99_ns is None
    assert (found.sessions, found.runs, found.min_ns, found.spread) == (2, 1040, 100, 3.0)
    assert stats.summarise([fast]).interval is None
    assert stats.summarise([[0] * 6]).median_ns == 1.0
    with pytest.raises(ValueError, match="needs sessions"):
        stats.summarise([fast, []])


def test_no_median_is_published_where_a_session_has_fewer_than_six_runs() -> None:
    enough, few = [100] * 6, [100] * 5
    found = stats.summarise([enough, few, enough])
    assert (found.median_ns, found.interval, found.p90_ns, found.spread) == (None, None, None, 0.0)
    assert stats.summarise([enough, enough, enough]).median_ns == pytest.approx(100)


def noisy(level: float, count: int, seed: int) -> list[int]:
    return [int(value) for value in np.random.default_rng(seed).normal(level, 0.05 * level, count)]


def test_blocks_hold_twenty_runs_and_fifty_milliseconds() -> None:
    assert len(stats.block_medians([10_000_000] * 100)) == 5
    assert len(stats.block_medians([1_000_000] * 100)) == 2
    assert len(stats.block_medians([1_000] * 49_999)) == 0
    assert len(stats.block_medians([1_000_000] * 100_000)) == 200
    assert stats.block_medians([]) == ()


def test_a_change_of_level_is_found_where_it_is() -> None:
    series = noisy(1e6, 1000, 1) + noisy(1.05e6, 500, 2)
    found = stats.nonstationary(series)
    assert found is not None
    assert found.at == 20
    assert found.ratio == pytest.approx(1.05, abs=0.01)
    assert stats.nonstationary(list(reversed(series))) is not None


def test_noise_alone_is_no_change_of_level() -> None:
    assert [seed for seed in range(40) if stats.nonstationary(noisy(1e6, 2000, seed))] == []
    spiky = [5_000_000 if index % 97 == 0 else 1_000_000 for index in range(2000)]
    assert stats.nonstationary(spiky) is None
    assert stats.nonstationary([1_000_000] * 100) is None


@given(st.lists(st.integers(0, 10**12), max_size=400))
@settings(deadline=None)
def test_any_series_has_an_answer(series: list[int]) -> None:
    step = stats.nonstationary(series)
    assert step is None or step.ratio >= 0


def test_overlapping_levels_are_not_separated() -> None:
    alternating = [1.0, 1.1] * 10
    step = stats.largest_step(alternating)
    assert step is not None
    assert step.separation < 0.9
    assert stats.largest_step([1.0] * 5) is None
    assert stats.spread([2.0]) == 0.0
    with pytest.raises(ValueError, match="no share"):
        stats.needed(1.0)


@given(st.lists(st.floats(-1e150, 1e150), min_size=2, max_size=12))
@settings(max_examples=60, deadline=None)
def test_variance_and_deviation_are_the_standard_librarys_to_the_last_digit(values: list[float]) -> None:
    assert stats.variance(values) == statistics.variance(values)
    assert stats.standard_deviation(values) == statistics.stdev(values)

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from mobile_harness import stats

FIGURES = st.lists(st.floats(1e3, 1e9), min_size=2, max_size=12)


def test_the_test_is_welchs_on_logarithms() -> None:
    before, after = [100.0, 130.0, 90.0, 110.0, 105.0], [150.0, 160.0, 120.0]
    found = stats.ratio(before, after, 0.9)
    assert found is not None
    logs = np.log(before), np.log(after)
    expected = scipy_stats.ttest_ind(logs[1], logs[0], equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    reach = expected.confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((math.exp(reach.low), math.exp(reach.high)))
    assert found.rank_p == pytest.approx(scipy_stats.mannwhitneyu(before, after, method="exact").pvalue)


@given(FIGURES, FIGURES)
@settings(max_examples=60, deadline=None)
def test_a_ratio_reads_the_same_from_both_sides(before: list[float], after: list[float]) -> None:
    forth, back = stats.ratio(before, after), stats.ratio(after, before)
    assert forth is not None
    assert back is not None
    assert forth.low <= forth.value <= forth.high
    assert forth.value == pytest.approx(1 / back.value)
    assert forth.low == pytest.approx(1 / back.high)
    assert forth.p == pytest.approx(back.p, abs=1e-9)


def test_wild_figures_have_an_interval_without_an_end() -> None:
    found = stats.ratio([1.0, 9e18], [9e18, 1.0], 0.9999)
    assert found is not None
    assert found.low < 1e-300
    assert found.high > 1e300
    assert stats.detectable(30.0, 2, 2, 1e-9) > 1e300
    assert stats.sessions_needed(30.0, 0.05, 0.05) is None


@pytest.mark.parametrize(
    ("before", "after"), [([1.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 1.0]), ([-1.0, 1.0], [1.0, 2.0])]
)
def test_too_few_or_impossible_figures_have_no_ratio(before: list[float], after: list[float]) -> None:
    assert stats.ratio(before, after) is None


def test_the_interval_covers_the_true_ratio_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(800):
        found = stats.ratio(np.exp(rng.normal(0, 0.02, 3)).tolist(), np.exp(rng.normal(0.05, 0.04, 5)).tolist())
        assert found is not None
        hits += found.low <= math.exp(0.05) <= found.high
    assert 0.93 <= hits / 800 <= 0.99


@pytest.mark.parametrize("sessions", [5, 8])
def test_a_detectable_change_is_found_four_times_in_five(sessions: int) -> None:
    rng = np.random.default_rng(7)
    change = math.log1p(stats.detectable(0.02, sessions, sessions, 0.05))
    first = rng.normal(0, 0.02, (4000, sessions))
    second = rng.normal(change, 0.02, (4000, sessions))
    found = scipy_stats.ttest_ind(first, second, axis=1, equal_var=False).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.03)


def test_the_sessions_asked_for_are_just_enough() -> None:
    for spread in (0.01, 0.03, 0.1):
        needed = stats.sessions_needed(spread, 0.05, 0.05)
        assert needed is not None
        assert (
            stats.detectable(spread, needed, needed, 0.05)
            <= 0.05
            < stats.detectable(spread, needed - 1, needed - 1, 0.05)
        )
    assert stats.sessions_needed(2.0, 0.01, 0.05) is None
    assert stats.sessions_needed(0.02, 0.0, 0.05) is None


@given(st.dictionaries(st.integers(), st.floats(0, 1), min_size=1, max_size=30))
@settings(deadline=None)
def test_holm_lies_between_none_and_bonferroni_and_keeps_the_order(values: dict[int, float]) -> None:
    found = stats.holm(values)
    assert found.keys() == values.keys()
    for key, p in values.items():
        assert p <= found[key] <= min(1.0, p * len(values)) + 1e-12
    ordered = sorted(values, key=values.__getitem__)
    assert [found[key] for key in ordered] == sorted(found.values())


def test_holm_of_nothing_is_nothing() -> None:
    assert stats.holm({}) == {}


@pytest.mark.parametrize("values", [[], [1.0], [5.0] * 40, [1.0, 2.0, 3.0, 4.0, 5.0]])
def test_short_and_flat_series_have_no_change(values: list[float]) -> None:
    assert stats.change_points(values) == ()


def test_two_changes_are_found_where_they_are() -> None:
    rng = np.random.default_rng(2)
    levels = [10.0] * 20 + [11.0] * 15 + [9.5] * 25
    found = stats.change_points((np.array(levels) * np.exp(rng.normal(0, 0.01, 60))).tolist())
    assert [point.at for point in found] == [20, 35]
    assert [point.ratio for point in found] == pytest.approx([1.1, 9.5 / 11], abs=0.01)


def test_one_wild_run_is_no_change_of_level() -> None:
    values = [10.0, 10.1, 9.9, 10.05, 9.95, 10.0, 90.0, 10.1, 9.9, 10.0, 10.05, 9.95, 10.02]
    assert stats.change_points(values) == ()


def test_noise_seldom_shows_a_change() -> None:
    rng = np.random.default_rng(3)
    flagged = sum(bool(stats.change_points(np.exp(rng.normal(0, 0.03, 30)).tolist())) for _ in range(150))
    assert flagged <= 6


@pytest.mark.parametrize("figures", [st.integers(1, 9), st.floats(0, 1)])
def test_the_rank_test_is_scipys(figures: st.SearchStrategy[float]) -> None:
    sample = st.lists(figures.map(float), min_size=1, max_size=24)

    @given(sample, sample)
    @settings(max_examples=40, deadline=None)
    def hold(before: list[float], after: list[float]) -> None:
        together = {*before, *after}
        if len(together) == 1:
            assert stats.rank_p(before, after) == 1.0
            return
        tied = len(together) < len(before) + len(after)
        method = "asymptotic" if tied or max(len(before), len(after)) > 20 else "exact"
        assert stats.rank_p(before, after) == pytest.approx(
            scipy_stats.mannwhitneyu(before, after, method=method).pvalue
        )

    hold()

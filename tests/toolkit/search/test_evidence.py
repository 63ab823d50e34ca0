"""What paired outcomes prove: error rates of the sequential test, exactness of the certificate, needed samples."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.search import evidence
from toolkit.search.evidence import Claim

CLAIM = Claim(max_drop=0.02, confidence=0.95)


def drops(lost: int, won: int, n: int) -> np.ndarray:
    return np.r_[np.ones(lost), -np.ones(won), np.zeros(n - lost - won)]


def drawn(lost: float, won: float, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice([1.0, -1.0, 0.0], n, p=[lost, won, 1 - lost - won])


@pytest.mark.parametrize(
    ("lost", "won", "wrong"), [(0.02, 0.0, "within"), (0.05, 0.03, "within"), (0.02, 0.0, "beyond")]
)
def test_looking_again_and_again_errs_no_more_often_than_stated(lost: float, won: float, wrong: str) -> None:
    rng = np.random.default_rng(1)
    errors = 0
    for _ in range(100):
        seen = drawn(lost, won, 800, rng)
        for stop in range(32, 801, 32):
            decision = evidence.decide(seen[:stop], CLAIM)
            if decision != "open":
                errors += decision == wrong
                break
    assert errors <= 0.05 * 100 + 2 * math.sqrt(0.05 * 0.95 * 100)


def test_clear_cases_cost_few_samples() -> None:
    rng = np.random.default_rng(2)
    assert evidence.decide(drawn(0.4, 0.0, 64, rng), CLAIM) == "beyond"
    assert evidence.decide(np.zeros(400), CLAIM) == "within"
    assert evidence.decide(np.zeros(0), CLAIM) == "open"


@functools.cache
def _region(n: int, claim: Claim) -> frozenset[tuple[int, int]]:
    """Return all numbers of lost and won samples that give a certificate."""
    outcomes = [(losses, wins) for losses in range(n + 1) for wins in range(n + 1 - losses)]
    return frozenset(one for one in outcomes if evidence.holds(drops(*one, n), claim))


def _size(lost: float, won: float, n: int, claim: Claim) -> float:
    """Return how often a certificate is given where the drop is just beyond the budget, summed over all outcomes."""
    from scipy.stats import multinomial

    rates = [lost, won, 1 - lost - won]
    return sum(multinomial.pmf([*one, n - sum(one)], n, rates) for one in _region(n, claim))


@pytest.mark.parametrize(("lost", "won"), [(0.1, 0.0), (0.13, 0.03), (0.2, 0.1), (0.25, 0.1)])
def test_certificates_are_exact_and_hardest_to_get_at_the_budget(lost: float, won: float) -> None:
    claim = Claim(max_drop=0.1, confidence=0.9)
    assert 0.001 < _size(lost, won, 24, claim) <= 0.1


def test_bounds_agree_with_the_verdict_and_with_known_cases() -> None:
    shown = evidence.certify(drops(0, 0, 400), Claim(max_drop=0.01, confidence=0.95))
    assert shown.holds
    assert shown.method == evidence.EXACT
    assert shown.high == pytest.approx(1 - 0.05 ** (1 / 400), rel=0.02)  # no loss: the rule of three, made exact
    assert shown.low == pytest.approx(-shown.high)
    few = evidence.certify(drops(3, 1, 400), Claim(max_drop=0.01, confidence=0.95))
    assert not few.holds
    assert few.low < few.drop < few.high
    assert evidence.exact_upper(5, 2, 300, 0.95) < evidence.exact_upper(6, 2, 300, 0.95)
    assert evidence.exact_upper(5, 3, 300, 0.95) < evidence.exact_upper(5, 2, 300, 0.95)
    assert evidence.exact_upper(5, 2, 300, 0.95) < evidence.exact_upper(5, 2, 300, 0.99)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 6), st.integers(0, 6), st.integers(40, 200), st.sampled_from([0.02, 0.05]))
def test_the_quick_verdict_is_that_of_the_bound(lost: int, won: int, n: int, budget: float) -> None:
    claim = Claim(max_drop=budget, confidence=0.95)
    seen = drops(lost, won, n)
    shown = evidence.certify(seen, claim)
    if abs(shown.high - budget) > 1e-5:
        assert evidence.holds(seen, claim) == shown.holds


def test_metrics_of_other_scales_are_certified_by_betting() -> None:
    rng = np.random.default_rng(3)
    seen = rng.normal(0.0, 0.02, 800).clip(-2, 2)
    claim = Claim(max_drop=0.2, confidence=0.95, reach=4.0, binary=False)
    shown = evidence.certify(seen, claim)
    assert shown.method == evidence.BETTING
    assert shown.low < seen.mean() < shown.high < 0.2
    assert evidence.holds(seen, claim)


def test_the_test_is_settled_by_the_metric_and_not_by_the_drops_that_certify() -> None:
    """Shares between 0 and 1 span what hits do; drops that happen to be whole certify no more for it."""
    shares, hits = (Claim(max_drop=0.02, confidence=0.95, binary=binary) for binary in (False, True))
    assert evidence.certify(drops(1, 0, 600), shares).method == evidence.BETTING
    assert evidence.certify(drops(1, 0, 600), hits).method == evidence.EXACT
    least = evidence.least_samples(shares)
    assert least is not None
    assert least > (evidence.least_samples(hits) or 0)
    assert evidence.certify(np.zeros(least), shares).holds
    assert not evidence.certify(np.zeros(least - 1), shares).holds
    with pytest.raises(ValueError, match="neither"):
        evidence.holds(np.array([0.0, 0.5]), hits)


def test_says_how_many_samples_it_takes() -> None:
    claim = Claim(max_drop=0.01, confidence=0.95)
    least = evidence.least_samples(claim)
    assert least == 301
    assert evidence.holds(np.zeros(least), claim)
    assert not evidence.holds(np.zeros(least - 1), claim)
    usual = evidence.usual_samples(claim, 0.01, 0.0075)
    assert usual is not None
    assert 2000 < usual < 3500
    assert evidence.usual_samples(claim, 0.02, 0.0) is None  # no number shows what is not so
    assert evidence.least_samples(Claim(max_drop=0.0, confidence=0.95)) is None


def test_few_samples_promise_little() -> None:
    assert evidence.likely_bound(np.zeros(20), CLAIM, 500) > evidence.likely_bound(np.zeros(400), CLAIM, 500)
    assert evidence.likely_bound(drops(20, 0, 400), CLAIM, 500) > CLAIM.max_drop

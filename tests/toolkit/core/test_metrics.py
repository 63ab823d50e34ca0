from __future__ import annotations

import math

import numpy as np
import pytest

from toolkit.core import metrics
from toolkit.core.artifacts import TensorError
from toolkit.core.metrics import Budget, ErrorMeter

BUDGET = Budget(max_drop=0.01, confidence=0.95)


def measured(reference, values, piece=3):
    meter = ErrorMeter(output="y")
    for start in range(0, len(reference), piece):
        meter.add(reference[start : start + piece], values[start : start + piece])
    return meter


def test_errors_in_pieces_are_those_of_the_whole(rng):
    reference = rng.normal(0, 1, (10, 4, 2)).astype(np.float32)
    values = reference + rng.normal(0, 0.01, reference.shape).astype(np.float32)
    error = measured(reference, values).result()
    noise = reference.astype(np.float64) - values
    assert error.sqnr_db == pytest.approx(10 * np.log10((reference.astype(np.float64) ** 2).sum() / (noise**2).sum()))
    assert error.max_abs == pytest.approx(np.abs(noise).max())
    cosine = np.vdot(reference, values) / np.linalg.norm(reference) / np.linalg.norm(values)
    assert error.cosine == pytest.approx(cosine, rel=1e-5)


def test_equal_outputs_are_infinitely_good():
    ones = np.ones((3, 2), np.float32)
    assert measured(ones, ones).result() == TensorError(output="y", sqnr_db=math.inf, cosine=1.0, max_abs=0.0)


def test_silent_outputs_have_figures():
    zeros, ones = np.zeros((3, 2)), np.ones((3, 2))
    assert measured(zeros, zeros).result() == TensorError(output="y", sqnr_db=math.inf, cosine=1.0, max_abs=0.0)
    assert measured(zeros, ones).result() == TensorError(output="y", sqnr_db=-math.inf, cosine=0.0, max_abs=1.0)
    assert measured(ones, zeros).result() == TensorError(output="y", sqnr_db=0.0, cosine=0.0, max_abs=1.0)


def test_not_finite_samples_are_counted_and_the_first_is_named():
    ones = np.ones((7, 2))
    values = ones.copy()
    values[4, 1], values[6, 0] = np.nan, np.inf
    meter = measured(ones, values)
    assert (meter.broken, meter.first_broken, meter.samples) == (2, 4, 7)
    assert meter.result() == TensorError(output="y", sqnr_db=-math.inf, cosine=0.0, max_abs=math.inf)


def test_top_1_is_argmax_with_ties(rng):
    scores = rng.integers(0, 3, (200, 4)).astype(np.float32)
    labels = rng.integers(0, 4, 200)
    expected = (scores.argmax(axis=1) == labels).astype(float)
    assert np.array_equal(metrics.top_k_hits(scores, labels, 1), expected)


def test_top_k_counts_the_k_highest():
    scores = np.array([[0.1, 0.4, 0.3, 0.2]] * 4)
    assert metrics.top_k_hits(scores, np.arange(4), 2).tolist() == [0, 1, 1, 0]


def test_one_score_is_a_probability():
    scores = np.array([[0.5], [0.49], [0.9], [0.1]])
    assert metrics.top_k_hits(scores, np.array([1, 0, 0, 1]), 1).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(("p_lost", "p_won"), [(0.02, 0.02), (0.05, 0.01), (0.002, 0.002), (0.1, 0.1), (0.0, 0.01)])
@pytest.mark.parametrize("n", [20, 100, 500])
def test_paired_proportions_cover_the_true_drop(p_lost, p_won, n):
    """Simulated coverage of the nominal 95 %, over 4,000 data sets each."""
    rng = np.random.default_rng(1)
    counts = rng.multinomial(n, [p_lost, p_won, 1 - p_lost - p_won], 4000)
    covered = 0
    for lost, won, _ in counts:
        low, high = metrics.paired_proportions(int(lost), int(won), n, 0.95)
        covered += low <= p_lost - p_won <= high
    assert covered / len(counts) >= 0.93


def test_paired_proportions_are_not_needlessly_wide():
    low, high = metrics.paired_proportions(20, 20, 1000, 0.95)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.04 / 1000), rel=0.05)


def test_bootstrap_agrees_with_scipy():
    """Against `scipy.stats.bootstrap` (BCa) on skewed drops, within the noise of resampling."""
    from scipy import stats

    drops = np.random.default_rng(3).exponential(0.1, 60) - 0.02
    low, high = metrics.paired_bootstrap(drops, 0.9, seed=0)
    theirs = stats.bootstrap((drops,), np.mean, confidence_level=0.9, method="BCa", rng=0).confidence_interval
    assert low == pytest.approx(theirs.low, abs=0.002)
    assert high == pytest.approx(theirs.high, abs=0.002)
    assert (low, high) == metrics.paired_bootstrap(drops, 0.9, seed=0)


def test_bootstrap_without_spread_or_without_samples():
    assert metrics.paired_bootstrap(np.full(20, 0.25), 0.95, 0) == (-math.inf, math.inf)
    unseen = 1 - 0.025 ** (1 / 20)  # the share of which none of 20 is seen in one of 40 cases
    assert metrics.paired_bootstrap(np.full(20, 0.25), 0.95, 0, 0.5) == pytest.approx(
        (0.25 - unseen / 2, 0.25 + unseen / 2)
    )
    assert metrics.paired_bootstrap(np.array([0.1, 0.2]), 0.95, 0) == (-math.inf, math.inf)


def test_bootstrap_survives_one_extreme_sample():
    drops = np.zeros(50)
    drops[0] = 1e6
    low, high = metrics.paired_bootstrap(drops, 0.999, 0, 1e6)
    assert -2e5 < low < 0 < 2e4 < high < 3e5
    assert metrics.paired_bootstrap(drops, 0.999, 0) == (-math.inf, math.inf)


@pytest.mark.parametrize(("share", "n"), [(0.005, 60), (0.02, 100), (0.04, 60)])
def test_bootstrap_covers_drops_that_are_seldom(share, n):
    """Simulated coverage of the nominal 95 % where most samples are equal and few lose much."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(100):
        drops = np.where(rng.random(n) < share, rng.uniform(0, 1, n), 0.0)
        low, high = metrics.paired_bootstrap(drops, 0.95, 0, 1.0)
        covered += low <= share / 2 <= high
    assert covered / 100 >= 0.93


def test_the_share_that_may_differ_is_that_of_clopper_and_pearson():
    from scipy import stats

    for seen, n in [(0, 10), (1, 50), (4, 1000)]:
        theirs = stats.binomtest(seen, n).proportion_ci(0.95, method="exact").high
        assert metrics._share_at_most(seen, n, 0.025) == pytest.approx(theirs, rel=1e-9)


def test_equal_scores_alone_are_no_proof():
    same = np.linspace(0.2, 0.9, 40)
    score = metrics.score("m:f", same, same, BUDGET)
    assert (score.verdict, score.drop) == ("undecided", 0)
    enough = np.linspace(0.2, 0.9, 40 + score.more_samples)
    assert metrics.score("m:f", enough, enough, BUDGET).verdict == "pass"
    fewer = np.delete(enough, 5)
    assert metrics.score("m:f", fewer, fewer, BUDGET).verdict == "undecided"
    flat = metrics.score("m:f", np.full(500, 0.5), np.full(500, 0.5), BUDGET)
    assert (flat.verdict, flat.ci_high, flat.more_samples) == ("undecided", math.inf, None)


def hits(n, lost, won):
    float_values, values = np.ones(n), np.ones(n)
    values[:lost] = 0
    float_values[n - won :] = 0
    return float_values, values


def test_undecided_says_how_many_more_samples_decide():
    score = metrics.score("top1", *hits(96, 0, 0), BUDGET)
    assert (score.verdict, score.drop, score.n) == ("undecided", 0, 96)
    assert score.more_samples is not None
    enough = 96 + score.more_samples
    assert metrics.score("top1", *hits(enough, 0, 0), BUDGET).verdict == "pass"
    assert metrics.score("top1", *hits(enough - 1, 0, 0), BUDGET).verdict == "undecided"


def test_a_large_drop_fails_and_a_gain_passes():
    assert metrics.score("top1", *hits(300, 60, 2), BUDGET).verdict == "fail"
    assert metrics.score("top1", *hits(300, 2, 60), BUDGET).verdict == "pass"


def test_a_drop_at_the_budget_is_never_decided():
    score = metrics.score("top1", *hits(100, 1, 0), BUDGET)
    assert (score.verdict, score.more_samples) == ("undecided", None)


def test_one_sample_is_undecided_in_every_metric():
    assert metrics.score("top1", np.ones(1), np.ones(1), BUDGET).verdict == "undecided"
    score = metrics.score("m:f", np.array([0.5]), np.array([0.4]), BUDGET)
    assert (score.verdict, score.ci_low, score.ci_high, score.more_samples) == ("undecided", -math.inf, math.inf, None)


def test_other_metrics_take_the_bootstrap_and_estimate_more(rng):
    float_values = rng.normal(0.7, 0.1, 50)
    drops = rng.normal(0, 0.05, 50)
    score = metrics.score("m:f", float_values, float_values - drops, BUDGET)
    assert score.method == "paired bootstrap (BCa)"
    assert score.verdict == "undecided"
    needed = (1.959964 * drops.std(ddof=1) / (0.01 - drops.mean())) ** 2
    assert score.more_samples == max(1, math.ceil(needed) - 50)


def test_errors_alone_pass_only_far_above_the_noise():
    def verdict(sqnr_db, samples=10):
        return metrics.judge_errors((TensorError(output="y", sqnr_db=sqnr_db, cosine=1, max_abs=0),), samples)[0]

    assert [verdict(db) for db in (math.inf, 40.0, 39.9, 10.0, 9.9, -math.inf)] == [
        "pass",
        "pass",
        "undecided",
        "undecided",
        "fail",
        "fail",
    ]
    assert verdict(90.0, samples=1) == "undecided"
    assert verdict(math.inf, samples=1) == "undecided"


def test_the_worst_output_decides():
    errors = (
        TensorError(output="good", sqnr_db=60, cosine=1, max_abs=0),
        TensorError(output="bad", sqnr_db=3, cosine=1, max_abs=0),
    )
    verdict, reason = metrics.judge_errors(errors, 10)
    assert verdict == "fail"
    assert "'bad'" in reason

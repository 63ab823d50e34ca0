"""Accuracy of one build in two runs: a paired test where both were scored on the same labelled samples.

For samples that are right or wrong it is McNemar's exact test (Psychometrika 12 (1947), 153-157) with the interval of
Bonett and Price; for other metrics a sign-flip permutation test of the mean difference with a bootstrap interval.
Without the outcome of each sample the two scores are held against each other as if they were independent, which is too
wide where both were taken on the same samples; that never fails a gate.
"""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mobile_harness.comparer.values import Change, Criteria
from toolkit.core import metrics
from toolkit.core.artifacts import Score
from toolkit.core.manifest import BuildEntry, Manifest

FLIPS = 9999
_FRACTIONS = frozenset({"top1", "top5", "accuracy"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A build with the ``build.json`` that it stands in."""

    manifest: Manifest
    build: BuildEntry


def compare(before: Side, after: Side, criteria: Criteria) -> Change | None:
    """Compare the scores of a build; None where neither side has one. It is not judged yet."""
    first, second = before.build.score, after.build.score
    if first is None or second is None:
        return None if first is second else _apart(first, second, "Only one of the runs has scored it.")
    if first.metric != second.metric:
        return _apart(first, second, f"Scored by {first.metric!r} before and {second.metric!r} after.")
    data = [side.manifest.verification.sha256 if side.manifest.verification else "" for side in (before, after)]
    if data[0] != data[1] or not data[0] or first.n != second.n:
        return _apart(first, second, "Scored on other samples than before.")
    if before.build.sha256 == after.build.sha256 and first.value == second.value:
        return dataclasses.replace(
            _apart(first, second, "The same file."), effect=0.0, low=0.0, high=0.0, method="exact"
        )
    outcomes = [metrics.outcomes_of(score) for score in (first, second)]
    if outcomes[0] is None or outcomes[1] is None:
        return _unpaired(first, second, criteria)
    return _paired((first, second), (outcomes[0], outcomes[1]), criteria)


def _apart(first: Score | None, second: Score | None, reason: str) -> Change:
    metric = (second or first or _none()).metric
    return Change(
        metric="accuracy",
        unit="share" if metric in _FRACTIONS else "",
        before=None if first is None else first.value,
        after=None if second is None else second.value,
        effect=None,
        low=None,
        high=None,
        method="none",
        verdict="inconclusive",
        reason=reason,
        margin=(second or first or _none()).max_drop,
    )


def _none() -> Score:
    raise AssertionError("one side has a score")


def _mcnemar_p(lost: int, won: int) -> float:
    from scipy import stats as scipy_stats  # takes a second to import, and only scored builds need it

    return float(scipy_stats.binomtest(lost, lost + won, 0.5).pvalue) if lost + won else 1.0


def _paired(
    scores: tuple[Score, Score], outcomes: tuple[NDArray[np.float64], NDArray[np.float64]], criteria: Criteria
) -> Change:
    drops = outcomes[0] - outcomes[1]
    if np.isin(outcomes[0], (0, 1)).all() and np.isin(outcomes[1], (0, 1)).all():
        lost, won = int((drops > 0).sum()), int((drops < 0).sum())
        p = _mcnemar_p(lost, won)
        low, high = metrics.paired_proportions(lost, won, len(drops), criteria.confidence)
        words = f"Of {len(drops)} samples {lost} were lost and {won} won (McNemar's exact test)."
    else:
        p = sign_flip_p(drops)
        reach = float(np.ptp(np.concatenate(outcomes))) or math.inf
        low, high = metrics.paired_bootstrap(drops, criteria.confidence, 0, reach)
        words = f"Paired on {len(drops)} samples (sign-flip permutation test)."
    return dataclasses.replace(
        _apart(*scores, words), effect=-float(drops.mean()), low=-high, high=-low, method="paired", p=p
    )


def sign_flip_p(drops: NDArray[np.float64], seed: int = 0) -> float:
    """Return the two-sided p value of a mean difference of 0: how often random signs give one as large.

    Args:
        drops: [n], one difference a sample.
        seed: of the signs.
    """
    moved = drops[drops != 0]
    if not len(moved):
        return 1.0
    rng = np.random.default_rng(seed)
    seen, as_large, left = abs(float(moved.sum())), 0, FLIPS
    while left:
        rows = min(left, max(1, (1 << 22) // len(moved)))
        signs = rng.integers(0, 2, (rows, len(moved)), np.int8) * 2 - 1
        as_large += int((np.abs(signs @ moved) >= seen * (1 - 1e-12)).sum())
        left -= rows
    return (as_large + 1) / (FLIPS + 1)


def _unpaired(first: Score, second: Score, criteria: Criteria) -> Change:
    """Hold two drops from the same float model against each other by the widths of their own intervals."""
    errors = [(score.ci_high - score.ci_low) / 2 / _z(score.confidence) for score in (first, second)]
    effect = second.value - first.value
    reach = _z(criteria.confidence) * math.hypot(*errors)
    words = "Unpaired: the runs do not hold each sample's outcome, so the interval is wider than it need be."
    bounded = math.isfinite(reach)
    return dataclasses.replace(
        _apart(first, second, words),
        effect=effect,
        low=effect - reach if bounded else None,
        high=effect + reach if bounded else None,
        method="unpaired",
    )


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)

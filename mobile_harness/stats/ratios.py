"""How two measurements of a cell differ: the ratio of their session figures, with an interval and a test.

The method is Welch's t on the logarithms of the session figures (Welch, Biometrika 34 (1947), 28-35): a ratio of
geometric means, its interval, and the two-sided p value that it is 1. On sessions, and only on sessions, it keeps its
coverage with as few as three a side; pooled iterations, which share a process, do not. The Mann-Whitney test
stands beside it as a check that needs no shape of the distribution.

Sessions of a quiet device may agree to the nanosecond by chance or by a coarse clock. The spread is therefore never
taken to be less than :data:`SPREAD_FLOOR`: no phone repeats itself closer from one fresh process to the next.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from scipy import special

from mobile_harness.stats.ranks import rank_p
from mobile_harness.stats.sessions import standard_deviation, variance

Key = TypeVar("Key")

SPREAD_FLOOR = 0.005
"""Least standard deviation between sessions, of the logarithm; a convention of ours."""
POWER = 0.8
"""How often a change of the named size is found: what "can be found" means."""
SESSIONS_MAX = 1000
"""More sessions than this are never asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Later over earlier: ``value`` with the interval ``[low, high]`` at ``confidence``.

    ``p`` is of the null hypothesis that the true ratio is 1. ``rank_p`` is the two-sided Mann-Whitney p value;
    with few sessions it has a floor, such as 0.1 for three a side. ``deviation`` is the pooled standard deviation of
    the logarithms between sessions, after the floor.
    """

    value: float
    low: float
    high: float
    confidence: float
    p: float
    rank_p: float
    deviation: float
    before: int
    after: int


def ratio(before: Sequence[float], after: Sequence[float], confidence: float = 0.95) -> Ratio | None:
    """Compare session figures; None when a side has fewer than two sessions, or a figure is not above 0.

    Args:
        before: one positive figure a session, any unit.
        after: the same of the later measurement.
        confidence: of the interval.

    >>> found = ratio([100.0, 101.0, 99.0, 100.0], [110.0, 109.0, 111.0, 110.0])
    >>> round(found.value, 3), found.low > 1.08, found.p < 0.001
    (1.1, True, True)
    """
    if min(len(before), len(after)) < 2 or min(*before, *after) <= 0:
        return None
    first, second = [math.log(value) for value in before], [math.log(value) for value in after]
    change = statistics.fmean(second) - statistics.fmean(first)
    spreads = variance(first), variance(second)
    parts = [max(spread, SPREAD_FLOOR**2) / len(logs) for spread, logs in zip(spreads, (first, second), strict=True)]
    error = math.sqrt(sum(parts))
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(logs) - 1) for part, logs in zip(parts, (first, second), strict=True)
    )
    reach = float(special.stdtrit(freedom, 0.5 + confidence / 2)) * error
    return Ratio(
        value=math.exp(change),
        low=_exp(change - reach),
        high=_exp(change + reach),
        confidence=confidence,
        p=float(2 * special.stdtr(freedom, -abs(change) / error)),
        rank_p=rank_p(before, after),
        deviation=_pooled(spreads, (len(first), len(second))),
        before=len(first),
        after=len(second),
    )


def _exp(value: float) -> float:
    """Return the exponential, at most about 1e304: two wild sessions have an interval without an end."""
    return math.exp(min(value, 700.0))


def _pooled(spreads: tuple[float, float], counts: tuple[int, int]) -> float:
    squares = spreads[0] * (counts[0] - 1) + spreads[1] * (counts[1] - 1)
    return max(math.sqrt(squares / (sum(counts) - 2)), SPREAD_FLOOR)


def deviation(values: Sequence[float]) -> float | None:
    """Return the standard deviation between sessions, of the logarithm and at least the floor; None for fewer than two.

    For small figures it reads as a share: 0.02 is 2 %.
    """
    if len(values) < 2 or min(values) <= 0:
        return None
    return max(standard_deviation([math.log(value) for value in values]), SPREAD_FLOOR)


def detectable(spread: float, before: int, after: int, alpha: float) -> float:
    """Return the least relative slow-down that is found with probability :data:`POWER`: 0.05 for 5 %.

    ``exp((t(1 - alpha/2) + t(power)) * spread * sqrt(1/before + 1/after)) - 1`` with ``before + after - 2`` degrees of
    freedom, the usual approximation of the t test's power.

    Args:
        spread: standard deviation between sessions, of the logarithm.
        before: sessions of the earlier measurement, at least 2.
        after: of the later one.
        alpha: the level that one test is held to, after any correction for their number.

    >>> round(detectable(0.02, 8, 8, 0.05), 3)
    0.031
    """
    freedom = before + after - 2
    reach = float(special.stdtrit(freedom, 1 - alpha / 2) + special.stdtrit(freedom, POWER))
    return _exp(reach * spread * math.sqrt(1 / before + 1 / after)) - 1


def sessions_needed(spread: float, size: float, alpha: float) -> int | None:
    """Return how many sessions a side find a change of ``size`` (0.05: 5 %); None for more than a thousand.

    >>> sessions_needed(0.02, 0.05, 0.05), sessions_needed(0.04, 0.05, 0.05)
    (4, 12)
    """
    if size <= 0 or detectable(spread, SESSIONS_MAX, SESSIONS_MAX, alpha) > size:
        return None
    low, high = 1, SESSIONS_MAX
    while high - low > 1:
        middle = (low + high) // 2
        enough = detectable(spread, middle, middle, alpha) <= size
        low, high = (low, middle) if enough else (middle, high)
    return high


def holm(values: Mapping[Key, float]) -> dict[Key, float]:
    """Return p values adjusted for their number: the chance of any false alarm among them stays below the level.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979), 65-70.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    adjusted: dict[Key, float] = {}
    largest = 0.0
    for rank, (key, value) in enumerate(sorted(values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, value * (len(values) - rank)))
        adjusted[key] = largest
    return adjusted

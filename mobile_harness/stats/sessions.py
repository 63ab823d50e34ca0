"""Latency statistics: the session is the unit, percentiles are nearest-rank and published only where they are known.

Pure. Runs within one process share its memory layout, its clock state and its neighbours, so pooling them pretends to
know more than was measured: a session counts once, by its own percentile, and the interval is over sessions.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

Series = Sequence[int]
"""Latencies of one session in nanoseconds, in order."""

_TAIL = 0.025
"""Half of what a 95 % interval leaves out."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """Latencies of one session in nanoseconds from the least on: sorted once, however many percentiles are taken."""

    values: Series

    def percentile(self, share: float) -> int:
        """Return the nearest-rank percentile; see :func:`percentile`."""
        if not self.values or not 0 < share <= 1:
            raise ValueError(f"no percentile {share} of {len(self.values)} values")
        rank = math.ceil(share * len(self.values) - 1e-9)
        return self.values[max(rank, 1) - 1]

    def published(self, share: float) -> int | None:
        """Return the percentile, or None where the values are too few to publish it."""
        return self.percentile(share) if len(self.values) >= needed(share) else None


def ordered(values: Series) -> Ordered:
    """Return the latencies of a session in order."""
    return Ordered(sorted(values))


def percentile(values: Series, share: float) -> int:
    """Return the nearest-rank percentile: the smallest value that at least ``share`` of all do not exceed.

    Raises:
        ValueError: there are no values, or the share is not above 0 and at most 1.

    >>> percentile([15, 20, 35, 40, 50], 0.4)
    20
    """
    return ordered(values).percentile(share)


@functools.cache
def needed(share: float) -> int:
    """Return the fewest values from which a percentile is published.

    Its 95 % order-statistic interval needs an upper end: the largest value must lie above the true percentile with
    probability 1 - 0.025 at least, so ``share ** n <= 0.025``.

    >>> [needed(share) for share in (0.5, 0.9, 0.95, 0.99)]
    [6, 36, 72, 368]
    """
    if not 0 < share < 1:
        raise ValueError(f"no share {share}")
    return math.ceil(math.log(_TAIL) / math.log(share))


def published(values: Series, share: float) -> int | None:
    """Return the percentile, or None where the values are too few to publish it."""
    return ordered(values).published(share)


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive values: the centre that a ratio of two of them is fair to."""
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def variance(values: Sequence[float]) -> float:
    """Return the variance of a sample of two or more finite values, exactly rounded."""
    above, below = _variance(values)
    return above / below


def standard_deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of a sample of two or more finite values, exactly rounded."""
    above, below = _variance(values)
    if not above:
        return 0.0
    shift = max((below.bit_length() - above.bit_length()) // 2 + 60, 0)
    root = math.isqrt((above << 2 * shift) // below) | 1  # odd, for all the digits that are cut off
    return root / (1 << shift)


def _variance(values: Sequence[float]) -> tuple[int, int]:
    """Return the exact variance as a fraction.

    The standard library's, as exact, takes ten times as long, which a thousand cells notice: here all values become
    whole multiples of one power of two, so that nothing but integers is added up.
    """
    ratios = [value.as_integer_ratio() for value in values]
    unit = max(divisor for _, divisor in ratios)
    wholes = [number * (unit // divisor) for number, divisor in ratios]
    count = len(wholes)
    above = count * sum(whole * whole for whole in wholes) - sum(wholes) ** 2
    return above, count * (count - 1) * unit * unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A closed interval at a confidence."""

    low: float
    high: float
    confidence: float


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Return Student's t interval of the geometric mean, computed on logarithms; None for fewer than two values.

    With few sessions the t interval on logs keeps its coverage, where a bootstrap over three values does not.
    """
    if len(values) < 2:
        return None
    logs = [math.log(value) for value in values]
    centre = math.fsum(logs) / len(logs)
    error = standard_deviation(logs) / math.sqrt(len(logs))
    reach = _t_quantile(0.5 + confidence / 2, len(logs) - 1) * error
    return Interval(low=math.exp(centre - reach), high=math.exp(centre + reach), confidence=confidence)


@functools.cache
def _t_quantile(share: float, freedom: int) -> float:
    """Return a quantile of Student's t; the same few serve all cells of a run."""
    return float(special.stdtrit(freedom, share))


def spread(values: Sequence[float]) -> float:
    """Return how far the largest lies above the smallest, as a share of the smallest; 0 for one value."""
    return max(values) / min(values) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A cell's latency in nanoseconds: geometric means over sessions of each session's own percentile.

    ``median_ns``, ``p90_ns`` and ``p99_ns`` are None unless every session has enough runs to publish its own: 6, 36 and
    368. ``interval`` is of the median, None without one and for a single session. ``spread`` is of the sessions' middle
    values whether or not they are published, for doubts. ``mean_ns`` is the average of tools that keep no series, None
    where there is one.
    """

    sessions: int
    runs: int
    median_ns: float | None
    interval: Interval | None
    p90_ns: float | None
    p99_ns: float | None
    min_ns: int
    spread: float
    mean_ns: float | None = None


def summarise(sessions: Sequence[Series]) -> Summary:
    """Summarise the sessions of a cell.

    Raises:
        ValueError: there is no session, or one is empty.
    """
    return summarise_ordered([ordered(series) for series in sessions])


def summarise_ordered(sessions: Sequence[Ordered]) -> Summary:
    """Summarise the sessions of a cell whose runs are in order already.

    Raises:
        ValueError: there is no session, or one is empty.
    """
    if not sessions or not all(runs.values for runs in sessions):
        raise ValueError("a summary needs sessions, and each needs runs")
    medians = [float(max(runs.percentile(0.5), 1)) for runs in sessions]
    median_ns = _over_sessions(sessions, 0.5)
    return Summary(
        sessions=len(sessions),
        runs=sum(len(runs.values) for runs in sessions),
        median_ns=median_ns,
        interval=None if median_ns is None else interval(medians),
        p90_ns=_over_sessions(sessions, 0.9),
        p99_ns=_over_sessions(sessions, 0.99),
        min_ns=min(runs.values[0] for runs in sessions),
        spread=spread(medians),
    )


def _over_sessions(sessions: Sequence[Ordered], share: float) -> float | None:
    values = [runs.published(share) for runs in sessions]
    known = [float(max(value, 1)) for value in values if value is not None]
    return geometric_mean(known) if len(known) == len(values) else None


BLOCK_RUNS = 20
BLOCK_NS = 50_000_000
BLOCKS_MAX = 200


def block_medians(values: Series) -> tuple[float, ...]:
    """Return medians of consecutive blocks of at least 20 runs and 50 ms, at most 200; a short rest is left out."""
    if not values:
        return ()
    typical = max(statistics.median(values), 1)
    size = max(BLOCK_RUNS, math.ceil(BLOCK_NS / typical), math.ceil(len(values) / BLOCKS_MAX))
    return tuple(statistics.median(values[start : start + size]) for start in range(0, len(values) - size + 1, size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The best split of a series of block medians into two levels; ``ratio`` is the later over the earlier."""

    at: int
    ratio: float
    separation: float


LEVEL_BLOCKS_MIN = 3


def largest_step(medians: Sequence[float]) -> Step | None:
    """Find where the series changes level most, or None for fewer than six blocks.

    The split is the one with the least sum of absolute distances to the medians of its two sides. ``separation`` is the
    probability that a block of the slower side is slower than one of the other (1 where the sides do not overlap, one
    half where they are alike), which tells a change of level from noise.
    """
    count = len(medians)
    if count < 2 * LEVEL_BLOCKS_MIN:
        return None
    splits = range(LEVEL_BLOCKS_MIN, count - LEVEL_BLOCKS_MIN + 1)
    at = min(splits, key=lambda split: _distance(medians[:split]) + _distance(medians[split:]))
    early, late = medians[:at], medians[at:]
    ratio = statistics.median(late) / max(statistics.median(early), 1e-9)
    wins = sum((b > a) + 0.5 * (b == a) for a in early for b in late) / (len(early) * len(late))
    return Step(at=at, ratio=ratio, separation=max(wins, 1 - wins))


def _distance(values: Sequence[float]) -> float:
    centre = statistics.median(values)
    return math.fsum(abs(value - centre) for value in values)


def nonstationary(values: Series, threshold: float = 0.03, separation: float = 0.9) -> Step | None:
    """Return the change of level inside a series if it exceeds the threshold and is more than noise, else None."""
    step = largest_step(block_medians(values))
    if step is None or step.separation < separation:
        return None
    return step if max(step.ratio, 1 / max(step.ratio, 1e-9)) > 1 + threshold else None

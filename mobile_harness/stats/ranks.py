"""The Mann-Whitney test of two samples, whose p value needs no shape of their distribution.

Mann and Whitney, "On a test of whether one of two random variables is stochastically larger than the other", Annals of
Mathematical Statistics 18 (1947), 50-60. A comparison of a thousand cells runs it some thousands of times on a few
values each, where the general one of SciPy, which tests hold this one against, spends its time on checking arrays.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence

from scipy import special

EXACT_MOST = 20
"""Values a side up to which the distribution is counted; beyond, or with ties, the normal approximation is taken."""


def rank_p(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the two-sided p value that neither of two samples tends to be larger; both have a value at least.

    >>> rank_p([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    0.1
    """
    second = sorted(after)
    wins = sum(bisect_left(second, value) + bisect_right(second, value) for value in before) / 2
    more = max(wins, len(before) * len(after) - wins)
    ties = [times for times in Counter((*before, *after)).values() if times > 1]
    if ties or max(len(before), len(after)) > EXACT_MOST:
        return _approximate(more, len(before), len(after), ties)
    return min(1.0, 2 * _tails(len(before), len(after))[round(more)])


def _approximate(more: float, first: int, second: int, ties: Sequence[int]) -> float:
    """Return the normal approximation with the corrections for continuity and for ties."""
    count = first + second
    correction = sum(times**3 - times for times in ties) / (count * (count - 1))
    variance = first * second / 12 * (count + 1 - correction)
    if variance <= 0:  # all values are the same
        return 1.0
    reach = (more - first * second / 2 - 0.5) / math.sqrt(variance)
    return min(1.0, 2 * float(special.ndtr(-reach)))


@functools.cache
def _tails(first: int, second: int) -> tuple[float, ...]:
    """Return, for every number of wins, the chance of at least as many where the samples are alike.

    The orders with so many wins are the coefficients of the Gaussian binomial: the product over i = 1..first of
    (1 - q^(second + i)) / (1 - q^i).
    """
    ways = [1] + [0] * (first * second)
    for factor in range(1, first + 1):
        for power in range(len(ways) - 1, second + factor - 1, -1):
            ways[power] -= ways[power - second - factor]
        for power in range(factor, len(ways)):
            ways[power] += ways[power - factor]
    above, tails = 0, []
    for number in reversed(ways):
        above += number
        tails.append(above / math.comb(first + second, first))
    return tuple(reversed(tails))

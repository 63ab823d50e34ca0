"""What paired outcomes prove of a drop: a sequential test to search by, and an exact bound to certify by.

All here is numbers in, numbers out. A *drop* is the float model's value of the metric on a sample less the build's; a
sample is *lost* where the float model is right and the build wrong, *won* the other way round.

The search looks at a candidate again and again while samples come in, so its test must stay honest whenever it stops.
It bets: an imagined gambler starts with 1, bets on each drop being less (or more) than the budget, and can expect to
gain nothing if the opposite is true; a fortune of ``1 / alpha`` is then reached with a probability of at most
``alpha``, at any time (Ville's inequality). Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
betting", Journal of the Royal Statistical Society B 86 (2024), 1-27. The bet is a mixture of fixed fractions
(their "diversified Kelly" bets), so that the fortune does not depend on the samples' order.

The certificate is taken once, on samples that nothing was chosen by: the exact unconditional test of non-inferiority
for matched pairs with the score statistic (Tango, Statistics in Medicine 17 (1998), 891-908; Sidik, Statistics in
Medicine 22 (2003), 265-278), its unknown rate of wins bounded as by Berger and Boos (Journal of the American
Statistical Association 89 (1994), 1012-1016), and inverted to an upper bound of the drop. Metrics other than 0 and 1
are certified by the betting test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Decision = Literal["within", "beyond", "open"]

BETTING = "betting on paired drops (Waudby-Smith and Ramdas 2024), one-sided"
EXACT = "exact unconditional paired test (Tango's score, Berger-Boos), one-sided"
_FRACTIONS = np.array([2.0**-k for k in range(10, 0, -1)] + [1 - 2.0**-k for k in range(2, 8)])
"""Shares of the most that may be staked: small for outcomes that vary much, large for those that seldom do."""
_LUCK = 5
"""How many times surer the search is of a candidate within the budget than of one beyond it."""
_NUISANCE_SHARE = 0.02
"""The part of alpha that Berger and Boos's bound of the nuisance takes."""
_NUISANCE_STEPS = 33
_HALVINGS = 24
_NEVER = 10**8


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is to be shown: a drop of at most ``max_drop`` at ``confidence``, one-sided.

    ``reach`` is how far a drop can lie from zero: the width of the metric's scale. ``binary`` says that the metric
    gives 0 or 1 and nothing between, which the exact test rests on; it is settled before any build is certified.
    """

    max_drop: float
    confidence: float
    reach: float = 1.0
    binary: bool = True

    @property
    def alpha(self) -> float:
        """The risk of a claim that does not hold."""
        return 1 - self.confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The drop on samples that took no part in choosing, and bounds of it, each one-sided at the claim's confidence.

    ``holds`` says that ``high`` is within the budget.
    """

    n: int
    lost: int
    won: int
    drop: float
    low: float
    high: float
    method: str
    holds: bool


def log_fortune(drops: Values, bound: float, reach: float, *, less: bool) -> float:
    """Return the logarithm of what a gambler owns who bet on the mean drop being less, or more, than ``bound``.

    Where the opposite holds it is at least ``log(1 / alpha)`` with a probability of at most alpha, at any time.

    Args:
        drops: [n], each within ``-reach`` and ``reach``.
        bound: such as the budget.
        reach: see :class:`Claim`.
        less: on which side the bets are.
    """
    if drops.size == 0:
        return 0.0
    values, counts = np.unique(drops, return_counts=True)
    shares, middle = (values / reach + 1) / 2, (bound / reach + 1) / 2
    if not 0 < middle < 1:
        return 0.0
    stakes = -_FRACTIONS / (1 - middle) if less else _FRACTIONS / middle
    logs = np.log1p(np.outer(stakes, shares - middle)) @ counts
    return float(np.logaddexp.reduce(logs) - math.log(len(_FRACTIONS)))


def decide(drops: Values, claim: Claim) -> Decision:
    """Say whether the drops so far show that the mean is within the budget, or beyond it.

    To be within takes more: of many candidates one is lucky, and the certificate would find it out.
    """
    bar = math.log(1 / claim.alpha)
    if log_fortune(drops, claim.max_drop, claim.reach, less=False) >= bar:
        return "beyond"
    if log_fortune(drops, claim.max_drop, claim.reach, less=True) >= bar + math.log(_LUCK):
        return "within"
    return "open"


def betting_bounds(drops: Values, claim: Claim) -> tuple[float, float]:
    """Return lower and upper bound of the mean drop, each at the claim's confidence, whenever the samples ended."""
    bar = math.log(1 / claim.alpha)

    def shown(bound: float, *, less: bool) -> bool:
        return log_fortune(drops, bound, claim.reach, less=less) >= bar

    mean = float(drops.mean()) if drops.size else 0.0
    high = _edge(lambda bound: shown(bound, less=True), mean, claim.reach)
    low = -_edge(lambda bound: shown(-bound, less=False), -mean, claim.reach)
    return low, high


def _edge(shown: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return the least bound that is shown, between one that is not and the end of the scale, by halving."""
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if shown(middle) else (middle, outside)
    return outside


def certify(drops: Values, claim: Claim) -> Certificate:
    """Bound the mean drop from samples that took no part in choosing the build.

    Args:
        drops: [n]; of a ``binary`` metric, -1, 0 or 1 each.
        claim: what is to be shown: by the exact test of a ``binary`` metric, else by betting.

    Raises:
        ValueError: a drop of a ``binary`` metric is something else.
    """
    _check_binary(drops, claim)
    lost, won = int((drops > 0).sum()), int((drops < 0).sum())
    if claim.binary:
        method = EXACT
        high = exact_upper(lost, won, len(drops), claim.confidence)
        low = -exact_upper(won, lost, len(drops), claim.confidence)
    else:
        method = BETTING
        low, high = betting_bounds(drops, claim)
    return Certificate(
        n=len(drops),
        lost=lost,
        won=won,
        drop=float(drops.mean()),
        low=low,
        high=high,
        method=method,
        holds=high <= claim.max_drop,
    )


def holds(drops: Values, claim: Claim) -> bool:
    """Return what :func:`certify` says of the claim, without the bounds."""
    _check_binary(drops, claim)
    if claim.binary:
        lost, won = int((drops > 0).sum()), int((drops < 0).sum())
        return _exact_p(lost, won, len(drops), claim.max_drop, claim.alpha) <= claim.alpha
    return log_fortune(drops, claim.max_drop, claim.reach, less=True) >= math.log(1 / claim.alpha)


def _check_binary(drops: Values, claim: Claim) -> None:
    if claim.binary and not np.isin(drops, (-1, 0, 1)).all():
        raise ValueError("a drop of a metric of 0 and 1 is neither -1, 0 nor 1")


def exact_upper(lost: int, won: int, n: int, confidence: float) -> float:
    """Return the upper bound of the difference of two paired proportions, ``lost`` less ``won``, one-sided.

    >>> round(exact_upper(0, 0, 302, 0.95), 4), round(exact_upper(3, 1, 400, 0.95), 4)
    (0.0099, 0.0165)
    """
    alpha = 1 - confidence

    def shown(bound: float) -> bool:
        return _exact_p(lost, won, n, bound, alpha) <= alpha

    return _edge(shown, (lost - won) / n, 1.0)


def _exact_p(lost: int, won: int, n: int, bound: float, alpha: float) -> float:
    """Return the exact p-value of the data against a difference of ``bound`` or more.

    The region of outcomes that speak as loudly against it grows with wins and shrinks with losses, so that for a given
    rate of wins the largest probability lies at the difference ``bound`` itself.
    """
    if (lost - won) / n >= bound or not -1 < bound < 1:
        return 1.0
    from scipy.stats import beta, binom

    share = alpha * _NUISANCE_SHARE
    least = float(beta.ppf(share / 2, won, n - won + 1)) if won else 0.0
    most = float(beta.ppf(1 - share / 2, won + 1, n - won)) if won < n else 1.0
    least, most = max(least, 0.0, -bound), min(most, (1 - bound) / 2)
    if least > most:
        return share
    rates = np.linspace(least, most, _NUISANCE_STEPS)
    wins = np.arange(int(binom.isf(1e-9, n, most)) + 1)
    losses = _most_losses(_score(lost, won, n, bound), wins, n, bound)
    chances = binom.pmf(wins[None, :], n, rates[:, None]) * binom.cdf(
        losses[None, :], n - wins[None, :], np.minimum((rates + bound) / np.maximum(1 - rates, 1e-12), 1)[:, None]
    )
    return float(chances.sum(axis=1).max()) + share


def _score(lost: Any, won: Any, n: int, bound: float) -> Any:
    """Return Tango's score statistic of a difference of ``bound``; arrays are taken element by element."""
    half = (-(lost + won) + bound * (2 * n - lost + won)) / 2
    wins = (np.sqrt(np.maximum(half**2 + 2 * n * won * bound * (1 - bound), 0)) - half) / (2 * n)
    spread = n * (2 * np.maximum(wins, max(0.0, -bound)) + bound - bound**2)
    return (lost - won - n * bound) / np.sqrt(np.maximum(spread, 1e-12))


def _most_losses(observed: float, wins: NDArray[np.int64], n: int, bound: float) -> NDArray[np.int64]:
    """Return for each number of wins the most losses that speak as loudly as what was observed; -1 for none."""
    low, high = np.full(len(wins), -1), n - wins
    while (low < high).any():
        middle = (low + high + 1) // 2
        fits = _score(middle, wins, n, bound) <= observed + 1e-9
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    return low


def least_samples(claim: Claim) -> int | None:
    """Return how many samples certify a build that equals the float model on every one; None where no number does."""
    if claim.max_drop <= 0:
        return None

    def enough(n: int) -> bool:
        if claim.binary:
            return _exact_p(0, 0, n, claim.max_drop, claim.alpha) <= claim.alpha
        return log_fortune(np.zeros(n), claim.max_drop, claim.reach, less=True) >= math.log(1 / claim.alpha)

    return _first(enough)


def usual_samples(claim: Claim, lost: float, won: float) -> int | None:
    """Return about how many samples certify a build with these rates of lost and won samples, nine times in ten.

    The normal approximation: ``(z_confidence + z_0.9)^2 (lost + won - drop^2) / (max_drop - drop)^2``.
    """
    drop, normal = lost - won, NormalDist()
    if drop >= claim.max_drop:
        return None
    z = normal.inv_cdf(claim.confidence) + normal.inv_cdf(0.9)
    needed = z**2 * max(lost + won - drop**2, 0.0) / (claim.max_drop - drop) ** 2
    least = least_samples(claim)
    return None if needed > _NEVER or least is None else max(math.ceil(needed), least)


def likely_bound(drops: Values, claim: Claim, n: int) -> float:
    """Return about the bound that ``n`` further samples like these would certify, four times in five.

    One more lost and one more won sample are imagined, so that few samples without a loss promise little.
    """
    size = len(drops) + 2
    mean = float(drops.sum()) / size
    spread = (float((drops**2).sum()) + 2 * claim.reach**2) / size - mean**2
    noise = math.sqrt(max(spread, 0.0) / max(n, 1))
    return mean + (NormalDist().inv_cdf(claim.confidence) + NormalDist().inv_cdf(0.8)) * noise


def _first(enough: Callable[[int], bool]) -> int | None:
    """Return the least number from which on the answer is yes."""
    high = 1
    while not enough(high):
        high *= 2
        if high > _NEVER:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high

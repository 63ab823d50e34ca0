"""How far a build is from the float model: errors of its tensors, its score on a task, and what that proves.

Everything here is numpy on values that come in; nothing is read or printed.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.artifacts import Score, TensorError, Verdict

Values = NDArray[np.float64]

SQNR_PASS_DB = 40.0
"""Unlabelled data: noise of at most 1 % of the signal's amplitude in every output. A convention of ours, on the safe
side: public INT8 classifiers that keep their accuracy often lie between 15 and 40 dB, and those need labels to pass."""
SQNR_FAIL_DB = 10.0
"""Unlabelled data: noise of a third of the signal's amplitude; a convention of ours."""
BOOTSTRAP_MIN = 10
"""Fewer samples than this have no bootstrap interval: the few resamples that exist say nothing of the tails."""
SELDOM = 5
"""Below so many samples that differ from the commonest drop, resampling them says little of how often they come."""
_RESAMPLES = 9999
_DRAWS_AT_ONCE = 1 << 22
_NEVER = 10**9


@dataclass(slots=True)
class ErrorMeter:
    """Sums that turn into a :class:`TensorError`; memory does not grow with what it is shown.

    Both arrays of :meth:`add` hold whole samples along the first axis. Sums are kept in float64.
    """

    output: str
    signal: float = 0.0
    noise: float = 0.0
    value_energy: float = 0.0
    product: float = 0.0
    max_abs: float = 0.0
    samples: int = 0
    broken: int = 0
    first_broken: int = -1

    def add(self, reference: NDArray[Any], values: NDArray[Any]) -> None:
        """Take some samples into account; ``reference`` is finite, samples with NaN or infinity in ``values`` count."""
        expected = np.asarray(reference, np.float64).reshape(len(reference), -1)
        seen = np.asarray(values, np.float64).reshape(expected.shape)
        bad: NDArray[np.bool_] = np.logical_not(np.isfinite(seen).all(axis=1))
        if bad.any():
            if self.first_broken < 0:
                self.first_broken = self.samples + int(np.argmax(bad))
            self.broken += int(bad.sum())
            expected, seen = expected[~bad], seen[~bad]
        self.samples += len(bad)
        difference = expected - seen
        self.signal += float(np.vdot(expected, expected))
        self.noise += float(np.vdot(difference, difference))
        self.value_energy += float(np.vdot(seen, seen))
        self.product += float(np.vdot(expected, seen))
        if difference.size:
            self.max_abs = max(self.max_abs, float(np.abs(difference).max()))

    def result(self) -> TensorError:
        """Return the distance so far.

        SQNR is ``10 log10(sum(ref^2) / sum((ref - x)^2))``; equal tensors have infinity, a silent reference that the
        build does not match and any NaN or infinity of the build have minus infinity.
        """
        if self.broken:
            return TensorError(output=self.output, sqnr_db=-math.inf, cosine=0.0, max_abs=math.inf)
        return TensorError(output=self.output, sqnr_db=self._sqnr_db(), cosine=self._cosine(), max_abs=self.max_abs)

    def _sqnr_db(self) -> float:
        if self.noise == 0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal > 0 else -math.inf

    def _cosine(self) -> float:
        if self.signal == 0 or self.value_energy == 0:
            return 1.0 if self.signal == self.value_energy else 0.0
        return max(-1.0, min(1.0, self.product / math.sqrt(self.signal * self.value_energy)))


def top_k_hits(scores: NDArray[Any], labels: NDArray[np.int64], k: int) -> Values:
    """Return 1 where the label is among the k highest scores, else 0.

    Ties go to the lower class number, as ``argmax`` has it, so that ``k=1`` is exactly accuracy of the argmax even for
    the many ties of 8-bit outputs. One score a sample is a binary classifier's probability: class 1 from 0.5 on.

    Args:
        scores: [n, classes].
        labels: [n] in 0..classes-1 (0 or 1 where ``classes`` is 1).
        k: 1 for accuracy, 5 for top-5.

    >>> top_k_hits(np.array([[0.1, 0.7, 0.7], [0.9, 0.0, 0.1]]), np.array([1, 2]), 1)
    array([1., 0.])
    """
    if scores.shape[1] == 1:
        return np.asarray((scores[:, 0] >= 0.5) == (labels == 1), np.float64)
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    before = np.arange(scores.shape[1]) < labels[:, None]
    rank = (scores > own).sum(axis=1) + ((scores == own) & before).sum(axis=1)
    return np.asarray(rank < k, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a build may lose: ``max_drop`` of the metric, to be shown at ``confidence``; ``seed`` for the bootstrap."""

    max_drop: float
    confidence: float
    seed: int = 0


def score(metric: str, float_values: Values, values: Values, budget: Budget) -> Score:
    """Compare a metric of the float model and of a build on the same samples.

    Metrics of 0 and 1 get a paired-proportions interval (:func:`paired_proportions`), others a paired bootstrap
    (:func:`paired_bootstrap`), where a drop that was not seen is taken to be no larger than the spread of all the
    metric's values that were; where there is no spread at all it may be anything. The verdict is ``pass`` when even
    the high end of the drop is within the budget, ``fail`` when even the low end is beyond it, else ``undecided`` with
    the number of further samples that would decide if they were like the ones seen (None: no number would, or it
    cannot be told).

    Args:
        metric: its name, for the record.
        float_values: [n], the float model's value of each sample.
        values: [n], the build's.
        budget: what it is held against.
    """
    drops = np.asarray(float_values, np.float64) - np.asarray(values, np.float64)
    n = len(drops)
    if np.isin(float_values, (0, 1)).all() and np.isin(values, (0, 1)).all():
        lost, won = int((drops > 0).sum()), int((drops < 0).sum())
        method = "paired proportions (Bonett-Price)"
        low, high = paired_proportions(lost, won, n, budget.confidence)
        needed = _proportions_needed(lost / n, won / n, n, budget)
    else:
        method = "paired bootstrap (BCa)"
        seen = np.concatenate([np.ravel(float_values), np.ravel(values)])
        reach = float(np.ptp(seen)) or math.inf
        low, high = paired_bootstrap(drops, budget.confidence, budget.seed, reach)
        needed = _mean_needed(drops, budget, reach)
    verdict = decide(low, high, budget.max_drop)
    return Score(
        metric=metric,
        float_value=float(np.mean(float_values)),
        value=float(np.mean(values)),
        drop=float(np.mean(drops)),
        ci_low=low,
        ci_high=high,
        n=n,
        confidence=budget.confidence,
        max_drop=budget.max_drop,
        method=method,
        verdict=verdict,
        more_samples=max(needed - n, 1) if verdict == "undecided" and needed is not None else None,
        outcomes=packed(np.asarray(values, np.float64)),
    )


_BITS, _FLOATS = "bits:", "floats:"
_BITS_MAX, _FLOATS_MAX = 1 << 18, 1 << 13
"""Most samples whose outcomes are kept: 44 kB of text either way."""


def packed(values: Values) -> str:
    """Return the value of each sample as text: a bit each where all are 0 or 1, else 32-bit floats, in base64."""
    if np.isin(values, (0, 1)).all():
        raw = np.packbits(values.astype(bool)).tobytes()
        return _BITS + base64.b64encode(raw).decode("ascii") if len(values) <= _BITS_MAX else ""
    if len(values) > _FLOATS_MAX or not (np.abs(values) <= np.finfo(np.float32).max).all():
        return ""
    return _FLOATS + base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def outcomes_of(kept: Score) -> Values | None:
    """Return the build's value of each sample that a score was taken from: [n], or None where they were not kept.

    What does not unpack to ``n`` finite values counts as not kept: records may come from anywhere.
    """
    kind, _, text = kept.outcomes.partition(":")
    try:
        raw = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except ValueError:
        return None
    if f"{kind}:" == _BITS and len(raw) == (kept.n + 7) // 8 > 0:
        return np.unpackbits(raw, count=kept.n).astype(np.float64)
    if f"{kind}:" == _FLOATS and len(raw) == 4 * kept.n > 0:
        values = raw.view("<f4").astype(np.float64)
        return values if np.isfinite(values).all() else None
    return None


def decide(low: float, high: float, max_drop: float) -> Verdict:
    """Hold an interval of the drop against the budget.

    >>> decide(-0.01, 0.02, 0.01), decide(-0.01, 0.01, 0.01), decide(0.02, 0.04, 0.01)
    ('undecided', 'pass', 'fail')
    """
    if high <= max_drop:
        return "pass"
    return "fail" if low > max_drop else "undecided"


def paired_proportions(lost: float, won: float, n: float, confidence: float) -> tuple[float, float]:
    """Return the interval of the difference of two proportions measured on the same samples.

    The adjusted Wald interval of Bonett and Price (Journal of Educational and Behavioral Statistics 37(4), 2012,
    479-488): one imaginary sample is added to each kind of disagreement before the usual formula, which keeps the
    coverage near nominal also for few samples and for disagreements that were never seen.

    Args:
        lost: how many samples the float model has right and the build wrong.
        won: the other way round.
        n: how many samples there are.
        confidence: such as 0.95.

    >>> [round(end, 4) for end in paired_proportions(3, 1, 400, 0.95)]
    [-0.007, 0.0169]
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p_lost, p_won = (lost + 1) / (n + 2), (won + 1) / (n + 2)
    middle = p_lost - p_won
    margin = z * math.sqrt((p_lost + p_won - middle**2) / (n + 2))
    return max(-1.0, middle - margin), min(1.0, middle + margin)


def paired_bootstrap(drops: Values, confidence: float, seed: int, reach: float = math.inf) -> tuple[float, float]:
    """Return the bias-corrected and accelerated bootstrap interval of the mean drop.

    Efron, "Better bootstrap confidence intervals", Journal of the American Statistical Association 82 (1987), 171-185,
    with the acceleration of the jackknife. Below ``BOOTSTRAP_MIN`` samples it is unbounded, so that nothing is decided.

    A bootstrap draws only what was seen, so that equal drops make it a point however few they are. While fewer than
    ``SELDOM`` samples differ from the commonest drop it is therefore widened: of samples like these a share up to the
    upper Clopper-Pearson bound may differ (Biometrika 26 (1934), 404-413; with none seen about ``3 / n`` at 95 % one
    side, the rule of three: Hanley and Lippman-Hand, JAMA 249 (1983), 1743-1745), each by up to ``reach``.

    Args:
        drops: [n], float value less the build's.
        confidence: such as 0.95.
        seed: of the resampling.
        reach: how far a sample's drop may lie from the commonest one; infinite where it is not known.
    """
    n = len(drops)
    if n < BOOTSTRAP_MIN:
        return -math.inf, math.inf
    mean, tail = float(drops.mean()), (1 - confidence) / 2
    seldom = _differing(drops)
    low, high = (mean, mean) if seldom == 0 else _accelerated(drops, tail, seed)
    if seldom < SELDOM:
        unseen = (_share_at_most(seldom, n, tail) - seldom / n) * reach
        low, high = min(low, mean - unseen), max(high, mean + unseen)
    return low, high


def _differing(drops: Values) -> int:
    """Count the samples whose drop is not the commonest one, rounding aside."""
    _, counts = np.unique(np.round(drops, 12), return_counts=True)
    return len(drops) - int(counts.max())


def _share_at_most(seen: int, n: int, tail: float) -> float:
    """Return the largest share of which so few of ``n`` are still seen with probability ``tail`` (Clopper-Pearson)."""
    low, high = seen / n, 1.0
    for _ in range(60):
        share = (low + high) / 2
        so_few = sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(seen + 1))
        low, high = (share, high) if so_few > tail else (low, share)
    return high


def _accelerated(drops: Values, tail: float, seed: int) -> tuple[float, float]:
    n, mean = len(drops), float(drops.mean())
    means = _resampled_means(drops, seed)
    normal = NormalDist()
    share_below = (float((means < mean).mean()) + float((means <= mean).mean())) / 2
    bias = normal.inv_cdf(min(max(share_below, 0.5 / _RESAMPLES), 1 - 0.5 / _RESAMPLES))
    centred = mean - (drops.sum() - drops) / (n - 1)
    spread = float((centred**2).sum())
    acceleration = float((centred**3).sum()) / (6 * spread**1.5)

    def end(share: float) -> float:
        z = bias + normal.inv_cdf(share)
        stretch = 1 - acceleration * z
        return float(np.quantile(means, normal.cdf(bias + z / stretch if stretch > 0 else math.inf)))

    return end(tail), end(1 - tail)


def _resampled_means(drops: Values, seed: int) -> Values:
    rng = np.random.default_rng(seed)
    n = len(drops)
    rows = max(1, _DRAWS_AT_ONCE // n)
    parts = [
        drops[rng.integers(0, n, (min(rows, _RESAMPLES - start), n))].mean(axis=1)
        for start in range(0, _RESAMPLES, rows)
    ]
    return np.concatenate(parts)


def _proportions_needed(p_lost: float, p_won: float, n: int, budget: Budget) -> int | None:
    def decides(size: int) -> bool:
        low, high = paired_proportions(p_lost * size, p_won * size, size, budget.confidence)
        return decide(low, high, budget.max_drop) != "undecided"

    return _first(decides, n)


def _first(decides: Callable[[int], bool], start: int) -> int | None:
    """Return the least size from which on, by doubling and halving, the answer is yes."""
    low, high = start, start
    while not decides(high):
        low, high = high, high * 2
        if high > _NEVER:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def _mean_needed(drops: Values, budget: Budget, reach: float) -> int | None:
    """Solve the normal interval for n: ``z * sd / sqrt(n)`` has to be within the distance to the budget.

    Where samples that differ are too few for it, enough of them are wanted first; where there are none, so many
    samples that what was not seen fits into the distance.
    """
    n, seldom = len(drops), _differing(drops)
    distance = abs(budget.max_drop - float(drops.mean()))
    if n < 2 or distance == 0:
        return None
    if seldom == 0:
        tail = (1 - budget.confidence) / 2
        return _first(lambda size: _share_at_most(0, size, tail) * reach <= distance, max(n, BOOTSTRAP_MIN))
    z = NormalDist().inv_cdf((1 + budget.confidence) / 2)
    needed = (z * float(drops.std(ddof=1)) / distance) ** 2
    enough = math.ceil(SELDOM * n / seldom) if seldom < SELDOM else BOOTSTRAP_MIN
    return None if needed > _NEVER else max(math.ceil(needed), enough)


def judge_errors(errors: tuple[TensorError, ...], samples: int) -> tuple[Verdict, str]:
    """Judge a build without labels, by its worst output's SQNR, and say why.

    Tensor errors do not prove a task's score, so the bars are far apart: ``pass`` from ``SQNR_PASS_DB``, ``fail`` below
    ``SQNR_FAIL_DB``, ``undecided`` between them and whenever there are fewer than two samples.
    """
    worst = min(errors, key=lambda error: error.sqnr_db)
    figure = f"{worst.sqnr_db:.1f} dB SQNR at output {worst.output!r}, without labels"
    if worst.sqnr_db < SQNR_FAIL_DB:
        return "fail", f"{figure}: below {SQNR_FAIL_DB:.0f} dB noise drowns the output."
    if samples < 2:
        return "undecided", f"{figure}, on a single sample: give more, best with labels."
    if worst.sqnr_db == math.inf:
        return "pass", "Every output equals the float model's; the data has no labels."
    if worst.sqnr_db >= SQNR_PASS_DB:
        return "pass", f"{figure}: at least {SQNR_PASS_DB:.0f} dB."
    return "undecided", f"{figure}: between {SQNR_FAIL_DB:.0f} and {SQNR_PASS_DB:.0f} dB only labelled data decides."

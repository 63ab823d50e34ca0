"""Where a series of runs changed level: binary segmentation with a permutation test.

The series is split where its two sides differ most, the split is kept if a shuffled series seldom shows one as strong,
and both sides are searched again (binary segmentation: Vostrikova, Soviet Mathematics Doklady 24 (1981), 55-59; with
permutations as in the hierarchical search of Matteson and James, JASA 109 (2014), 334-345). It works on ranks, so that
one run of a busy afternoon, however slow, is no change of level. Each value is one run, the unit of a trend.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE_MIN = 3
"""Fewest runs of a level."""
LEVEL = 0.01
"""How often a series without a change may show one, at each search."""
PERMUTATIONS = 1999
SIZE_MIN = 0.01
"""Changes of level below 1 % are not marked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePoint:
    """A new level begins at value ``at``: the median of its level over that of the level before is ``ratio``.

    ``p`` is how often shuffling the searched part gave a split as strong.
    """

    at: int
    ratio: float
    p: float


def change_points(values: Sequence[float], seed: int = 0) -> tuple[ChangePoint, ...]:
    """Return the changes of level of a series of positive values, in order.

    Args:
        values: one figure a run, in order of time.
        seed: of the permutations.

    >>> [point.at for point in change_points([10.0, 10.1, 9.9, 10.0, 10.2, 10.1, 12.0, 12.1, 11.9, 12.2, 12.0, 12.1])]
    [6]
    """
    rng = np.random.default_rng(seed)
    splits = sorted(_search(np.asarray(values, np.float64), 0, rng))
    edges = [0, *(at for at, _ in splits), len(values)]
    found = []
    for (at, p), start, end in zip(splits, edges, edges[2:], strict=False):
        step = statistics.median(values[at:end]) / statistics.median(values[start:at])
        if abs(math.log(step)) >= math.log1p(SIZE_MIN):
            found.append(ChangePoint(at=at, ratio=step, p=p))
    return tuple(found)


def _search(values: NDArray[np.float64], offset: int, rng: np.random.Generator) -> list[tuple[int, float]]:
    if len(values) < 2 * SIDE_MIN:
        return []
    from scipy import stats as scipy_stats  # takes a second to import, and only histories need it

    ranks = np.asarray(scipy_stats.rankdata(values), np.float64)
    strengths = _strengths(ranks)
    at = int(np.argmax(strengths)) + SIDE_MIN
    shuffled = rng.permuted(np.broadcast_to(ranks, (PERMUTATIONS, len(ranks))), axis=1)
    as_strong = int((_strengths(shuffled).max(axis=-1) >= strengths.max() - 1e-9).sum())
    p = (as_strong + 1) / (PERMUTATIONS + 1)
    if p > LEVEL:
        return []
    return [*_search(values[:at], offset, rng), (offset + at, p), *_search(values[at:], offset + at, rng)]


def _strengths(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for every split, the standardised difference of the mean ranks of its two sides; [..., splits]."""
    count = ranks.shape[-1]
    sizes = np.arange(SIDE_MIN, count - SIDE_MIN + 1)
    sums = np.cumsum(ranks, axis=-1)[..., sizes - 1]
    expected = sizes * (count + 1) / 2
    return np.asarray(np.abs(sums - expected) / np.sqrt(sizes * (count - sizes)))

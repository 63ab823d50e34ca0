from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from toolkit.core import codec, metrics
from toolkit.core.artifacts import Score

BUDGET = metrics.Budget(max_drop=0.01, confidence=0.95)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000])
def test_hits_are_kept_a_bit_each(count: int, rng: np.random.Generator) -> None:
    hits = rng.integers(0, 2, count).astype(np.float64)
    score = metrics.score("top1", np.ones(count), hits, BUDGET)
    assert score.outcomes.startswith("bits:")
    assert len(score.outcomes) <= count / 6 + 10
    kept = metrics.outcomes_of(codec.structure(codec.unstructure(score), Score, what="score"))
    assert kept is not None
    assert np.array_equal(kept, hits)


def test_other_values_are_kept_as_floats(rng: np.random.Generator) -> None:
    values = rng.normal(0, 1, 500)
    kept = metrics.outcomes_of(metrics.score("psnr", values, values, BUDGET))
    assert kept is not None
    assert kept == pytest.approx(values, rel=1e-6)


def test_too_many_or_impossible_values_are_not_kept(rng: np.random.Generator) -> None:
    many = rng.normal(0, 1, (1 << 13) + 1)
    assert metrics.score("psnr", many, many, BUDGET).outcomes == ""
    huge = np.full(20, 1e300)
    assert metrics.score("psnr", huge, huge, BUDGET).outcomes == ""


@pytest.mark.parametrize("text", ["", "bits:", "bits:AA==", "floats:AAAA", "bits:\u00e9", "floats:AADAfw==", "x:AAAA"])
def test_damaged_outcomes_count_as_not_kept(text: str) -> None:
    score = metrics.score("top1", np.ones(12), np.ones(12), BUDGET)
    assert metrics.outcomes_of(dataclasses.replace(score, outcomes=text)) is None
    assert metrics.outcomes_of(dataclasses.replace(score, n=-5)) is None

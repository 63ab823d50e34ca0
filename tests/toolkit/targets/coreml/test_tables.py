"""Look-up tables for weights."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.targets.coreml.tables import look_up_table

values = st.lists(st.floats(-4, 4, width=32), min_size=3, max_size=9, unique=True)


@settings(max_examples=60, deadline=None)
@given(values)
def test_kmeans_is_the_best_partition_of_few_values(drawn: list[float]) -> None:
    weight = np.array(sorted(drawn), np.float64)
    table, indices = look_up_table(weight, 1, "kmeans")
    error = ((table[indices] - weight) ** 2).sum()
    parts = [np.split(weight, cut) for cut in combinations(range(1, len(weight)), 1)]
    best = min(sum(((part - part.mean()) ** 2).sum() for part in split) for split in parts)
    assert error == pytest.approx(best, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("method", ["kmeans", "uniform"])
def test_each_value_gets_its_nearest_entry(method: str) -> None:
    weight = np.random.default_rng(3).standard_t(3, (40, 50)).astype(np.float16)
    table, indices = look_up_table(weight, 4, method)  # type: ignore[arg-type]
    assert table.shape == (16,)
    assert table.dtype == np.float16
    assert indices.shape == (2000,)
    assert np.all(np.diff(table.astype(np.float64)) >= 0)
    away = np.abs(weight.reshape(-1, 1).astype(np.float64) - table.astype(np.float64))
    assert np.allclose(away[np.arange(2000), indices], away.min(1))


def test_kmeans_beats_even_spacing_where_values_crowd() -> None:
    weight = np.random.default_rng(4).normal(0, 1, 5000).astype(np.float32)
    errors = {}
    for method in ("kmeans", "uniform"):
        table, indices = look_up_table(weight, 4, method)  # type: ignore[arg-type]
        errors[method] = float(((table[indices] - weight) ** 2).mean())
    assert errors["kmeans"] < 0.0097  # Max 1960: the least for 16 levels of a normal distribution is 0.0095
    assert errors["kmeans"] < 0.5 * errors["uniform"]


@pytest.mark.parametrize("method", ["kmeans", "uniform"])
def test_values_that_are_all_the_same_are_kept(method: str) -> None:
    table, indices = look_up_table(np.full((3, 4), 0.25, np.float32), 4, method)  # type: ignore[arg-type]
    assert np.all(table[indices] == 0.25)


def test_fewer_values_than_entries_are_exact() -> None:
    weight = np.array([3, -1, 0.5, 3, -1], np.float32)
    table, indices = look_up_table(weight, 4, "kmeans")
    assert np.array_equal(table[indices], weight)

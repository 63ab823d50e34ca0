"""Pruning, clustering and sizes: numbers on arrays made by hand."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from toolkit.training import shrinking
from toolkit.training.trainee import Rounding, Weight


def weight(values: np.ndarray, *, prunable: bool = True) -> Weight:
    return Weight(layer="l", values=values.astype(np.float32), kept=(values.ndim - 1,), prunable=prunable)


@pytest.fixture
def values(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, 1, (32, 16))


def test_the_smallest_weights_go_and_what_is_gone_stays_gone(values: np.ndarray) -> None:
    (mask,) = shrinking.masks({"w": weight(values)}, 0.25).values()
    assert mask.sum() == 384
    assert np.abs(values[~mask]).max() <= np.abs(values[mask]).min()
    (more,) = shrinking.masks({"w": weight(values * mask)}, 0.5).values()
    assert not (more & ~mask).any()


def test_what_is_left_alone_is_said(values: np.ndarray) -> None:
    few, depthwise = weight(values[:4]), weight(values, prunable=False)
    assert shrinking.masks({"few": few, "depthwise": depthwise}, 0.5) == {}
    assert "256" in shrinking.prunable(few)
    assert "channels" in shrinking.prunable(depthwise)
    assert shrinking.zero_share({"few": few}) == 0.0


def test_a_table_is_near_the_best_there_is(values: np.ndarray) -> None:
    table, index = shrinking.table_of(values.astype(np.float32), 8)
    assert (len(table), index.shape) == (8, values.shape)
    assert (np.diff(table) > 0).all()
    made = np.mean((table[index] - values) ** 2)
    even = np.linspace(values.min(), values.max(), 8)
    plain = np.mean((even[np.abs(values[..., None] - even).argmin(-1)] - values) ** 2)
    assert made < plain * 0.75
    assert made < 0.04, "the best quantizer of 8 levels for a normal density has an error of 0.0345 (Max 1960)"


def test_few_values_are_kept_exactly_and_zeros_have_an_entry_of_their_own(values: np.ndarray) -> None:
    three = np.sign(values) * (np.abs(values) > 1)
    table, index = shrinking.table_of(three.astype(np.float32), 16)
    assert table[index].tolist() == three.tolist()
    pruned = np.where(np.abs(values) > 0.7, values, 0)
    table, index = shrinking.table_of(pruned.astype(np.float32), 4)
    assert (table[index][pruned == 0] == 0).all()
    assert len(table) == 4
    few = np.where(np.abs(values) > 0.05, values, 0)
    assert 0 < (few == 0).mean() < 1 / 4
    assert 0 not in shrinking.table_of(few.astype(np.float32), 4)[0]
    table, index = shrinking.table_of(few.astype(np.float32), 4, pruned=True)
    assert (table[index][few == 0] == 0).all()
    assert len(table) == 4


def test_integers_lie_on_the_grid_of_the_builds(values: np.ndarray) -> None:
    from toolkit.targets.onnx.weights import to_integers

    for bits in (4, 8):
        integers, scale = shrinking.integers(weight(values), bits, per_channel=True)
        theirs = to_integers(values.astype(np.float32), 1, symmetric=True, bits=bits)
        assert integers.tolist() == theirs.values.tolist()
        assert np.allclose(scale.reshape(-1), theirs.scale, rtol=1e-6)


def test_sizes_are_those_of_packed_and_deflated_weights(values: np.ndarray) -> None:
    pruned = values * (np.abs(values) > 1)
    before, after = {"w": weight(values)}, {"w": weight(pruned)}
    found = shrinking.weight_bytes(before, after, Rounding(weight_bits=4))
    assert (found.count, found.raw) == (512, 256)
    assert found.zeros == int((pruned == 0).sum())
    assert found.deflated < found.deflated_before
    assert found.sparse == 512 // 8 + 2 * int((pruned != 0).sum())
    eight = shrinking.weight_bytes(before, before, Rounding(weight_bits=8))
    whole = shrinking.integers(weight(values), 8, per_channel=True)[0].tobytes()
    assert (eight.raw, eight.deflated) == (512, len(zlib.compress(whole, 9)))
    table, index = shrinking.table_of(values.astype(np.float32), 16)
    shared = shrinking.weight_bytes(before, {"w": weight(table[index])}, Rounding())
    assert shared.table == 512 // 2 + 2 * 16
    assert shared.raw == 4 * 512, "a layer in float counts as such"


def test_a_recipe_with_tables_takes_indices_and_a_table(values: np.ndarray) -> None:
    table, index = shrinking.table_of(values.astype(np.float32), 16)
    before, after = {"w": weight(values)}, {"w": weight(table[index])}
    found = shrinking.weight_bytes(before, after, Rounding(entries=16))
    assert found.raw == 512 // 2 + 2 * 16 == found.table
    flat = index.reshape(-1).astype(np.uint8)
    plain = (flat[::2] << 4 | flat[1::2]).tobytes() + table.astype(np.float16).tobytes()
    assert found.deflated == found.deflated_before == len(zlib.compress(plain, 9)), "a build groups them the same way"
    kept = shrinking.weight_bytes(before, after, Rounding(entries=16, floats=frozenset({"l"})))
    assert kept.raw == 4 * 512

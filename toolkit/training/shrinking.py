"""Pruning and clustering of weights, and what either saves: numpy alone."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from toolkit.training.trainee import Floats, Rounding, Weight
from toolkit.training.values import WeightBytes

LEAST_PRUNABLE = 256
"""A smaller weight is left alone: what it saves is nothing beside what it costs."""
_ROUNDS = 50


def sparsity_at(epoch: int, ramp: int, wanted: float) -> float:
    """Return the sparsity of an epoch, from 1 on: it rises with the cube of what is left (arXiv:1710.01878).

    >>> [round(sparsity_at(epoch, 2, 0.8), 2) for epoch in (1, 2, 3)]
    [0.7, 0.8, 0.8]
    """
    left = max(0.0, 1 - epoch / ramp) if ramp else 0.0
    return wanted * (1 - left**3)


def prunable(weight: Weight) -> str:
    """Return why a weight is not pruned, in a few words; empty when it may be."""
    if not weight.prunable:
        return "each of its channels has a few weights only, and every one counts"
    if weight.values.size < LEAST_PRUNABLE:
        return f"it has fewer than {LEAST_PRUNABLE} weights"
    return ""


def masks(weights: Mapping[str, Weight], sparsity: float) -> dict[str, NDArray[np.bool_]]:
    """Keep the largest weights of each tensor; False where a weight becomes zero. What is zero already stays so."""
    found = {}
    for name, weight in weights.items():
        if prunable(weight):
            continue
        sizes = np.abs(weight.values).reshape(-1)
        keep = np.ones(sizes.size, np.bool_)
        keep[np.argsort(sizes, kind="stable")[: round(sparsity * sizes.size)]] = False
        found[name] = keep.reshape(weight.values.shape)
    return found


def zero_share(weights: Mapping[str, Weight]) -> float:
    """Return which share of the prunable weights is zero."""
    chosen = [weight.values for weight in weights.values() if not prunable(weight)]
    count = sum(values.size for values in chosen)
    return sum(int((values == 0).sum()) for values in chosen) / count if count else 0.0


def table_of(values: Floats, entries: int, *, pruned: bool = False) -> tuple[Floats, NDArray[np.int32]]:
    """Group values around ``entries`` means by Lloyd's iteration from evenly spaced ones (IEEE Trans. IT 28/2, 1982).

    Zeros keep an entry of their own where there are many, or any that pruning made (``pruned``), so that clustering
    does not undo it.

    Returns:
        The table [at most ``entries``], ascending, and the index of each value in its own shape.
    """
    flat = values.reshape(-1).astype(np.float64)
    fixed = entries > 1 and (flat == 0).mean() > (0 if pruned else 1 / entries)
    moving = flat[flat != 0] if fixed else flat
    count = entries - 1 if fixed else entries
    if len(np.unique(moving)) <= count:
        table = np.unique(moving)
    else:
        table = np.linspace(moving.min(), moving.max(), count)
        for _ in range(_ROUNDS):
            nearest = np.searchsorted((table[1:] + table[:-1]) / 2, moving)
            sizes = np.bincount(nearest, minlength=count)
            sums = np.bincount(nearest, moving, minlength=count)
            moved = np.where(sizes > 0, sums / np.maximum(sizes, 1), table)
            if np.array_equal(moved, table):
                break
            table = np.sort(moved)
    if fixed:
        table = np.sort(np.append(table, 0.0))
    index = np.searchsorted((table[1:] + table[:-1]) / 2, flat).astype(np.int32)
    return table.astype(np.float32), index.reshape(values.shape)


def weight_bytes(before: Mapping[str, Weight], after: Mapping[str, Weight], rounding: Rounding) -> WeightBytes:
    """Say what the weights take in the recipe's bits, raw and deflated, before and after.

    Weights that stay float count as 32-bit ones; those in look-up tables as packed indices and a table in float16.
    """
    packed = {name: _packed(weight, rounding) for name, weight in after.items()}
    counts = {name: weight.values.size for name, weight in after.items()}
    zeros = sum(int((weight.values == 0).sum()) for weight in after.values())
    tables = {name: len(np.unique(weight.values)) for name, weight in after.items()}
    indexed = all(entries <= 256 for entries in tables.values()) and bool(tables)
    return WeightBytes(
        count=sum(counts.values()),
        zeros=zeros,
        raw=sum(map(len, packed.values())),
        deflated_before=_deflated(b"".join(_packed(weight, rounding) for weight in before.values())),
        deflated=_deflated(b"".join(packed.values())),
        sparse=sum(_sparse(weight) for weight in after.values()) if zeros else None,
        table=sum(-(-counts[name] * _index_bits(tables[name]) // 8) + 2 * tables[name] for name in after)
        if indexed
        else None,
    )


def _sparse(weight: Weight) -> int:
    """Return the bytes of Core ML's sparse form in float16, or those of plain float16 where it is not smaller."""
    size = weight.values.size
    return min(2 * size, -(-size // 8) + 2 * int((weight.values != 0).sum()))


def _index_bits(entries: int) -> int:
    return next(bits for bits in (1, 2, 3, 4, 6, 8) if 2**bits >= entries)


def _deflated(raw: bytes) -> int:
    return len(zlib.compress(raw, 9))


def integers(weight: Weight, bits: int, *, per_channel: bool) -> tuple[NDArray[np.int8], Floats]:
    """Return a weight's integers on the symmetric grid of ``bits`` and the scale that belongs to them."""
    kept = weight.kept if per_channel else ()
    others = tuple(axis for axis in range(weight.values.ndim) if axis not in kept)
    top = 2 ** (bits - 1) - 1
    span = np.abs(weight.values).max(axis=others, keepdims=True)
    scale = np.where(span > 0, span / top, 1).astype(np.float32)
    return np.clip(np.rint(weight.values / scale), -top, top).astype(np.int8), scale


def _indexed(weight: Weight, entries: int) -> bytes:
    """Return the packed indices into a weight's table, and the table."""
    table, index = table_of(weight.values, entries)
    bits = np.unpackbits(index.astype(np.uint8).reshape(-1, 1), axis=1)[:, 8 - _index_bits(entries) :]
    return np.packbits(bits).tobytes() + table.astype(np.float16).tobytes()


def _packed(weight: Weight, rounding: Rounding) -> bytes:
    if rounding.entries and weight.layer not in rounding.floats and weight.layer not in rounding.weight_overrides:
        return _indexed(weight, rounding.entries)
    bits = rounding.bits_of(weight.layer)
    if bits > 8:
        return weight.values.astype(np.float16 if bits == 16 else np.float32).tobytes()
    whole = integers(weight, bits, per_channel=rounding.per_channel)[0].reshape(-1)
    if bits > 4:
        return whole.tobytes()
    pairs = np.append(whole, np.int8(0)) if whole.size % 2 else whole
    low, high = pairs[::2].view(np.uint8) & 15, pairs[1::2].view(np.uint8) & 15
    return (low | high << 4).astype(np.uint8).tobytes()

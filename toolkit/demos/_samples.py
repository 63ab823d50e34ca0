"""Splitting labelled samples so that every class has its share of every part, and writing the parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.core import store
from toolkit.core.artifacts import Blob
from toolkit.core.ports import Array

Indices = NDArray[np.int64]


def stratified(labels: Array, sizes: Sequence[int], seed: int) -> tuple[Indices, ...]:
    """Return disjoint random parts of the samples, balanced over the classes, and what is left as the last part.

    Args:
        labels: one class number a sample, shape [n].
        sizes: samples of each part; every class gives an equal share.
        seed: equal seeds give equal parts.

    Raises:
        ValueError: a part cannot be shared equally, or a class has too few samples.

    >>> parts = stratified(np.array([0, 0, 0, 1, 1, 1]), [2], seed=0)
    >>> [len(part) for part in parts]
    [2, 4]
    """
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    shuffled = [rng.permutation(np.flatnonzero(labels == name)) for name in classes]
    parts, start = [], 0
    for size in sizes:
        share, uneven = divmod(size, len(classes))
        if uneven or start + share > min(map(len, shuffled)):
            raise ValueError(f"{size} samples cannot be taken equally from {len(classes)} classes")
        parts.append([one[start : start + share] for one in shuffled])
        start += share
    parts.append([one[start:] for one in shuffled])
    return tuple(rng.permutation(np.concatenate(part)) for part in parts)


def write_samples(path: Path, samples: Array, labels: Array, names: Sequence[str]) -> Blob:
    """Write raw samples [n, ...] as the array ``image``, their ``labels`` [n] and the classes' names."""
    np.savez_compressed(path, image=samples, labels=labels.astype(np.int64), label_names=np.array(names))
    return store.blob_of(path)

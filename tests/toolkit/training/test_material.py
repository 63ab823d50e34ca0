"""Training samples on disk: labels of every shape, and those that do not fit one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.core.artifacts import DataRef, Preprocess, Signature, TensorSpec
from toolkit.core.errors import DataError
from toolkit.core.events import silent
from toolkit.stages import data
from toolkit.training import material

SIGNATURE = Signature(inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 2)),), outputs=())


def laid_out(folder: Path, **arrays: Any) -> material.Part:
    np.savez(folder / "data.npz", x=np.arange(10, dtype=np.float32).reshape(5, 2), **arrays)
    ref = data.refer(str(folder / "data.npz"), SIGNATURE, Preprocess(), None)
    return material.lay_out(ref, SIGNATURE, folder / "rows", silent)


def test_labels_that_are_arrays_lie_on_disk(tmp_path: Path) -> None:
    labels = np.arange(15, dtype=np.float32).reshape(5, 3)
    part = laid_out(tmp_path, labels=labels)
    assert isinstance(part.labels, np.memmap)
    assert part.labels.tolist() == labels.tolist()
    assert part.labels_at(np.array([4, 0])).tolist() == labels[[4, 0]].tolist()


@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_labels_that_are_numbers_stay_numbers(dtype: Any, tmp_path: Path) -> None:
    part = laid_out(tmp_path, labels=np.array([3, 1, 0, 1, 2], dtype))
    assert part.labels is not None
    assert (part.labels.shape, part.labels.dtype) == ((5,), dtype)
    assert part.labels.tolist() == [3, 1, 0, 1, 2]


def test_without_labels_there_are_none(tmp_path: Path) -> None:
    assert laid_out(tmp_path).labels is None


@pytest.mark.parametrize("second", [np.zeros(4, np.float32), 1])
def test_labels_of_two_shapes_are_bad_data(second: Any, tmp_path: Path) -> None:
    ref = DataRef(format="npz", location="somewhere", sha256="0" * 64, count=1, labelled=True)
    for first in (np.zeros(3, np.float32), 7 if np.ndim(second) else np.zeros(2, np.float32)):
        labels = material._Labels(ref, tmp_path / "labels.npy")
        labels.add(first)
        with pytest.raises(DataError, match="labels of somewhere are not all of one shape"):
            labels.add(second)
        labels.whole()

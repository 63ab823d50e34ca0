from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.demos._samples import stratified, write_samples


@given(st.integers(1, 6), st.integers(0, 4), st.integers(0, 4), st.integers(0, 2**31))
def test_parts_are_disjoint_balanced_and_whole(classes: int, first: int, second: int, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), 9))
    parts = stratified(labels, [first * classes, second * classes], seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for part, share in zip(parts, (first, second, 9 - first - second), strict=True):
        assert np.bincount(labels[part], minlength=classes).tolist() == [share] * classes


def test_equal_seeds_give_equal_parts_and_others_do_not() -> None:
    labels = np.repeat(np.arange(5), 20)
    one, same, other = (stratified(labels, [50], seed)[0].tolist() for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize("size", [3, 42])
def test_a_part_that_cannot_be_shared_equally_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="equally"):
        stratified(np.repeat(np.arange(2), 20), [size], 0)


def test_samples_are_written_raw_with_labels_and_their_names(tmp_path: Path) -> None:
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
    blob = write_samples(tmp_path / "a.npz", images, np.array([1, 0, 1], np.uint8), ("no", "yes"))
    with np.load(blob.path) as found:
        assert set(found) == {"image", "labels", "label_names"}
        assert found["image"].dtype == np.uint8
        np.testing.assert_array_equal(found["image"], images)
        assert found["labels"].tolist() == [1, 0, 1]
        assert found["label_names"].tolist() == ["no", "yes"]

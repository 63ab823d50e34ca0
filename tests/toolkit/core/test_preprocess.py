from __future__ import annotations

import numpy as np
import pytest

from toolkit.core import preprocess
from toolkit.core.artifacts import Preprocess
from toolkit.core.errors import DataError, SettingsError
from toolkit.core.sampling import spread


def test_arithmetic_in_the_declared_order():
    stored = np.array([[[[0, 128, 255]]]], np.uint8)
    declared = Preprocess(scale=1 / 255, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    ready = preprocess.apply(stored, declared, turned=False)
    expected = (stored / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 2.0]
    assert ready.dtype == np.float32
    assert np.allclose(ready, expected, atol=1e-6)


def test_channels_last_becomes_channels_first(rng):
    stored = rng.normal(0, 1, (1, 4, 5, 3))
    declared = Preprocess(layout="nchw", mean=(1.0, 2.0, 3.0))
    assert preprocess.turns((4, 5, 3), (3, 4, 5), declared)
    ready = preprocess.apply(stored, declared, turned=True)
    assert ready.shape == (1, 3, 4, 5)
    assert ready.flags.c_contiguous
    assert np.allclose(ready[0, 2], stored[0, :, :, 2] - 3, atol=1e-6)


def test_channels_first_stays_and_its_mean_goes_along_channels(rng):
    stored = rng.normal(0, 1, (1, 3, 4, 5))
    declared = Preprocess(layout="nchw", mean=(1.0, 2.0, 3.0))
    assert not preprocess.turns((3, 4, 5), (3, 4, 5), declared)
    assert np.allclose(preprocess.apply(stored, declared, turned=False)[0, 1], stored[0, 1] - 2, atol=1e-6)


def test_what_fits_as_it_is_is_never_turned():
    assert not preprocess.turns((3, 3, 3), (3, 3, 3), Preprocess(layout="nchw"))
    assert not preprocess.turns((4, 5, 3), (3, 4, 5), Preprocess(layout="nhwc"))


@pytest.mark.parametrize(
    "declared",
    [
        Preprocess(resize=(0, 4)),
        Preprocess(resize=(4, 4), crop=(5, 4)),
        Preprocess(scale=0),
        Preprocess(std=(0.0,)),
        Preprocess(mean=(float("nan"),)),
    ],
)
def test_unusable_declarations_are_refused(declared):
    with pytest.raises(SettingsError):
        preprocess.check(declared)


def test_image_size_after_resize_and_crop():
    assert preprocess.image_size(480, 640, Preprocess()) == (480, 640)
    assert preprocess.image_size(480, 640, Preprocess(resize=(32, 32), crop=(24, 28))) == (24, 28)
    with pytest.raises(DataError, match="smaller than the crop"):
        preprocess.image_size(20, 640, Preprocess(crop=(24, 24)))


def test_spread_is_balanced_over_classes_and_fills_up_from_large_ones():
    classes = [0] * 50 + [1] * 45 + [2] * 5
    chosen = spread(100, 30, classes)
    assert chosen is not None
    assert [sum(classes[index] == label for index in chosen) for label in range(3)] == [13, 12, 5]
    assert list(chosen) == sorted(set(chosen))


def test_spread_over_fewer_samples_than_classes_takes_different_ones():
    classes = [index // 10 for index in range(100)]
    chosen = spread(100, 4, classes)
    assert chosen is not None
    assert len({classes[index] for index in chosen}) == 4


def test_spread_without_need():
    assert spread(5, None) is None
    assert spread(5, 5) is None
    assert spread(9, 1) == (4,)

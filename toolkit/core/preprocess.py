"""From a stored array to a model's input, in numpy alone: the same in calibration, verification and the apps.

An image's decoding and resizing belong to the data set that holds images; scaling, mean, standard deviation and axis
order are here, because every data set and every generated app has to do them alike.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from toolkit.core.artifacts import Preprocess
from toolkit.core.errors import DataError, SettingsError
from toolkit.core.ports import Array

_IMAGE_RANK = 4
_TO_NCHW = (0, 3, 1, 2)


def check(preprocess: Preprocess) -> None:
    """Refuse a declaration that no image or array could go through.

    Raises:
        SettingsError: a size is not positive, the crop is larger than the resized image, or a number is not usable.
    """
    for name, size in (("resize", preprocess.resize), ("crop", preprocess.crop)):
        if size is not None and min(size) < 1:
            raise SettingsError(f"The preprocessing's {name} {list(size)} is not a height and a width in pixels.")
    if preprocess.resize and preprocess.crop and any(map(_exceeds, preprocess.crop, preprocess.resize)):
        raise SettingsError(
            f"The preprocessing crops {list(preprocess.crop)} out of images resized to {list(preprocess.resize)}.",
            hint="The crop has to be the smaller one.",
        )
    numbers = (preprocess.scale, *preprocess.mean, *preprocess.std)
    if not all(map(math.isfinite, numbers)) or preprocess.scale == 0 or 0 in preprocess.std:
        raise SettingsError(
            "The preprocessing's scale, mean and std have to be finite, and scale and std other than zero."
        )


def _exceeds(part: int, whole: int) -> bool:
    return part > whole


def image_size(height: int, width: int, preprocess: Preprocess) -> tuple[int, int]:
    """Return the height and width of an image after ``resize`` and ``crop``.

    Raises:
        DataError: the image is smaller than the crop.
    """
    height, width = preprocess.resize or (height, width)
    if preprocess.crop is None:
        return height, width
    if preprocess.crop[0] > height or preprocess.crop[1] > width:
        raise DataError(
            f"The image is {height} x {width}, smaller than the crop {preprocess.crop[0]} x {preprocess.crop[1]}.",
            hint="Give a resize as well.",
        )
    return preprocess.crop


def central_box(height: int, width: int, crop: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the central crop; where it cannot be central it lies up and left.

    >>> central_box(10, 11, (4, 4))
    (3, 3, 7, 7)
    """
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    return left, top, left + crop[1], top + crop[0]


def channels(preprocess: Preprocess) -> int:
    """Return how many channels an image is decoded to."""
    return 1 if preprocess.colour == "gray" else 3


def turns(stored: tuple[int, ...], wanted: tuple[int, ...], preprocess: Preprocess) -> bool:
    """Say whether an array is stored channels-last and has to be turned into the channels-first the model wants.

    An array whose shape already is the input's is never turned. Both shapes are without the first axis (the samples of
    the one, the batch of the other); -1 in ``wanted`` fits any length.

    >>> turns((12, 12, 3), (3, 12, 12), Preprocess(layout="nchw"))
    True
    """
    if preprocess.layout != "nchw" or len(stored) != _IMAGE_RANK - 1 or fits(stored, wanted):
        return False
    return fits((stored[2], stored[0], stored[1]), wanted)


def fits(stored: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Say whether a shape is the wanted one, -1 there standing for any length."""
    return len(stored) == len(wanted) and all(want in (-1, have) for have, want in zip(stored, wanted, strict=True))


def channel_count(shape: tuple[int, ...], preprocess: Preprocess, *, turned: bool) -> int:
    """Return the length of the axis that ``mean`` and ``std`` go along, in a stored sample without its first axis."""
    if not shape:
        return 1
    first = preprocess.layout == "nchw" and not turned and len(shape) == _IMAGE_RANK - 1
    return shape[0] if first else shape[-1]


def apply(array: Array, preprocess: Preprocess, *, turned: bool) -> NDArray[np.float32]:
    """Compute ``(x * scale - mean) / std`` in float32, then the axis order.

    Args:
        array: one stored sample with its batch axis of 1, any real dtype.
        preprocess: what was declared.
        turned: the array is channels-last and becomes channels-first (:func:`turns`).

    >>> apply(np.array([[0, 255]], np.uint8), Preprocess(scale=1 / 255, mean=(0.5,), std=(0.5,)), turned=False)
    array([[-1.,  1.]], dtype=float32)
    """
    values = np.asarray(array, np.float32)
    if preprocess.scale != 1:
        values = values * np.float32(preprocess.scale)
    along = _along_channels(values.ndim, preprocess, turned=turned)
    if preprocess.mean:
        values = values - np.asarray(preprocess.mean, np.float32).reshape(along)
    if preprocess.std:
        values = values / np.asarray(preprocess.std, np.float32).reshape(along)
    return np.ascontiguousarray(values.transpose(_TO_NCHW) if turned else values)


def _along_channels(rank: int, preprocess: Preprocess, *, turned: bool) -> tuple[int, ...]:
    if preprocess.layout == "nchw" and not turned and rank == _IMAGE_RANK:
        return (-1, 1, 1)
    return (-1,)

"""Data sets of pictures: a folder with one folder of images a class, or a folder of images without labels.

Class folders sorted by name are the labels 0, 1, 2, …; their names are the label names. Images are decoded to the
declared colour with their EXIF orientation applied, resized (bilinear with antialiasing) and cropped as declared, never
stretched behind your back: an image that does not come out at the model's height and width is an error.

The files are not trusted: only formats that are pixels and nothing else are decoded, sizes are limited, links that
leave the folder are refused. Hidden files, ``Thumbs.db`` and ``desktop.ini`` are passed over.
"""

from __future__ import annotations

import hashlib
import os
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from toolkit.core import preprocess as arithmetic
from toolkit.core import store
from toolkit.core.artifacts import DataRef, Preprocess, Signature, TensorSpec
from toolkit.core.errors import DataError
from toolkit.core.ports import Array, Sample
from toolkit.core.sampling import spread

FORMATS: Final = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
_PASSED_OVER = frozenset({"thumbs.db", "desktop.ini"})
_MOST_PIXELS = 100_000_000
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_ORIENTATION = 0x0112
_LYING = frozenset({5, 6, 7, 8})
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders have been seen to raise on damaged files."""


@dataclass(frozen=True, slots=True)
class _Picture:
    path: Path
    label: int | None


@dataclass(frozen=True, slots=True)
class _Listing:
    pictures: tuple[_Picture, ...]
    names: tuple[str, ...]


def recognises(location: str) -> bool:
    """Whether it is a folder."""
    return Path(location).is_dir()


def refer(location: str, signature: Signature, preprocess: Preprocess, limit: int | None) -> DataRef:
    """List the images, look at the header of each that will be used, and return the reference.

    ``limit`` takes an evenly spread part, balanced over the classes (:func:`toolkit.core.sampling.spread`). The hash
    covers the chosen files' names, classes and bytes.

    Raises:
        DataError: the folder holds no images, a file is not one, its size is not the model's, or the model does not
            take exactly one image.
    """
    arithmetic.check(preprocess)
    spec = _image_input(signature, preprocess)
    listing = _listing(Path(location), limit)
    digest = hashlib.sha256()
    for picture in listing.pictures:
        _check_header(picture.path, spec, preprocess)
        name = picture.path.relative_to(location).as_posix()
        digest.update(f"{os.fsencode(name)!r} {picture.label} {store.sha256_of(picture.path)}\n".encode())
    return DataRef(
        format="image_folder",
        location=location,
        sha256=digest.hexdigest(),
        count=len(listing.pictures),
        labelled=bool(listing.names),
        label_names=listing.names,
        limit=limit,
        preprocess=preprocess,
    )


def stream(ref: DataRef, signature: Signature) -> Iterator[Sample]:
    """Decode the images one at a time, class by class in the order of their names.

    Raises:
        DataError: an image is truncated, damaged or of another size than the model's; the file is named.
    """
    spec = _image_input(signature, ref.preprocess)
    turned = ref.preprocess.layout == "nchw"
    for picture in _listing(Path(ref.location), ref.limit).pictures:
        pixels = _decode(picture.path, ref.preprocess)
        _check_size(picture.path, pixels.shape[0], pixels.shape[1], spec, ref.preprocess)
        values = _as_input(pixels[None], spec, ref.preprocess, turned=turned)
        yield Sample(feeds={spec.name: values}, label=picture.label, origin=_shown(picture.path))


def _as_input(pixels: Array, spec: TensorSpec, preprocess: Preprocess, *, turned: bool) -> Array:
    """Preprocess for a floating-point input; hand the bytes as they are to an input of whole numbers."""
    wanted = np.dtype(spec.dtype)
    if wanted.kind == "f":
        return arithmetic.apply(pixels, preprocess, turned=turned).astype(wanted)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) if turned else pixels, dtype=wanted)


def _image_input(signature: Signature, preprocess: Preprocess) -> TensorSpec:
    if len(signature.inputs) != 1:
        raise DataError(
            f"A folder of images feeds a model with one input; this one has {len(signature.inputs)}.",
            hint="Store the samples in an .npz, an array per input name.",
        )
    spec = signature.inputs[0]
    channels = arithmetic.channels(preprocess)
    axis = 1 if preprocess.layout == "nchw" else 3
    if len(spec.shape) != 4 or spec.shape[axis] not in (-1, channels):
        raise DataError(
            f"The input {spec.name!r} is {list(spec.shape)}, not images of {channels} channels, {preprocess.layout}.",
            hint="Set the preprocessing's layout (nhwc, nchw) and colour (rgb, bgr, gray), or give an .npz.",
        )
    if spec.dtype not in ("float32", "float16", "float64", "uint8", "int16", "int32", "int64"):
        raise DataError(f"The input {spec.name!r} is of dtype {spec.dtype}, which does not hold pixels.")
    for name, numbers in (("mean", preprocess.mean), ("std", preprocess.std)):
        if len(numbers) not in (0, 1, channels):
            raise DataError(f"The preprocessing's {name} has {len(numbers)} values for {channels} channels.")
    return spec


def _listing(root: Path, limit: int | None) -> _Listing:
    home = root.resolve()
    entries = _entries(root)
    folders = [entry for entry in entries if entry.is_dir()]
    loose = [entry for entry in entries if not entry.is_dir() and entry.suffix.lower() in _SUFFIXES]
    if folders and loose:
        raise DataError(
            f"{_shown(root)} holds class folders and images side by side, such as {_shown(loose[0])}.",
            hint="Put every image into a class folder, or none.",
        )
    pictures = [_Picture(_inside(path, home), None) for path in loose]
    for label, folder in enumerate(folders):
        pictures += [_Picture(_inside(path, home), label) for path in _images_of(_inside(folder, home))]
    if not pictures:
        raise DataError(
            f"{_shown(root)} holds no images.",
            hint="Give a folder of class folders of images, or a folder of images.",
        )
    classes = [picture.label for picture in pictures if picture.label is not None]
    chosen = spread(len(pictures), limit, classes if folders else None)
    used = pictures if chosen is None else [pictures[index] for index in chosen]
    return _Listing(pictures=tuple(used), names=tuple(_shown(Path(folder.name)) for folder in folders))


def _entries(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name))
    except OSError as error:
        raise DataError(f"Cannot read the folder {_shown(folder)}: {error.strerror}.") from error
    return [path for path in found if not path.name.startswith(".") and path.name.lower() not in _PASSED_OVER]


def _images_of(folder: Path) -> list[Path]:
    entries = _entries(folder)
    for entry in entries:
        if entry.is_dir():
            raise DataError(
                f"The class folder {_shown(folder)} holds another folder, {entry.name!r}.",
                hint="One folder a class, with its images directly in it.",
            )
    return entries


def _inside(path: Path, home: Path) -> Path:
    if not path.resolve().is_relative_to(home):
        raise DataError(
            f"{_shown(path)} is a link that leaves the data folder.", hint="Copy the image in, or remove the link."
        )
    return path


def _check_header(path: Path, spec: TensorSpec, preprocess: Preprocess) -> None:
    try:
        with warnings.catch_warnings(action="ignore"), _open(path) as image:
            width, height = image.size
            if image.getexif().get(_ORIENTATION) in _LYING:
                height, width = width, height
    except _BROKEN as error:
        raise _not_an_image(path, error) from error
    try:
        height, width = arithmetic.image_size(height, width, preprocess)
    except DataError as error:
        raise DataError(f"{_shown(path)}: {error.message}", hint=error.hint) from error
    _check_size(path, height, width, spec, preprocess)


def _check_size(path: Path, height: int, width: int, spec: TensorSpec, preprocess: Preprocess) -> None:
    wanted = spec.shape[2:] if preprocess.layout == "nchw" else spec.shape[1:3]
    if not arithmetic.fits((height, width), wanted):
        raise DataError(
            f"{_shown(path)} comes out {height} x {width}; the input {spec.name!r} wants {wanted[0]} x {wanted[1]}.",
            hint=f"Declare the preprocessing, such as resize {wanted[0]},{wanted[1]}.",
        )


def _open(path: Path) -> Image.Image:
    with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):  # our own limit follows
        image = Image.open(path, formats=FORMATS)
    if image.width * image.height > _MOST_PIXELS:
        image.close()
        raise ValueError(f"it has {image.width} x {image.height} pixels, more than {_MOST_PIXELS:,}")
    return image


def _decode(path: Path, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Return the pixels [height, width, channels] after orientation, colour, resize and crop."""
    try:
        with _open(path) as opened:
            if opened.mode in _DEEP_MODES:
                raise ValueError(f"its pixels have more than 8 bits (mode {opened.mode})")
            image = ImageOps.exif_transpose(opened).convert("L" if preprocess.colour == "gray" else "RGB")
    except (*_BROKEN, MemoryError) as error:
        raise _not_an_image(path, error) from error
    if preprocess.resize is not None:
        height, width = preprocess.resize
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    if preprocess.crop is not None:
        image = image.crop(arithmetic.central_box(image.height, image.width, preprocess.crop))
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    return pixels[..., ::-1] if preprocess.colour == "bgr" else pixels


def _not_an_image(path: Path, error: BaseException) -> DataError:
    reason = str(error).replace(repr(str(path)), "it") or type(error).__name__
    return DataError(
        f"Cannot read {_shown(path)} as an image: {reason}.",
        hint=f"Remove or mend it. Images may be {', '.join(FORMATS)}, 8 bits a channel.",
    )


def _shown(path: Path) -> str:
    """Return a path that can be printed and written as UTF-8 whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", "replace")

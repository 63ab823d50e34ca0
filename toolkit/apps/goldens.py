"""The samples that an app's own tests compare with: ``golden.bin`` of the build, ``preprocess.bin`` of a picture."""

from __future__ import annotations

import hashlib
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from toolkit.apps import spec
from toolkit.apps.spec import Golden, GoldenTensor, Picture, PictureGolden, PictureTensor, Tensor, Tolerance
from toolkit.core import preprocess as arithmetic
from toolkit.core.artifacts import Preprocess
from toolkit.core.errors import DataError, ModelError
from toolkit.core.ports import Array

BYTES_MAX: Final = 8 << 20
"""Of ``golden.bin``: as many samples as fit, one at least."""
COSINE_MIN: Final = 0.999
_UNPACKED_MAX: Final = 1 << 30
_FLOAT_SHARE: Final = 1 / 128
_COUNTS: Final = {"int8": 2.0, "uint8": 2.0, "int16": 512.0, "uint16": 512.0}
_STEPS: Final = 2
_SIDES: Final = (47, 61)
_PLAIN_DTYPES: Final = frozenset(
    {"float16", "float32", "float64", "bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Golden arrays by tensor name; the first axis is the sample."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    count: int


def read(path: Path) -> Samples:
    """Read the golden samples of a build.

    Raises:
        ModelError: it is no ``.npz`` of plain finite arrays, or they disagree on the number of samples.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > _UNPACKED_MAX:
                raise ModelError(f"The golden samples {path} unpack to more than {_UNPACKED_MAX >> 20} MiB.")
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"The golden samples {path} cannot be read: {error}.", hint="Verify the builds again."
        ) from error
    inputs = {name.removeprefix("in/"): values for name, values in arrays.items() if name.startswith("in/")}
    outputs = {name.removeprefix("out/"): values for name, values in arrays.items() if name.startswith("out/")}
    counts = {values.shape[0] if values.ndim else 0 for values in (*inputs.values(), *outputs.values())}
    if not inputs or not outputs or len(counts) != 1 or 0 in counts:
        raise ModelError(f"The golden samples {path} hold no samples, or arrays with different numbers of them.")
    _check_values(path, {**inputs, **outputs})
    return Samples(inputs=inputs, outputs=outputs, count=counts.pop())


def _check_values(path: Path, arrays: dict[str, Array]) -> None:
    for name, values in arrays.items():
        if str(values.dtype) not in _PLAIN_DTYPES:
            raise ModelError(
                f"The golden samples {path} hold {name!r} of dtype {values.dtype}, which apps do not read."
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ModelError(
                f"The golden samples {path} hold values in {name!r} that are not finite.",
                hint="A build with such outputs cannot be checked on a phone; choose another recipe.",
            )


def pack(samples: Samples) -> tuple[Golden, bytes]:
    """Return ``golden.bin`` and what is in it: as many samples as fit, sample by sample, inputs first."""
    each = sum(values[0].nbytes for values in (*samples.inputs.values(), *samples.outputs.values()))
    kept = max(1, min(samples.count, BYTES_MAX // max(1, each)))
    parts: list[bytes] = []
    tensors: list[GoldenTensor] = []
    offset = 0
    for sample in range(kept):
        for role, arrays in (("input", samples.inputs), ("output", samples.outputs)):
            for name, values in arrays.items():
                raw = little_endian(values[sample])
                tensors.append(_tensor(sample, role, name, values, offset, len(raw)))
                parts.append(raw)
                offset += len(raw)
    content = b"".join(parts)
    described = Golden(
        file=spec.GOLDEN,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        samples=kept,
        tensors=tuple(tensors),
        tolerances=tuple(tolerance(name, values) for name, values in samples.outputs.items()),
    )
    return described, content


def _tensor(sample: int, role: str, name: str, values: Array, offset: int, size: int) -> GoldenTensor:
    return GoldenTensor(
        sample=sample,
        role="input" if role == "input" else "output",
        name=name,
        dtype=str(values.dtype),
        shape=values.shape[1:],
        offset=offset,
        size_bytes=size,
    )


def tolerance(name: str, values: Array) -> Tolerance:
    """Return how far an output may be off: the rule and the reasons are those of ``mobile_harness/parity.py``."""
    if values.dtype.kind != "f":
        return Tolerance(output=name, max_abs=_COUNTS.get(str(values.dtype), 0.0), cosine_min=None)
    largest = float(np.max(np.abs(values.astype(np.float64)), initial=0.0))
    bound = max(largest * _FLOAT_SHARE, float(np.finfo(np.float32).tiny))
    return Tolerance(output=name, max_abs=bound, cosine_min=COSINE_MIN if largest else None)


def little_endian(values: Array) -> bytes:
    """Return an array's bytes in C order, little-endian; a bool is one byte."""
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()


def picture(declared: Picture, tensor: Tensor) -> tuple[PictureGolden, bytes]:
    """Return ``preprocess.bin``: a picture made of waves and edges, and what preprocessing makes of it here."""
    pixels, dtype = _pixels(declared), tensor.dtype
    wanted = little_endian(preprocessed(pixels, declared, tensor))
    raw = pixels.tobytes()
    content = raw + wanted
    shape = _picture_shape(pixels, declared)
    described = PictureGolden(
        file=spec.PICTURE,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        width=pixels.shape[1],
        height=pixels.shape[0],
        pixels_offset=0,
        tensor=PictureTensor(dtype=dtype, shape=shape, offset=len(raw), size_bytes=len(wanted)),
        max_abs=_step(declared, dtype) * _STEPS,
    )
    return described, content


def _step(declared: Picture, dtype: str) -> float:
    """Return by how much a value changes when its pixel changes by one."""
    if np.dtype(dtype).kind != "f":
        return 1.0
    return abs(declared.scale) / min((abs(one) for one in declared.std), default=1.0)


def _pixels(declared: Picture) -> NDArray[np.uint8]:
    """Make the picture: large enough for a crop that no resize comes before, never of the size that is resized to."""
    height, width = _SIDES
    if declared.crop is not None and declared.resize is None:
        height, width = declared.crop[0] + 9, declared.crop[1] + 6
    if declared.resize == (height, width):
        height, width = height + 7, width + 3
    rows, columns = np.mgrid[0:height, 0:width]
    red = (rows * 255) // max(1, height - 1)
    green = ((rows // 5 + columns // 7) % 2) * 200 + 30
    blue = (columns * columns + 3 * rows) % 256
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def preprocessed(pixels: NDArray[np.uint8], declared: Picture, tensor: Tensor) -> Array:
    """Return the model's input, batch axis 1, for RGB pixels [height, width, 3], as ``docs/apps.md`` says it.

    An integer input that stands for real numbers gets the integers of the preprocessed values, any other the pixels.

    Raises:
        DataError: the picture is smaller than the crop.
    """
    from PIL import Image

    image = Image.fromarray(pixels, "RGB") if declared.colour != "gray" else Image.fromarray(pixels, "RGB").convert("L")
    if declared.resize is not None:
        image = image.resize((declared.resize[1], declared.resize[0]), Image.Resampling.BILINEAR)
    if declared.crop is not None:
        if declared.crop[0] > image.height or declared.crop[1] > image.width:
            raise DataError(f"The picture is {image.height} x {image.width}, smaller than the crop.")
        image = image.crop(arithmetic.central_box(image.height, image.width, declared.crop))
    values = np.asarray(image).reshape(1, image.height, image.width, -1)
    values = values[..., ::-1] if declared.colour == "bgr" else values
    turned = declared.layout == "nchw"
    meaning = tensor.quantization
    if np.dtype(tensor.dtype).kind != "f" and meaning is None:
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if turned else values, dtype=tensor.dtype)
    rule = Preprocess(scale=declared.scale, mean=declared.mean, std=declared.std, layout=declared.layout)
    real = arithmetic.apply(values, rule, turned=turned)
    if meaning is None:
        return real.astype(tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    steps = np.rint(real.astype(np.float64) / meaning.scale) + meaning.zero_point
    return np.clip(steps, limits.min, limits.max).astype(tensor.dtype)


def _picture_shape(pixels: NDArray[np.uint8], declared: Picture) -> tuple[int, ...]:
    height, width = declared.crop or declared.resize or pixels.shape[:2]
    depth = 1 if declared.colour == "gray" else 3
    return (1, depth, height, width) if declared.layout == "nchw" else (1, height, width, depth)


def usual_range(declared: Picture) -> float:
    """Return the largest magnitude that preprocessing makes of any picture."""
    ends = [
        abs((edge * declared.scale - mean) / std)
        for edge in (0.0, 255.0)
        for mean in declared.mean or (0.0,)
        for std in declared.std or (1.0,)
    ]
    return max(ends) if ends else math.inf

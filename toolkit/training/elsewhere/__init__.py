"""Models that were trained with quantization by other tools: recognised, and turned into a float model with its ranges.

A conversion undoes the rounding of activations, keeps the range it had as a pin (:mod:`toolkit.core.pins`), and leaves
float weights whose ordinary build lies on the grid that they were trained for.
"""

from __future__ import annotations

import lzma
import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import discovery
from toolkit.core.ports import Array

TFMOT, PT2E, QDQ, PREPARED = "tfmot", "pt2e", "qdq", "prepared"
"""What there is: tfmot's Keras 2 files, exported PyTorch programs and ONNX graphs with Q/DQ, PyTorch modules with
fake quantization in them, such as those of coremltools.optimize.torch."""

TOOLS = {
    TFMOT: "TensorFlow Model Optimization (tf_keras)",
    PT2E: "PyTorch's PT2E quantization (torchao)",
    QDQ: "a quantizer that writes QuantizeLinear and DequantizeLinear",
    PREPARED: "PyTorch's or coremltools' fake quantization",
}
SUFFIXES = {TFMOT: ".keras", PT2E: ".pt2", QDQ: ".onnx", PREPARED: ".pt2"}
"""What a conversion writes."""
SHORT = "{} channels of its weights do not end at 127 steps, so rounding them anew moves them by up to half a step."
SHRINKERS = ("PruneLowMagnitude", "ClusterWeights")
"""tfmot's wrappers of pruning and clustering, which are refused by name."""
_WRAPPERS = ("QuantizeWrapper", "QuantizeWrapperV2", "QuantizeLayer", *SHRINKERS)
_SHOWN = 8
_TEXT_LIMIT = 64 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What a conversion wrote: how many ranges it kept, and what was lost or changed on the way, as sentences."""

    ranges: int
    notes: tuple[str, ...] = ()


def recognise(path: Path) -> str | None:
    """Return which of the kinds a file is, by its text alone; None for all others and for what is no file."""
    if not path.is_file():
        return None
    suffix = path.suffix.lower()
    try:
        if suffix in (".h5", ".hdf5"):
            return (
                TFMOT
                if _holds(path, *(start + word.encode() for word in _WRAPPERS for start in (b'"', b">")))
                else None
            )
        if suffix == ".keras":
            return TFMOT if _is_wrapped(_member(path, "config.json")) else None
        if suffix == ".pt2":
            return PT2E if "quantized_decomposed" in _member(path, ".json", inside="/models/") else None
        if suffix == ".onnx":
            return QDQ if _holds(path, b"DequantizeLinear") else None
    except (OSError, ValueError, KeyError, RuntimeError, EOFError, *_DAMAGED):
        return None  # a damaged file is refused by its source format, with the reason
    return None


def convert(kind: str, path: Path, shapes: dict[str, tuple[int, ...]], out: Path) -> Converted:
    """Write the float model to ``out`` and its ranges beside it; runs in a child process.

    Raises:
        ModelError: it holds something that has no float form; what, and the way out, is said.
        ToolMissing: a library of its own is not installed.
    """
    module: Any = discovery.load(__name__, kind)
    made: Converted = module.convert(path, shapes, out)
    return made


def is_prepared(path: Path) -> bool:
    """Run the function that a path names, in a child process, and say whether its module holds fake quantization.

    Raises:
        ModelError: it fails, or its module was converted to integers already.
    """
    module: Any = discovery.load(__name__, PREPARED)
    return bool(module.is_prepared(path))


def _is_wrapped(config: str) -> bool:
    return any(f'"{word}"' in config or f">{word}" in config for word in _WRAPPERS)


def _member(path: Path, ending: str, inside: str = "") -> str:
    with zipfile.ZipFile(path) as archive:
        for item in archive.infolist():
            if item.filename.endswith(ending) and inside in item.filename and item.file_size <= _TEXT_LIMIT:
                return archive.read(item).decode("utf-8", errors="replace")
    return ""


def _holds(path: Path, *words: bytes) -> bool:
    """Whether a file has any of some words; its bytes alone are looked at, as a parser is for a child process."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        return any(whole.find(word) >= 0 for word in words)


def falling_short(integers: Array, zero: Array, axis: int | None) -> int:
    """Count the channels of 8-bit weights whose largest is not 127 steps from zero, where a build's grid ends.

    ``zero`` is the integer that stands for zero, one or as many as ``axis`` is long; ``axis`` None is one grid for all.
    """
    if integers.dtype.itemsize != 1 or integers.ndim < 2:
        return 0
    others = tuple(index for index in range(integers.ndim) if axis is None or index != axis % integers.ndim)
    shape = [1 if index in others or zero.size == 1 else -1 for index in range(integers.ndim)]
    steps = np.abs(integers.astype(np.int64) - zero.astype(np.int64).reshape(shape)).max(axis=others)
    return int((steps != 127).sum())


def dropped(names: Iterable[str]) -> tuple[str, ...]:
    """Say which ranges a conversion could not keep; nothing where it kept them all."""
    lost = sorted(names)
    if not lost:
        return ()
    shown = ", ".join(lost[:_SHOWN]) + (f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else "")
    return (f"Ranges that could not be kept, so that calibration finds them: {len(lost)} ({shown}).",)

"""A build on a device: pushed by content hash, with its golden samples, and always cleaned up."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mobile_harness import parity
from mobile_harness.transports.base import Device, DeviceFailed
from toolkit.core import store
from toolkit.core.artifacts import Blob
from toolkit.core.events import Event
from toolkit.core.manifest import BuildEntry
from toolkit.core.tools import Tools

GOLDEN_MAX_BYTES = 1 << 30
_OUTPUT = "out/"
_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, OverflowError, MemoryError, tokenize.TokenError,
    NotImplementedError, RuntimeError,
)  # fmt: skip
"""What damaged and hostile archives and arrays raise; encrypted ones a RuntimeError, rare methods the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A build where a runner finds it. ``expected`` is empty when there are no golden samples."""

    model: str
    golden: str | None
    expected: tuple[parity.Expected, ...]


def deploy(device: Device, folder: Path, build: BuildEntry) -> Deployment:
    """Put a build and its golden samples on a device.

    Raises:
        DeviceFailed: see :meth:`mobile_harness.transports.base.Device.push`; ``build_changed`` also for golden samples
            that cannot be read.
    """
    model = Blob(path=folder / build.path, sha256=build.sha256, size_bytes=build.size_bytes)
    place = device.push(model)
    if build.golden is None:
        return Deployment(model=place, golden=None, expected=())
    golden = _golden(folder / build.golden, build.golden_sha256)
    return Deployment(model=place, golden=device.push(golden), expected=_expected(golden.path))


def _golden(path: Path, sha256: str | None) -> Blob:
    if not path.is_file():
        raise DeviceFailed(f"There is no {path}.", kind="build_changed", hint=_AGAIN)
    found = store.blob_of(path)
    if sha256 is not None and found.sha256 != sha256:
        raise DeviceFailed(f"{path} is not the file that build.json describes.", kind="build_changed", hint=_AGAIN)
    return found


def _expected(path: Path) -> tuple[parity.Expected, ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(item.file_size for item in members) > GOLDEN_MAX_BYTES:
                raise ValueError(f"it unpacks to more than {GOLDEN_MAX_BYTES} bytes")
            outputs = {
                item.filename.removeprefix(_OUTPUT).removesuffix(".npy"): _array(archive, item)
                for item in members
                if item.filename.startswith(_OUTPUT)
            }
        if not outputs:
            raise ValueError("it holds no golden outputs")
        return parity.expect(outputs)
    except _BROKEN as error:
        raise DeviceFailed(f"{path} cannot be read: {error}", kind="build_changed", hint=_AGAIN) from error


def _array(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> NDArray[Any]:
    """Read an array [samples, ...] of numbers; nothing is reserved for one that its member cannot hold."""
    with archive.open(item) as file:
        shape, dtype = _header(file)
    if not shape or min(shape) < 1 or dtype.kind not in "fiub":
        raise ValueError(f"{item.filename} is no array of numbers by sample, but {dtype} {list(shape)}")
    if math.prod(shape) * dtype.itemsize > item.file_size:
        raise EOFError(f"{item.filename} is shorter than its header says")
    with archive.open(item) as file:
        found: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)  # type: ignore[no-untyped-call]
    return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its .npy format {version} is not one for plain numbers")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)  # type: ignore[no-untyped-call]
    return shape, dtype


_AGAIN = "`palmtop verify DIR` writes the golden samples again."


def clean(device: Device, tools: Tools) -> None:
    """Remove what was put on a device and end what runs there. Trouble with it is told and never raised.

    What was measured is stored by then: a phone that went away, or one that answers what nobody foresaw, is no reason
    to stop the others.
    """
    try:
        device.cleanup()
    except Exception as error:
        place = f"{device.info.transport}:{device.info.serial}"
        reason = str(error).rstrip(".")
        words = f"{type(error).__name__}: {reason}. What is left there goes away with the next run on it"
        tools.emit(Event(subject=place, phase="noted", message=f"clean-up failed: {words}.", level="warning"))

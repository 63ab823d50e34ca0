"""A build on a device: pushed by content hash, with its golden samples, and always cleaned up."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobile_harness import parity
from mobile_harness.transports.base import Device, DeviceFailed
from toolkit.core import store
from toolkit.core.artifacts import Blob
from toolkit.core.manifest import BuildEntry

GOLDEN_MAX_BYTES = 1 << 30


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
            if sum(item.file_size for item in archive.infolist()) > GOLDEN_MAX_BYTES:
                raise DeviceFailed(f"{path} unpacks to more than {GOLDEN_MAX_BYTES} bytes.", kind="build_changed")
        with np.load(path, allow_pickle=False) as found:
            outputs = {name.removeprefix("out/"): found[name] for name in found.files if name.startswith("out/")}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DeviceFailed(f"{path} cannot be read: {error}", kind="build_changed", hint=_AGAIN) from error
    if not outputs or not all(
        values.ndim and len(values) and values.dtype.kind in "fiub" for values in outputs.values()
    ):
        raise DeviceFailed(f"{path} holds no golden outputs.", kind="build_changed", hint=_AGAIN)
    return parity.expect(outputs)


_AGAIN = "`palmtop verify DIR` writes the golden samples again."


@contextmanager
def clean(device: Device) -> Iterator[None]:
    """Leave the device as it was found, however the block ends."""
    try:
        yield
    finally:
        device.cleanup()
